-- Promise: the messages that wait still, of all that dead workers had noted together, become suspects: charged with nothing, but where one was all that its worker had in hand.
-- Locks: an advisory lock, if there is such a note; then those notes; then the messages' rows in suspects, in order.
create or replace function revenant.suspect_noted_v1(worker uuid) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Nobody in particular: never a worker that has a row.
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    left_behind uuid[];
    lanes text[];
begin
    if not exists (select from revenant.notes n where n.worker <> suspect_noted_v1.worker) then
        return;
    end if;
    select array_agg(n.worker), array_agg(n.lane) into left_behind, lanes
    from revenant.notes n
    where n.worker <> suspect_noted_v1.worker and (
        not revenant.alive_v1(n.worker) or not exists (
            -- Another role's start time is hidden (null): then the pid alone has to do.
            select from pg_stat_get_activity(n.backend_pid) a
            where coalesce(a.backend_start, n.backend_start) = n.backend_start
        )
    );
    if left_behind is null then
        return;
    end if;
    -- Whoever comes second waits, so that it sees the suspects of the first.
    perform pg_advisory_xact_lock(hashtextextended('revenant.notes', 7));
    insert into revenant.suspects (bucket, id, kind, key, seq, worker)
    select f.bucket, f.id, f.kind, f.key, f.seq,
        case when count(*) over (partition by f.worker) = 1 then f.worker else nobody end
    from (
        select distinct on (m.bucket, m.id) m.bucket, m.id, m.kind, m.key, m.seq, n.worker
        from unnest(left_behind, lanes) as dead (worker, lane)
        join revenant.notes n on n.worker = dead.worker and n.lane = dead.lane
        cross join lateral unnest(n.buckets, n.kinds, n.keys, n.firsts, n.lasts) as h (bucket, kind, key, first, last)
        cross join lateral (
            select m.bucket, m.id, m.kind, m.key, m.seq
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq between h.first and h.last
        ) m
        order by m.bucket, m.id
    ) f
    order by f.bucket, f.id
    on conflict on constraint suspects_pkey do nothing;
    delete from revenant.notes n
    using unnest(left_behind, lanes) as dead (worker, lane)
    where n.worker = dead.worker and n.lane = dead.lane;
end
$$;
