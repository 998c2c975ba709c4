-- Promise: the runs of one id, of whatever workflow.
-- Locks: none.
with recursive kinds as (
    (select h.kind from revenant.run_heads h order by h.kind limit 1)
    union all
    select (select h.kind from revenant.run_heads h where h.kind > k.kind order by h.kind limit 1)
    from kinds k where k.kind is not null
)
select h.kind, h.key, h.started_at
from kinds k
join revenant.run_heads h on h.bucket = revenant.bucket_v1(k.kind, %(key)s) and h.kind = k.kind and h.key = %(key)s
order by h.kind;
