-- Promise: one client's batch reaches the mailboxes exactly once, however often it is retried; replies read are dropped.
-- Locks: the batch's row in sends (a retry waits for its first try); then replies of this client; wakes inside only if unflushed.
create or replace function revenant.enqueue_v1(
    batch uuid, settled uuid[], flush boolean,
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[], read_ids uuid[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    hint text;
begin
    if not flush then
        -- The caller waits for the reply, whose commit flushes this one with it: WAL is one stream.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        if flush then
            -- The first try is committed here; a synchronous standby is waited for by a commit that writes.
            update revenant.sends set sent_at = now() where id = batch;
        end if;
        return next '*';
        return;
    end if;
    if cardinality(settled) > 0 then
        delete from revenant.sends s using unnest(settled) as d (id) where s.id = d.id;
    end if;
    if cardinality(read_ids) > 0 then
        delete from revenant.replies r
        using unnest(read_ids) as d (id)
        where r.bucket = get_byte(uuid_send(d.id), 15)::smallint and r.id = d.id and r.digest is null;
    end if;
    if cardinality(ids) = 0 then
        return;
    end if;
    for hint in select revenant.send_v1(buckets, kinds, keys, ids, handlers, args, origins, digests) loop
        if flush then
            return next hint;
        else
            perform pg_notify('revenant_wake', hint);
        end if;
    end loop;
end
$$;
