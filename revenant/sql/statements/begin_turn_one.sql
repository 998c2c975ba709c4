-- Promise: as begin_turn, for one entity.
-- Locks: those of claim_one_v1.
begin isolation level read committed;
select * from revenant.claim_one_v1(
    %(bucket)s::smallint, %(kind)s, %(key)s, %(since)s, %(vsn)s, %(known_version)s, %(known_writer)s,
    %(message_limit)s, %(byte_limit)s
);
