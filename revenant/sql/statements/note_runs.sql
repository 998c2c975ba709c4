-- Promise: notes the runs whose code this worker is about to run; returns (place from 1, deaths) of those that workers died with.
-- Locks: those of note_runs_v1.
select * from revenant.note_runs_v1(%(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[]);
