-- Promise: puts messages into their mailboxes, in the order given, and returns the wake-up payloads that name them.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.send_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[]
) returns setof text language sql volatile as $$
    with sent as (
        insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
        select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.origin, m.digest
        from unnest(buckets, kinds, keys, ids, handlers, args, origins, digests)
            with ordinality as m (bucket, kind, key, id, handler, args, origin, digest, place)
        order by m.place
        returning bucket, kind, key, seq
    ),
    hints as (
        select seq, json_build_array(bucket, kind, key, seq)::text as hint from sent
    ),
    pages as (
        -- A payload must stay under 8,000 bytes; one hint is at most about 3,500 (512 bytes of key, escaped).
        select seq, hint, sum(octet_length(hint) + 1) over (order by seq) / 4400 as page from hints
    )
    select '[' || string_agg(hint, ',' order by seq) || ']' from pages group by page order by page
$$;
