-- Promise: as enqueue_v1, for a batch of one message, by statements that need no arrays; returns a wake-up not sent inside.
-- Locks: the batch's row in sends (a retry waits for its first try); a call's wake-up inside, as it is not flushed.
create or replace function revenant.enqueue_one_v1(
    batch uuid, bucket smallint, kind text, key text, id uuid, handler text, args text, origin text, digest bytea
) returns text language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    number bigint;
    hint text;
begin
    if origin is not null then
        -- The caller waits for the reply, whose commit flushes this one with it: WAL is one stream.
        hint := set_config('synchronous_commit', 'off', true);
    end if;
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        if origin is null then
            -- The first try is committed here; a synchronous standby is waited for by a commit that writes.
            update revenant.sends s set sent_at = now() where s.id = batch;
        end if;
        return '*';
    end if;
    insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
    values (
        enqueue_one_v1.bucket, enqueue_one_v1.kind, enqueue_one_v1.key, enqueue_one_v1.id, enqueue_one_v1.handler,
        enqueue_one_v1.args::json, enqueue_one_v1.origin, enqueue_one_v1.digest
    )
    returning seq into number;
    hint := '[' || json_build_array(bucket, kind, key, number)::text || ']';
    if origin is null then
        return hint;
    end if;
    perform pg_notify('revenant_wake', hint);
    return null;
end
$$;
