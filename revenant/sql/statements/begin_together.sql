-- Promise: opens a turn of one entity that waits a moment for it and its partners, then claims it; 55P03 where the moment was too short.
-- Locks: those of lock_v1, in key order; then those of claim_v1.
begin isolation level read committed;
select pg_current_xact_id()::text;
select count(*) from revenant.lock_v1(
    %(partner_buckets)s::smallint[], %(partner_kinds)s::text[], %(partner_keys)s::text[], %(patience)s
);
select revenant.now();
select * from revenant.claim_v1(
    %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(since)s::bigint[], %(vsns)s::integer[],
    %(entity_limit)s, %(message_limit)s, %(byte_limit)s
);
