-- Promise: whether a worker lives: its heartbeat is under 8 s old, and the backend that wrote it is there.
-- Locks: none.
create or replace function revenant.alive_v1(worker uuid) returns boolean language plpgsql volatile as $$
begin
    return exists (
        select from revenant.workers w
        where w.id = worker and w.heartbeat_at > now() - make_interval(secs => 8)
            and exists (
                -- Another role's start time is hidden (null): then the pid alone has to do.
                select from pg_stat_get_activity(w.backend_pid) a
                where coalesce(a.backend_start, w.backend_start) = w.backend_start
            )
    );
end
$$;
