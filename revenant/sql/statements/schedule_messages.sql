-- Promise: stores messages for later, by the database's clock.
-- Locks: none that anybody waits for.
select revenant.schedule_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(digest)s::bytea[], %(attempts)s::smallint[], %(delay)s::double precision[], %(due)s::timestamptz[]
);
