-- Promise: inside a turn, sets, replaces and cancels reminders in order; returns the seconds until the earliest is due.
-- Locks: those of remind_v1.
select revenant.remind_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(name)s::text[], %(due)s::timestamptz[],
    %(every)s::double precision[], %(cron)s::text[], %(timezone)s::text[], %(missed)s::text[],
    %(to_bucket)s::smallint[], %(to_kind)s::text[], %(to_key)s::text[], %(handler)s::text[], %(args)s::text[]
);
