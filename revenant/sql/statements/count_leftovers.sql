-- Promise: how many messages for the keys of a range are scheduled, and how many are dead letters.
-- Locks: none.
select
    (select count(*) from revenant.scheduled where kind = %(kind)s and key >= %(first)s and key < %(end)s),
    (select count(*) from revenant.dead where kind = %(kind)s and key >= %(first)s and key < %(end)s);
