-- Promise: the workers' rows, and whether each is alive: by the same rule as heartbeat_v1.
-- Locks: none.
select
    w.id::text, w.host, w.pid, w.kinds, w.lanes, w.jobs, w.turns, w.messages, w.draining, w.started_at,
    extract(epoch from revenant.now() - w.heartbeat_at)::double precision as heartbeat_age,
    w.heartbeat_at > revenant.now() - make_interval(secs => 10)
    and exists (
        select from pg_stat_get_activity(w.backend_pid) as a
        where coalesce(a.backend_start, w.backend_start) = w.backend_start
    ) as alive
from revenant.workers w
order by w.started_at, w.id;
