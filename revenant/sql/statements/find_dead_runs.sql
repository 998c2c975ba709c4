-- Promise: runs of these kinds and versions whose owner is dead.
-- Locks: none.
select * from revenant.find_dead_runs_v2(%(worker)s::uuid, %(kinds)s::text[], %(newest)s::integer[], %(page)s);
