-- Promise: of kinds, given with their live workers' vsns: how many entities of newer state wait, and how many messages.
-- Locks: none.
select e.kind, count(*), sum(w.messages)::bigint, max(e.vsn)
from unnest(%(kinds)s::text[], %(vsns)s::integer[]) as live (kind, vsn)
join (
    select bucket, kind, key, count(*) as messages from revenant.messages group by bucket, kind, key
) as w on w.kind = live.kind
join revenant.entities e on e.bucket = w.bucket and e.kind = w.kind and e.key = w.key
where e.vsn > live.vsn
group by e.kind
order by e.kind;
