-- Promise: locks each named entity that is free, then reads its messages in a later snapshot, in order; never waits.
-- Locks: the entities' rows FOR NO KEY UPDATE, SKIP LOCKED, in the order given; then an advisory lock per entity to be created.
create or replace function revenant.claim_v2(
    buckets smallint[], kinds text[], keys text[], since bigint[], vsns integer[],
    known_versions bigint[], known_writers bigint[],
    entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea, writer bigint, is_known boolean
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    tids tid[] := array_fill(null::tid, array[cardinality(keys)]);
    versions bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    stored_vsns integer[] := array_fill(null::integer, array[cardinality(keys)]);
    marks bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    writers bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    held record;
    missing record;
    message record;
    free integer := 0;
    -- Many entities share the room that there is, so that no claim reads more than it can take.
    share integer := least(entity_limit, greatest(32, message_limit / greatest(cardinality(keys), 1)));
    taken integer := 0;
    total integer := 0;
    bytes bigint := 0;
    last_slot integer := 0;
    skipped integer := 0;
begin
    -- Statements are over all entities at once: one of its own for each costs three times as much as the look-up in it.
    for held in
        select h.slot, e.tid, e.version, e.vsn, e.writer, least(e.applied, h.since) as mark
        from unnest(buckets, kinds, keys, since) with ordinality as h (bucket, kind, key, since, slot)
        cross join lateral (
            select e.ctid as tid, e.version, e.vsn, e.applied, e.xmin::text::bigint as writer
            from revenant.entities e
            where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
            for no key update skip locked
        ) e
    loop
        tids[held.slot] := held.tid; versions[held.slot] := held.version;
        stored_vsns[held.slot] := held.vsn; marks[held.slot] := held.mark; writers[held.slot] := held.writer;
        free := free + 1;
    end loop;

    -- Entities without a row that could be locked: another turn has it, or there is none yet, or nothing to do.
    if free < cardinality(keys) then
        for missing in
            select u.slot::integer as slot, u.present, u.waiting,
                case
                    when u.present or not u.waiting then false
                    -- Advisory locks live in a table of limited size, shared by all: a turn takes a few of them.
                    when u.place > 64 then null
                    else pg_try_advisory_xact_lock(hashtextextended(u.kind || '/' || u.key, 7))
                end as ours
            from (
                select h.slot, h.kind, h.key, row_number() over (order by h.slot) as place,
                    exists (
                        select from revenant.entities e
                        where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
                    ) as present,
                    exists (
                        select from revenant.messages m
                        where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key
                    ) as waiting
                from unnest(buckets, kinds, keys, tids) with ordinality as h (bucket, kind, key, tid, slot)
                where h.tid is null
            ) u
        loop
            slot := missing.slot;
            if missing.ours then
                marks[slot] := 0;
            elsif missing.present or missing.waiting then
                outcome := case when missing.ours is null then 'later' else 'locked' end;
                return next;
            end if;
        end loop;
        -- An advisory lock may be ours only because its last holder has just committed the row: look again.
        for missing in
            select h.slot::integer as slot
            from unnest(buckets, kinds, keys, tids, marks) with ordinality as h (bucket, kind, key, tid, mark, slot)
            cross join lateral (
                select from revenant.entities e
                where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
                limit 1
            ) e
            where h.tid is null and h.mark is not null
        loop
            slot := missing.slot; marks[slot] := null; outcome := 'locked';
            return next;
        end loop;
    end if;
    for i in 1 .. cardinality(keys) loop
        if stored_vsns[i] > vsns[i] then
            slot := i; marks[i] := null; outcome := 'newer';
            return next;
        end if;
    end loop;

    for message in
        select h.slot::integer as slot, h.tid, h.version, h.vsn, h.writer,
            h.version = h.known_version and h.writer = h.known_writer as is_known, e.state, m.*
        from unnest(buckets, kinds, keys, marks, tids, versions, stored_vsns, writers, known_versions, known_writers)
            with ordinality as h (
                bucket, kind, key, mark, tid, version, vsn, writer, known_version, known_writer, slot
            )
        -- By its place, which the lock keeps, and by nothing that an index has.
        left join lateral (
            select e.state from revenant.entities e
            where e.ctid = h.tid
                -- A version alone comes again, when an entity is deleted and made anew.
                and (h.version = h.known_version and h.writer = h.known_writer) is not true
            limit 1
        ) e on true
        cross join lateral (
            select m.seq, m.ctid as message_tid, m.id, m.handler, m.args, m.origin, m.digest, m.attempts
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq > h.mark
            order by m.seq
            limit share + 1
        ) m
        order by h.slot, m.seq
    loop
        slot := message.slot;
        continue when slot = skipped;
        if slot <> last_slot then
            last_slot := slot; taken := 0;
            tid := message.tid::text; version := coalesce(message.version, 0); vsn := message.vsn;
            writer := coalesce(message.writer, 0); is_known := coalesce(message.is_known, false);
        end if;
        if taken = share or total >= message_limit or (total > 0 and bytes >= byte_limit) then
            outcome := 'later'; seq := null; skipped := slot;
            return next;
            continue;
        end if;
        outcome := 'claimed';
        state := case when taken = 0 then message.state::text end;
        seq := message.seq; message_tid := message.message_tid::text; id := message.id::text;
        handler := message.handler; args := message.args::text; origin := message.origin;
        digest := message.digest; attempts := message.attempts;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = buckets[slot] and r.id = message.id;
        end if;
        taken := taken + 1; total := total + 1;
        bytes := bytes + octet_length(args) + coalesce(octet_length(state), 0);
        return next;
    end loop;
end
$$;
