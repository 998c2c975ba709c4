-- Promise: stores messages for later, by the database's clock; returns the seconds until the earliest is due.
-- Locks: none that anybody waits for.
select revenant.schedule_v2(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(digest)s::bytea[], %(attempts)s::smallint[], %(delay)s::double precision[], %(due)s::timestamptz[]
);
