-- Promise: the workers' rows, and whether each is alive.
-- Locks: none.
select
    w.id::text, w.host, w.pid, w.kinds, w.lanes, w.jobs, w.turns, w.messages, w.draining, w.started_at,
    coalesce((w.doing ->> 'attempts')::integer, 0) as attempts, coalesce((w.doing ->> 'cells')::integer, 0) as cells,
    coalesce(jsonb_array_length(w.doing -> 'waiting'), 0) as for_a_cell,
    extract(epoch from revenant.now() - w.heartbeat_at)::double precision as heartbeat_age,
    revenant.alive_v1(w.id) as alive
from revenant.workers w
order by w.started_at, w.id;
