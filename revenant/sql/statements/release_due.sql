-- Promise: moves due messages into their mailboxes; returns wake-ups and the seconds to the next due time.
-- Locks: those of release_due_v1.
select * from revenant.release_due_v1(%(page)s);
