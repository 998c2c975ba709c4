-- Promise: the latest decision about an approval of a run, by its name, or by its stream and operation; no row where there is none.
-- Locks: none.
select e.data -> 'result'
from revenant.run_heads h
join revenant.run_events e on e.bucket = h.bucket and e.run = coalesce(%(run)s::uuid, h.run)
where h.bucket = %(bucket)s and h.kind = %(kind)s and h.key = %(key)s
    and e.type = 'approval.given' and e.data ->> 'name' = %(name)s and e.op = coalesce(%(op)s::integer, e.op)
order by e.seq desc
limit 1;
