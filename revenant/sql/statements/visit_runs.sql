-- Promise: the database's clock, and of the named runs what there is to be done.
-- Locks: none.
select revenant.now();
select * from revenant.visit_runs_v2(
    %(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[],
    %(known_runs)s::uuid[], %(known_seqs)s::bigint[], %(known_fences)s::bigint[], %(owned)s::boolean[], %(forced)s::boolean[],
    %(formats)s::text[], %(message_limit)s, %(byte_limit)s
);
