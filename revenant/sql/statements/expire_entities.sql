-- Promise: tells the idle entities of a page to end; returns wake-ups, then the place to go on from.
-- Locks: those of expire_v1.
select * from revenant.expire_v1(
    %(kind)s, %(idle)s::double precision, %(buckets)s::smallint[], %(bucket)s::smallint, %(key)s, %(page)s
);
