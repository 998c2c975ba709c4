-- Promise: removes this worker's notes of these runs: it lives.
-- Locks: those of clear_runs_v1.
select revenant.clear_runs_v1(%(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[]);
