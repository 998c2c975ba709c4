-- Promise: keeps casts that failed for the last time.
-- Locks: none that anybody waits for.
select revenant.bury_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(digest)s::bytea[], %(attempts)s::smallint[], %(error)s::text[]
);
