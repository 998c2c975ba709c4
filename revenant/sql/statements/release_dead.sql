-- Promise: ends the residence of entities whose owner is dead; returns those for which messages wait.
-- Locks: those of release_dead_v1.
select * from revenant.release_dead_v1(%(worker)s::uuid, %(page)s);
