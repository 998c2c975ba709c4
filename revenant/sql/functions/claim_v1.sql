-- Promise: as claim_v2, for a worker that knows no states.
-- Locks: those of claim_v2.
create or replace function revenant.claim_v1(
    buckets smallint[], kinds text[], keys text[], since bigint[], vsns integer[],
    entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language sql volatile as $$
    select c.slot, c.outcome, c.tid, c.version, c.vsn, c.state, c.seq, c.message_tid, c.id, c.handler, c.args, c.origin,
        c.digest, c.attempts, c.done_status, c.done_version, c.done_body, c.done_digest
    from revenant.claim_v2(
        buckets, kinds, keys, since, vsns, array[]::bigint[], array[]::bigint[], entity_limit, message_limit, byte_limit
    ) c
$$;
