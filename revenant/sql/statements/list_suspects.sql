-- Promise: where the messages wait, of these kinds, that other workers had noted and did not come to an end with.
-- Locks: none.
select s.bucket, s.kind, s.key, s.seq
from revenant.suspects s
where s.worker <> %(worker)s::uuid and s.kind = any(%(kinds)s::text[])
order by s.noted_at
limit 100;
