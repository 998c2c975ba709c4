-- Promise: opens a flush's transaction and locks what it is about, in one round trip.
-- Locks: those of hold_v2.
begin isolation level read committed;
select pg_current_xact_id()::text;
select * from revenant.hold_v2(
    %(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(fences)s::bigint[],
    %(leaving)s::boolean[], %(slots)s::integer[], %(seqs)s::bigint[], %(ids)s::uuid[]
);
