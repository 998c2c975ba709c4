-- Promise: writes this worker's row and returns all: alive are those with a heartbeat under 10 s old whose backend is there.
-- Locks: this worker's own row.
create or replace function revenant.heartbeat_v1(
    worker uuid, host text, pid integer, kinds jsonb, lanes integer, jobs integer, draining boolean,
    turns bigint, messages bigint
) returns table (id text, kinds_known jsonb, is_draining boolean, is_alive boolean) language sql volatile as $$
    insert into revenant.workers as w (
        id, host, pid, kinds, lanes, jobs, draining, turns, messages, backend_pid, backend_start
    )
    -- Unqualified, `pid` would be the column, which hides the parameter of the same name.
    select worker, host, heartbeat_v1.pid, kinds, lanes, jobs, draining, turns, messages, a.pid, a.backend_start
    from pg_stat_get_activity(pg_backend_pid()) a
    on conflict (id) do update
    set draining = excluded.draining, turns = excluded.turns, messages = excluded.messages,
        backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, heartbeat_at = now();
    select w.id::text, w.kinds, w.draining,
        w.heartbeat_at > now() - make_interval(secs => 10)
        and exists (
            -- Another role's start time is hidden (null): then the pid alone has to do.
            select from pg_stat_get_activity(w.backend_pid) a
            where coalesce(a.backend_start, w.backend_start) = w.backend_start
        )
    from revenant.workers w
$$;
