-- Promise: writes this worker's row and returns every live worker; a worker is live for 10 seconds after its heartbeat.
-- Locks: this worker's own row.
create or replace function revenant.heartbeat_v1(
    worker uuid, host text, pid integer, kinds jsonb, lanes integer, jobs integer, draining boolean,
    turns bigint, messages bigint
) returns table (id text, kinds_known jsonb, is_draining boolean) language sql volatile as $$
    insert into revenant.workers as w (id, host, pid, kinds, lanes, jobs, draining, turns, messages)
    values (worker, host, pid, kinds, lanes, jobs, draining, turns, messages)
    on conflict (id) do update
    set draining = excluded.draining, turns = excluded.turns, messages = excluded.messages, heartbeat_at = now();
    select w.id::text, w.kinds, w.draining from revenant.workers w
    where w.heartbeat_at > now() - make_interval(secs => 10) or w.id = worker
$$;
