-- Promise: as visit_v1, for one entity that this worker has owned already, by look-ups that need no arrays; each row comes with the clock, and where nothing waits there is one that says `nothing`.
-- Locks: none.
create or replace function revenant.visit_one_v1(
    worker uuid, bucket smallint, kind text, key text, fence bigint, since bigint, known integer, last bigint,
    message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, held_fence bigint, version bigint, vsn integer, state text,
    seq bigint, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea, moment timestamptz
) language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    mark bigint := since;
    waiting integer;
    taken integer := 0;
    bytes bigint := 0;
begin
    slot := 1; moment := revenant.now();
    if (
        select r.owner = visit_one_v1.worker and r.fence = visit_one_v1.fence from revenant.residents r
        where r.bucket = visit_one_v1.bucket and r.kind = visit_one_v1.kind and r.key = visit_one_v1.key
        limit 1
    ) is not true then
        outcome := 'lost';
        return next;
        return;
    end if;
    if since = 0 and known > 0 then
        select count(*) into waiting from revenant.messages m
        where m.bucket = visit_one_v1.bucket and m.kind = visit_one_v1.kind and m.key = visit_one_v1.key
            and m.seq <= last;
        if waiting = known then
            -- So far only what the owner has handled already, and not yet flushed: what is new comes behind.
            mark := last + 1;
        end if;
    end if;
    outcome := 'claimed';
    for seq, id, handler, args, origin, digest, attempts in
        select m.seq, m.id::text, m.handler, m.args::text, m.origin, m.digest, m.attempts
        from revenant.messages m
        where m.bucket = visit_one_v1.bucket and m.kind = visit_one_v1.kind and m.key = visit_one_v1.key
            and m.seq >= mark
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
            from revenant.replies r where r.bucket = visit_one_v1.bucket and r.id = visit_one_v1.id::uuid;
        end if;
        taken := taken + 1; bytes := bytes + octet_length(args);
        return next;
    end loop;
    if taken = 0 then
        outcome := 'nothing';
        return next;
    end if;
end
$$;
