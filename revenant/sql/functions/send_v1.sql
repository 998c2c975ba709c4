-- Promise: puts messages into their mailboxes, in the order given, and returns the wake-up payloads that name them.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.send_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
declare
    sent record;
    hint text;
    page text := '';
begin
    for sent in
        insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
        select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.origin, m.digest
        from unnest(buckets, kinds, keys, ids, handlers, args, origins, digests)
            with ordinality as m (bucket, kind, key, id, handler, args, origin, digest, place)
        order by m.place
        returning messages.bucket, messages.kind, messages.key, messages.seq
    loop
        hint := json_build_array(sent.bucket, sent.kind, sent.key, sent.seq)::text;
        -- A payload must stay under 8,000 bytes.
        if octet_length(page) + octet_length(hint) > 7900 then
            return next '[' || page || ']';
            page := '';
        end if;
        page := case when page = '' then hint else page || ',' || hint end;
    end loop;
    if page <> '' then
        return next '[' || page || ']';
    end if;
end
$$;
