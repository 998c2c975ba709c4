-- Promise: of each named run: where it stands, the messages that wait for it in order, and, where those known are not all, its last snapshot, the events since, and its steps' progress.
-- Locks: none: what was read here is fenced when it is appended to.
create or replace function revenant.visit_runs_v2(
    worker uuid, buckets smallint[], kinds text[], keys text[],
    known_runs uuid[], known_seqs bigint[], known_fences bigint[], owned boolean[], forced boolean[],
    formats text[], message_limit integer, byte_limit bigint
) returns table (
    slot integer, part text, seq bigint, tid text, id text, name text, body text, origin text, digest bytea,
    fence bigint, op integer, at timestamptz, version integer, verdict text
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    streams uuid[] := array_fill(null::uuid, array[cardinality(keys)]);
    ends bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    looks boolean[] := array_fill(false, array[cardinality(keys)]);
    reads boolean[] := array_fill(false, array[cardinality(keys)]);
    living uuid[];
    head record;
    message record;
    event record;
    since bigint;
    total integer := 0;
    bytes bigint := 0;
    read_any boolean := false;
    cut integer := cardinality(keys) + 1;
begin
    part := 'head';
    for head in
        select h.slot::integer as slot, h.forced, h.ours, r.*,
            coalesce(r.run = h.known_run and r.seq = h.known_seq and r.fence = h.known_fence, false) as known
        from unnest(buckets, kinds, keys, known_runs, known_seqs, known_fences, owned, forced)
            with ordinality as h (bucket, kind, key, known_run, known_seq, known_fence, ours, forced, slot)
        left join lateral (
            select r.run, r.seq, r.status, r.problem, r.origin, r.digest, r.fence, r.recoveries, r.version, r.owner
            from revenant.run_heads r
            where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
            -- A look-up each: without this it is a join, planned by how many runs there were at the session's first visit.
            limit 1
        ) r on true
        order by h.slot
    loop
        slot := head.slot; verdict := 'free';
        if head.owner is not null then
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            verdict := case
                when head.owner = worker then 'ours' when head.owner = any (living) then 'elsewhere' else 'dead'
            end;
        end if;
        tid := case when head.known then 'known' end;
        seq := head.seq; id := head.run::text; name := head.status; body := head.problem; origin := head.origin;
        digest := head.digest; fence := head.fence; op := head.recoveries; version := head.version;
        return next;
        continue when verdict = 'elsewhere';
        looks[slot] := true;
        continue when head.run is null or head.known or head.status in ('completed', 'failed', 'cancelled');
        streams[slot] := head.run; ends[slot] := head.seq;
        -- A run is read from its beginning only when there is something to be done about it.
        reads[slot] := head.forced or (head.owner is not null and not (head.owner = worker and head.ours));
    end loop;

    part := 'message'; verdict := null; fence := null; op := null; version := null;
    -- In a later snapshot than the heads': what their last owners consumed is not seen again.
    for message in
        select h.slot::integer as slot, m.*
        from unnest(buckets, kinds, keys, looks) with ordinality as h (bucket, kind, key, looks, slot)
        cross join lateral (
            select m.seq, m.ctid::text as tid, m.id::text as id, m.handler, m.args::text as args, m.origin, m.digest
            from revenant.messages m
            where h.looks and m.bucket = h.bucket and m.kind = h.kind and m.key = h.key
            order by m.seq
            -- One more, to know whether there are more.
            limit message_limit + 1
        ) m
        order by h.slot, m.seq
    loop
        if total >= message_limit or (total > 0 and bytes >= byte_limit) then
            cut := message.slot;
            exit;
        end if;
        slot := message.slot; seq := message.seq; tid := message.tid; id := message.id; name := message.handler;
        body := message.args; origin := message.origin; digest := message.digest;
        total := total + 1; bytes := bytes + octet_length(body);
        reads[slot] := true;
        return next;
    end loop;

    part := 'more'; tid := null; body := null;
    for i in cut .. cardinality(keys) loop
        slot := i;
        return next;
    end loop;

    tid := null; id := null; origin := null; digest := null;
    for i in 1 .. cardinality(keys) loop
        continue when not reads[i] or streams[i] is null;
        slot := i; part := 'later';
        if bytes >= byte_limit and read_any then
            -- A run is read whole, or not yet.
            seq := null; name := null; op := null; at := null; body := null;
            return next;
            continue;
        end if;
        read_any := true; since := 0;
        if formats[i] is not null then
            select s.seq, s.view::text into seq, body from revenant.run_snapshots s
            where s.bucket = buckets[i] and s.run = streams[i] and s.format = formats[i] and s.seq <= ends[i];
            if found then
                part := 'snapshot'; name := null; since := seq; bytes := bytes + octet_length(body);
                return next;
            end if;
        end if;
        part := 'event';
        for event in
            select e.seq, e.type, e.op, e.at, e.data::text as data from revenant.run_events e
            where e.bucket = buckets[i] and e.run = streams[i] and e.seq > since and e.seq <= ends[i]
            order by e.seq
        loop
            seq := event.seq; name := event.type; op := event.op; at := event.at; body := event.data;
            bytes := bytes + octet_length(body);
            return next;
        end loop;
        part := 'progress'; seq := null; name := null; at := null;
        for event in
            select p.op, p.progress::text as data from revenant.run_progress p
            where p.bucket = buckets[i] and p.run = streams[i]
        loop
            op := event.op; body := event.data;
            return next;
        end loop;
        op := null; at := null;
    end loop;
end
$$;
