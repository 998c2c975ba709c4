-- Promise: the workers' rows, and whether each is alive.
-- Locks: none.
select
    w.id::text, w.host, w.pid, w.kinds, w.lanes, w.jobs, w.turns, w.messages, w.draining, w.started_at,
    extract(epoch from revenant.now() - w.heartbeat_at)::double precision as heartbeat_age,
    revenant.alive_v1(w.id) as alive
from revenant.workers w
order by w.started_at, w.id;
