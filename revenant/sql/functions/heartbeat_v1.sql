-- Promise: writes this worker's row and returns all: and whether each lives.
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
    select w.id::text, w.kinds, w.draining, revenant.alive_v1(w.id) from revenant.workers w
$$;
