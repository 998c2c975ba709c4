-- Promise: the events of a run's current stream, in order, their data as JSON text; none where there is no such run.
-- Locks: none.
select e.seq, e.type, e.op, e.at, e.data::text
from revenant.run_heads h
join revenant.run_events e on e.bucket = h.bucket and e.run = h.run and e.seq <= h.seq
where h.bucket = %(bucket)s and h.kind = %(kind)s and h.key = %(key)s
order by e.seq;
