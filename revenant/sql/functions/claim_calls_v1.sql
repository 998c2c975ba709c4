-- Promise: returns the calls, without the casts between them, that wait for one entity from a number on, in order.
-- Locks: none; the entity is one that claim_v1 has locked.
create or replace function revenant.claim_calls_v1(
    bucket smallint, kind text, key text, since bigint, message_limit integer, byte_limit bigint
) returns table (
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    message record;
    bytes bigint := 0;
begin
    for message in
        select m.seq, m.ctid::text as message_tid, m.id::text as id, m.handler, m.args::text as args, m.origin,
            m.digest, m.attempts, r.status, r.version, r.body::text as body, r.digest as done_digest
        from (
            select m.ctid, m.*
            from revenant.messages m
            where m.bucket = claim_calls_v1.bucket and m.kind = claim_calls_v1.kind and m.key = claim_calls_v1.key
                and m.seq >= since and m.origin is not null
            order by m.seq
            limit message_limit
        ) m
        left join lateral (
            select r.status, r.version, r.body, r.digest from revenant.replies r
            where r.bucket = m.bucket and r.id = m.id and m.digest is not null
            limit 1
        ) r on true
        order by m.seq
    loop
        seq := message.seq; message_tid := message.message_tid; id := message.id; handler := message.handler;
        args := message.args; origin := message.origin; digest := message.digest; attempts := message.attempts;
        done_status := message.status; done_version := message.version; done_body := message.body;
        done_digest := message.done_digest;
        return next;
        bytes := bytes + octet_length(args);
        exit when bytes >= byte_limit;
    end loop;
end
$$;
