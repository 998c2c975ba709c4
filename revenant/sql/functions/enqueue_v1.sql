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
    -- A look-up each, behind a limit: joins would be planned by how many rows there were at the session's first batch.
    if cardinality(settled) > 0 then
        delete from revenant.sends s
        using (
            select f.tid from unnest(settled) as d (id)
            cross join lateral (select f.ctid as tid from revenant.sends f where f.id = d.id limit 1) f
        ) d
        where s.ctid = d.tid;
    end if;
    if cardinality(read_ids) > 0 then
        delete from revenant.replies r
        using (
            select f.tid from unnest(read_ids) as d (id)
            cross join lateral (
                select f.ctid as tid from revenant.replies f
                where f.bucket = get_byte(uuid_send(d.id), 15)::smallint and f.id = d.id
                limit 1
            ) f
        ) d
        where r.ctid = d.tid and r.digest is null;
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
