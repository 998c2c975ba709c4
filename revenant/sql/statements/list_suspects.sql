-- Promise: where the messages wait, of these kinds, that other workers had noted and did not come to an end with.
-- Locks: those of suspect_noted_v1.
select revenant.suspect_noted_v1(%(worker)s::uuid);
select s.bucket, s.kind, s.key, s.seq
from revenant.suspects s
where s.worker <> %(worker)s::uuid and s.kind = any(%(kinds)s::text[]) and exists (
    select from revenant.messages m
    where m.bucket = s.bucket and m.kind = s.kind and m.key = s.key and m.seq = s.seq
)
order by s.noted_at
limit 5000;
