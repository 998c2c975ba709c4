-- Promise: as note_runs_v1, but leaves alone, and says -1 of, what a worker has noted that lives: it is about that run just now; one that lives and hangs has died as far as notes go.
-- Locks: those of note_runs_v1.
create or replace function revenant.note_runs_v2(worker uuid, buckets smallint[], kinds text[], keys text[])
returns table (slot integer, dead integer) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    own record;
    run record;
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    select a.pid, a.backend_start into own from pg_stat_get_activity(pg_backend_pid()) a;
    for run in
        select h.bucket, h.kind, h.key, h.slot::integer as slot
        from unnest(buckets, kinds, keys) with ordinality as h (bucket, kind, key, slot)
        order by h.bucket, h.kind, h.key
    loop
        insert into revenant.run_notes as n (bucket, kind, key, worker, backend_pid, backend_start)
        values (run.bucket, run.kind, run.key, note_runs_v2.worker, own.pid, own.backend_start)
        on conflict on constraint run_notes_pkey do update
        set worker = excluded.worker, backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
            noted_at = revenant.now(), deaths = n.deaths + (n.worker <> excluded.worker)::integer
        where n.worker = excluded.worker or not revenant.alive_v1(n.worker) or not exists (
            -- It lives, and has lost that connection: it has let go of the run.
            select from pg_stat_get_activity(n.backend_pid) a
            where coalesce(a.backend_start, n.backend_start) = n.backend_start
        )
        returning n.deaths into dead;
        slot := run.slot;
        if not found then
            dead := -1;
        end if;
        if dead <> 0 then
            return next;
        end if;
    end loop;
    delete from revenant.run_notes n
    where n.ctid = any (array(
        select o.ctid from revenant.run_notes o where o.noted_at < revenant.now() - make_interval(days => 1)
        limit 100 for update skip locked
    ));
end
$$;
