-- Promise: makes this worker the owner of named entities that nobody alive owns, then reads the messages of those it owns, in order.
-- Locks: the rows of residents that it takes over or makes, in key order; it waits only for another visit that makes the same row.
create or replace function revenant.visit_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], since bigint[],
    counts integer[], lasts bigint[], vsns integer[], entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, fence bigint, version bigint, vsn integer, state text,
    seq bigint, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    marks bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    living uuid[];
    found_row record;
    message record;
    got bigint;
    waiting integer;
    share integer := least(entity_limit, greatest(32, message_limit / greatest(cardinality(keys), 1)));
    taken integer := 0;
    total integer := 0;
    bytes bigint := 0;
    last_slot integer := 0;
    skipped integer := 0;
begin
    for found_row in
        select h.slot::integer as slot, h.bucket, h.kind, h.key, h.fence as ours, h.since, h.vsn, h.count as known,
            h.last,
            r.owner, r.fence
        from unnest(buckets, kinds, keys, fences, since, vsns, counts, lasts)
            with ordinality as h (bucket, kind, key, fence, since, vsn, count, last, slot)
        left join lateral (
            select r.owner, r.fence from revenant.residents r
            where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
            -- A look-up each: without this it is a join, planned by how many residents there were at the first visit.
            limit 1
        ) r on true
        order by h.bucket, h.kind collate "C", h.key collate "C"
    loop
        slot := found_row.slot; outcome := null; got := null;
        if found_row.ours > 0 then
            if found_row.owner is distinct from worker or found_row.fence is distinct from found_row.ours then
                outcome := 'lost';
                return next;
                continue;
            end if;
            marks[slot] := found_row.since;
            if found_row.since = 0 and found_row.known > 0 then
                select count(*) into waiting from revenant.messages m
                where m.bucket = found_row.bucket and m.kind = found_row.kind and m.key = found_row.key
                    and m.seq <= found_row.last;
                if waiting = found_row.known then
                    -- So far only what the owner has handled already, and not yet flushed: what is new comes behind.
                    marks[slot] := found_row.last + 1;
                end if;
            end if;
            continue;
        end if;
        perform 1 from revenant.messages m
        where m.bucket = found_row.bucket and m.kind = found_row.kind and m.key = found_row.key limit 1;
        continue when not found;
        perform 1 from revenant.entities e
        where e.bucket = found_row.bucket and e.kind = found_row.kind and e.key = found_row.key
            and e.vsn > found_row.vsn;
        if found then
            outcome := 'newer';
            return next;
            continue;
        end if;
        -- What a crash of Postgres takes back, its owner finds out by the missing row.
        perform set_config('synchronous_commit', 'off', true);
        if found_row.owner is null then
            insert into revenant.residents as r (bucket, kind, key, owner)
            values (found_row.bucket, found_row.kind, found_row.key, worker)
            on conflict do nothing
            returning r.fence into got;
        else
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            if found_row.owner = worker or found_row.owner <> all (living) then
                perform 1 from revenant.residents r
                where r.bucket = found_row.bucket and r.kind = found_row.kind and r.key = found_row.key
                    and r.owner is not distinct from found_row.owner and r.fence = found_row.fence
                for no key update skip locked;
                if found then
                    update revenant.residents r set owner = worker, fence = default, since = now()
                    where r.bucket = found_row.bucket and r.kind = found_row.kind and r.key = found_row.key
                    returning r.fence into got;
                end if;
            end if;
        end if;
        if got is null then
            outcome := 'elsewhere';
            return next;
            continue;
        end if;
        -- In a later snapshot than the lock's: what the last owner flushed is seen. All of the mailbox is looked at.
        marks[slot] := 0; outcome := 'acquired'; fence := got; seq := found_row.fence;
        select e.version, e.vsn, e.state::text into version, vsn, state from revenant.entities e
        where e.bucket = found_row.bucket and e.kind = found_row.kind and e.key = found_row.key;
        version := coalesce(version, 0);
        bytes := bytes + coalesce(octet_length(state), 0);
        return next;
    end loop;

    outcome := null; fence := null; version := null; vsn := null; state := null; seq := null;
    for message in
        select h.slot::integer as slot, m.*
        from unnest(buckets, kinds, keys, marks) with ordinality as h (bucket, kind, key, mark, slot)
        cross join lateral (
            select m.seq, m.id, m.handler, m.args, m.origin, m.digest, m.attempts
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq >= h.mark
            order by m.seq
            limit share + 1
        ) m
        order by h.slot, m.seq
    loop
        slot := message.slot;
        continue when slot = skipped;
        if slot <> last_slot then
            last_slot := slot; taken := 0;
        end if;
        if taken = share or total >= message_limit or (total > 0 and bytes >= byte_limit) then
            outcome := 'later'; seq := message.seq; skipped := slot;
            return next;
            continue;
        end if;
        outcome := 'claimed';
        seq := message.seq; id := message.id::text; handler := message.handler; args := message.args::text;
        origin := message.origin; digest := message.digest; attempts := message.attempts;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = buckets[slot] and r.id = message.id;
        end if;
        taken := taken + 1; total := total + 1;
        bytes := bytes + octet_length(args);
        return next;
    end loop;
end
$$;
