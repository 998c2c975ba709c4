-- Promise: the database's clock, and one visit: what this worker owns now, and the messages for it.
-- Locks: those of visit_v1.
select revenant.now();
select * from revenant.visit_v1(
    %(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(fences)s::bigint[],
    %(since)s::bigint[], %(counts)s::integer[], %(lasts)s::bigint[], %(vsns)s::integer[],
    %(entity_limit)s, %(message_limit)s, %(byte_limit)s
);
