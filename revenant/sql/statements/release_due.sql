-- Promise: moves a page of due messages into their mailboxes; returns their hints, then the seconds to the next due time.
-- Locks: those of release_due_v2.
select * from revenant.release_due_v2(%(page)s);
