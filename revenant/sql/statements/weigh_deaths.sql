-- Promise: the dead workers, by id, whose deaths may happen again: it was just now, or nobody who could serve the same kinds then lives on.
-- Locks: none.
select d.id::text
from revenant.workers d
where d.id <> %(worker)s::uuid and not revenant.alive_v1(d.id) and (
    d.heartbeat_at > now() - make_interval(secs => %(seconds)s) or not exists (
        select from revenant.workers o
        where o.id not in (d.id, %(worker)s::uuid) and o.started_at < d.heartbeat_at and revenant.alive_v1(o.id)
            and not exists (select from jsonb_object_keys(d.kinds) k where not o.kinds ? k)
    )
);
