-- Promise: notes that a worker died while it ran this job, once for each try; returns how many did, or nothing if it has moved on.
-- Locks: the job's row in suspects.
insert into revenant.suspects as s (bucket, id, kind, key, seq, worker, deaths)
select get_byte(uuid_send(%(id)s::uuid), 15)::smallint, %(id)s::uuid, '', j.id::text, j.attempts, %(id)s::uuid, 1
from procrastinate_jobs j
where j.id = %(job)s and j.status = 'doing' and j.attempts = %(attempts)s
on conflict on constraint suspects_pkey do update
set deaths = s.deaths + case when s.seq < excluded.seq then 1 else 0 end, seq = excluded.seq, noted_at = revenant.now()
returning s.deaths;
