-- Promise: the schedules, and whether a worker that has their definition has said so lately.
-- Locks: none.
select
    s.name, s.every, s.cron, s.timezone, s.missed, s.kind, s.key, s.handler, s.args, s.due, s.fired_at, s.since,
    s.seen_at > revenant.now() - make_interval(secs => 120) as live
from revenant.schedules s
order by s.name;
