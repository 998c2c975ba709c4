-- Promise: as claim_v2, for one entity, by look-ups that need no arrays; each message comes with the transaction and the clock.
-- Locks: the entity's row FOR NO KEY UPDATE, SKIP LOCKED; without a row, an advisory lock. It never waits.
create or replace function revenant.claim_one_v1(
    bucket smallint, kind text, key text, since bigint, vsn_limit integer, known_version bigint, known_writer bigint,
    message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea, writer bigint, is_known boolean,
    xid text, moment timestamptz
) language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    mark bigint;
    ours boolean;
    taken integer := 0;
    bytes bigint := 0;
begin
    slot := 1;
    -- The row as it is once it is locked, whatever the snapshot says; a version alone comes again after a deletion.
    select e.ctid::text, e.version, e.vsn, least(e.applied, since), e.xmin::text::bigint,
        (e.version = known_version and e.xmin::text::bigint = known_writer) is true
    into tid, version, vsn, mark, writer, is_known
    from revenant.entities e
    where e.bucket = claim_one_v1.bucket and e.kind = claim_one_v1.kind and e.key = claim_one_v1.key
    for no key update skip locked;
    if not found then
        select 0, 0, 0, false into mark, version, writer, is_known;
        -- Without a row that could be locked: another turn has it, or there is none yet, or nothing to do.
        if not exists (
            select from revenant.entities e
            where e.bucket = claim_one_v1.bucket and e.kind = claim_one_v1.kind and e.key = claim_one_v1.key
        ) then
            if not exists (
                select from revenant.messages m
                where m.bucket = claim_one_v1.bucket and m.kind = claim_one_v1.kind and m.key = claim_one_v1.key
            ) then
                return;
            end if;
            -- It may be ours only because its last holder has just committed the row: look again.
            ours := pg_try_advisory_xact_lock(hashtextextended(kind || '/' || key, 7)) and not exists (
                select from revenant.entities e
                where e.bucket = claim_one_v1.bucket and e.kind = claim_one_v1.kind and e.key = claim_one_v1.key
            );
        end if;
        if ours is not true then
            outcome := 'locked';
            return next;
            return;
        end if;
    elsif vsn > vsn_limit then
        outcome := 'newer';
        return next;
        return;
    elsif not is_known then
        select e.state::text into state from revenant.entities e where e.ctid = claim_one_v1.tid::tid;
        bytes := octet_length(state);
    end if;

    outcome := 'claimed'; xid := pg_current_xact_id()::text; moment := revenant.now();
    -- In a snapshot of its own, so that nothing consumed by the last holder is seen.
    for seq, message_tid, id, handler, args, origin, digest, attempts in
        select m.seq, m.ctid::text, m.id::text, m.handler, m.args::text, m.origin, m.digest, m.attempts
        from revenant.messages m
        where m.bucket = claim_one_v1.bucket and m.kind = claim_one_v1.kind and m.key = claim_one_v1.key
            and m.seq > mark
        order by m.seq
        limit message_limit + 1
    loop
        if taken = message_limit or (taken > 0 and bytes >= byte_limit) then
            outcome := 'later';
            return next;
            return;
        end if;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = claim_one_v1.bucket and r.id = claim_one_v1.id::uuid;
        end if;
        taken := taken + 1; bytes := bytes + octet_length(args);
        return next;
        state := null;
    end loop;
end
$$;
