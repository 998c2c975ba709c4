-- Promise: notes the runs whose code this worker is about to run; returns (place from 1, deaths) of those that workers died with, and -1 for those that another one is at.
-- Locks: those of note_runs_v2.
select * from revenant.note_runs_v2(%(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[]);
