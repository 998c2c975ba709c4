-- Promise: fires schedules that are as they were read, and moves them on; returns wake-up payloads.
-- Locks: those of fire_schedules_v1.
select revenant.fire_schedules_v1(
    %(name)s::text[], %(digest)s::bytea[], %(due)s::timestamptz[], %(times)s::integer[], %(next)s::timestamptz[]
);
