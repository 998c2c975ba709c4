-- Promise: of these schedules, those whose current definition is the one given, with their due times.
-- Locks: those of register_schedules_v1.
select * from revenant.register_schedules_v1(
    %(name)s::text[], %(digest)s::bytea[], %(due)s::timestamptz[],
    %(every)s::double precision[], %(cron)s::text[], %(timezone)s::text[], %(missed)s::text[],
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(handler)s::text[], %(args)s::text[]
);
