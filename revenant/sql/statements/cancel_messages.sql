-- Promise: takes messages that are not due yet out of the schedule; returns the ids of those that were still there.
-- Locks: those of cancel_v1.
select c.id::text from revenant.cancel_v1(%(ids)s::uuid[]) as c (id);
