-- Promise: fires reminders that are as they were read, and moves them on; returns wake-up payloads.
-- Locks: those of fire_reminders_v1.
select revenant.fire_reminders_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(name)s::text[],
    %(mark)s::text[], %(times)s::integer[], %(next)s::timestamptz[]
);
