-- Promise: locks each named entity that is free, then reads its messages in a later snapshot, in order; never waits.
-- Locks: an advisory lock per entity to be created, or its row FOR NO KEY UPDATE, both SKIP LOCKED; in the order given.
create or replace function revenant.claim_v1(
    buckets smallint[], kinds text[], keys text[], since bigint[], vsns integer[],
    entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    entity record;
    message record;
    taken integer;
    total integer := 0;
    bytes bigint := 0;
begin
    for i in 1 .. cardinality(keys) loop
        slot := i; seq := null; tid := null; version := 0; vsn := null; state := null;
        if total >= message_limit or bytes >= byte_limit then
            outcome := 'later'; return next;
            continue;
        end if;
        select e.ctid::text as tid, e.version, e.vsn, e.state::text as state, e.applied into entity
        from revenant.entities e
        where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i]
        for no key update skip locked;
        if found then
            if entity.vsn > vsns[i] then
                outcome := 'newer'; return next;
                continue;
            end if;
            tid := entity.tid; version := entity.version; vsn := entity.vsn; state := entity.state;
            bytes := bytes + octet_length(state);
        else
            perform 1 from revenant.entities e
            where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
            if found then
                outcome := 'locked'; return next;
                continue;
            end if;
            perform 1 from revenant.messages m
            where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] limit 1;
            if not found then
                continue;
            end if;
            if not pg_try_advisory_xact_lock(hashtextextended(kinds[i] || '/' || keys[i], 7)) then
                outcome := 'locked'; return next;
                continue;
            end if;
            -- The lock may be ours only because its last holder has just committed the row: look again.
            perform 1 from revenant.entities e
            where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
            if found then
                outcome := 'locked'; return next;
                continue;
            end if;
        end if;
        outcome := 'claimed'; taken := 0;
        for message in
            select m.seq, m.ctid::text as tid, m.id, m.handler, m.args::text as args, m.origin, m.digest, m.attempts
            from revenant.messages m
            where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i]
                and m.seq > case when tid is null then 0 else least(entity.applied, since[i]) end
            order by m.seq
            limit entity_limit + 1
        loop
            if taken = entity_limit or (taken > 0 and bytes >= byte_limit) then
                seq := null; outcome := 'later'; return next;
                exit;
            end if;
            seq := message.seq; message_tid := message.tid; id := message.id::text; handler := message.handler;
            args := message.args; origin := message.origin; digest := message.digest; attempts := message.attempts;
            done_status := null; done_version := null; done_body := null; done_digest := null;
            if digest is not null then
                select r.status, r.version, r.body::text, r.digest
                into done_status, done_version, done_body, done_digest
                from revenant.replies r where r.bucket = buckets[i] and r.id = message.id;
            end if;
            return next;
            state := null;
            taken := taken + 1; total := total + 1; bytes := bytes + octet_length(args);
        end loop;
    end loop;
end
$$;
