-- Promise: reads the calls that wait for an entity of this turn from a number on, past its casts.
-- Locks: those of claim_calls_v1.
select * from revenant.claim_calls_v1(
    %(bucket)s::smallint, %(kind)s::text, %(key)s::text, %(since)s::bigint, %(message_limit)s, %(byte_limit)s
);
