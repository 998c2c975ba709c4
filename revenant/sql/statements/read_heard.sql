-- Promise: of a run's events those that say whether a signal or an update of that id was received, and what it was answered.
-- Locks: none.
select e.seq, e.type, e.op, e.at, e.data::text
from revenant.run_events e
where e.bucket = %(bucket)s and e.run = %(run)s::uuid
    and (
        e.seq = 1
        or (e.type in ('signal.received', 'update.received') and e.data ->> 'id' = %(id)s)
        or (%(updates)s and e.type in ('update.answered', 'update.refused'))
    )
order by e.seq;
