-- Promise: writes what a turn did and commits it; the callers are woken after it, outside the transaction.
-- Locks: those of settle_v1; the commit waits for its flush.
select revenant.settle_v1(
    %(tids)s::text[], %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[],
    %(expected)s::bigint[], %(versions)s::bigint[], %(vsns)s::integer[], %(states)s::text[], %(applied)s::bigint[],
    %(message_tids)s::text[], %(seqs)s::bigint[],
    %(reply_ids)s::uuid[], %(reply_statuses)s::text[], %(reply_versions)s::bigint[], %(reply_bodies)s::text[],
    %(reply_digests)s::bytea[], %(reply_ttls)s::double precision[]
);
commit;
