-- Promise: runs of these kinds whose owner is dead.
-- Locks: none.
select * from revenant.find_dead_runs_v1(%(worker)s::uuid, %(kinds)s::text[], %(page)s);
