-- Promise: opens a turn's transaction and claims what the hints name, in one round trip.
-- Locks: those of claim_v2.
begin isolation level read committed;
select pg_current_xact_id()::text, revenant.now();
select * from revenant.claim_v2(
    %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(since)s::bigint[], %(vsns)s::integer[],
    %(known_versions)s::bigint[], %(known_writers)s::bigint[],
    %(entity_limit)s, %(message_limit)s, %(byte_limit)s
);
