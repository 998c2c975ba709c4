-- Promise: whether any message waits in one bucket for the keys of a range.
-- Locks: none.
select exists (
    select from revenant.messages
    where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s
);
