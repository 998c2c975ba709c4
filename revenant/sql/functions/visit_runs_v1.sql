-- Promise: of each named run: where it stands, the messages that wait for it in order, and its events and its steps' progress where those known are not all.
-- Locks: none: what was read here is fenced when it is appended to.
create or replace function revenant.visit_runs_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[],
    known_runs uuid[], known_seqs bigint[], known_fences bigint[], owned boolean[], forced boolean[],
    message_limit integer, byte_limit bigint
) returns table (
    slot integer, part text, seq bigint, tid text, id text, name text, body text, origin text, digest bytea,
    fence bigint, op integer, at timestamptz, version integer, verdict text
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    living uuid[];
    head revenant.run_heads;
    message record;
    event record;
    met integer;
    total integer := 0;
    bytes bigint := 0;
begin
    for i in 1 .. cardinality(keys) loop
        slot := i;
        select h.* into head from revenant.run_heads h
        where h.bucket = buckets[i] and h.kind = kinds[i] and h.key = keys[i];
        verdict := 'free';
        if head.owner is not null then
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            verdict := case
                when head.owner = worker then 'ours' when head.owner = any (living) then 'elsewhere' else 'dead'
            end;
        end if;
        part := 'head'; seq := head.seq; tid := null; id := head.run::text; name := head.status; body := head.problem;
        origin := head.origin; digest := head.digest; fence := head.fence; op := head.recoveries; at := null;
        version := head.version;
        if verdict = 'elsewhere' then
            return next;
            continue;
        end if;
        if total >= message_limit or bytes >= byte_limit then
            verdict := 'later';
            return next;
            continue;
        end if;
        if head.run = known_runs[i] and head.seq = known_seqs[i] and head.fence = known_fences[i] then
            tid := 'known';
        end if;
        return next;

        part := 'message'; met := 0; tid := null; body := null; verdict := null; fence := null; op := null; version := null;
        -- In a later snapshot than the head's: what its last owner consumed is not seen again.
        for message in
            select m.seq, m.ctid::text as tid, m.id::text as id, m.handler, m.args::text as args, m.origin, m.digest
            from revenant.messages m
            where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i]
            order by m.seq
            limit greatest(message_limit - total, 1)
        loop
            seq := message.seq; tid := message.tid; id := message.id; name := message.handler; body := message.args;
            origin := message.origin; digest := message.digest;
            met := met + 1; bytes := bytes + octet_length(body);
            return next;
        end loop;
        total := total + met;

        -- A run is read from its beginning only when there is something to be done about it.
        continue when head.run is null or head.status in ('completed', 'failed', 'cancelled')
            or (met = 0 and not forced[i] and not (head.owner is not null and (head.owner <> worker or not owned[i])))
            or (head.run = known_runs[i] and head.seq = known_seqs[i] and head.fence = known_fences[i]);
        part := 'event'; tid := null; id := null; origin := null; digest := null;
        for event in
            select e.seq, e.type, e.op, e.at, e.data::text as data from revenant.run_events e
            where e.bucket = buckets[i] and e.run = head.run and e.seq <= head.seq
            order by e.seq
        loop
            seq := event.seq; name := event.type; op := event.op; at := event.at; body := event.data;
            bytes := bytes + octet_length(body);
            return next;
        end loop;
        part := 'progress'; seq := null; name := null; at := null;
        for event in
            select p.op, p.progress::text as data from revenant.run_progress p
            where p.bucket = buckets[i] and p.run = head.run
        loop
            op := event.op; body := event.data;
            return next;
        end loop;
        op := null; at := null;
    end loop;
end
$$;
