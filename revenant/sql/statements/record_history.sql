-- Promise: adds versions to the histories, in the turn's transaction and before its states are written.
-- Locks: those of record_history_v1.
select revenant.record_history_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(seq)s::bigint[], %(version)s::bigint[],
    %(vsn)s::integer[], %(state)s::text[], %(message)s::uuid[], %(handler)s::text[]
);
