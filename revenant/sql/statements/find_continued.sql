-- Promise: the stream that one goes on from; null: it is the run's first.
-- Locks: none.
select e.data ->> 'continues' as run from revenant.run_events e
where e.bucket = %(bucket)s::smallint and e.run = %(run)s::uuid and e.seq = 1;
