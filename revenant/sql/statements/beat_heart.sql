-- Promise: says in this worker's row that it lives, writes none where there is none, and returns the live fleet.
-- Locks: this worker's own row.
update revenant.workers w
set draining = %(draining)s, turns = %(turns)s::bigint, messages = %(messages)s::bigint,
    backend_pid = a.pid, backend_start = a.backend_start, heartbeat_at = now()
from pg_stat_get_activity(pg_backend_pid()) a
where w.id = %(worker)s::uuid;
select w.id::text, w.kinds, w.draining, revenant.alive_v1(w.id) from revenant.workers w;
