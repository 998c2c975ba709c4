-- Promise: where a run stands, who owns it, and how many messages wait for it; no row where there is no such run.
-- Locks: none.
select h.run::text, h.version, h.status, h.seq, h.fence, h.recoveries, h.view, h.problem, h.parent, h.started_at,
    h.updated_at, h.ended_at, h.expires_at, h.resolved, h.owner::text, w.host, w.pid,
    case when h.owner is not null then revenant.alive_v1(h.owner) end as alive,
    (select count(*) from revenant.messages m where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key) as messages
from revenant.run_heads h
left join revenant.workers w on w.id = h.owner
where h.bucket = %(bucket)s and h.kind = %(kind)s and h.key = %(key)s;
