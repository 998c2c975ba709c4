-- Promise: wakes the callers of entities that this worker still owns.
-- Locks: those of answer_v1.
select revenant.answer_v1(
    %(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(fences)s::bigint[],
    %(channels)s::text[], %(payloads)s::text[]
);
