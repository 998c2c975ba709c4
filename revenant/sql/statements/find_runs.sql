-- Promise: the runs of one id, of whatever workflow.
-- Locks: none.
with recursive workflows as (
    (select substr(h.kind, 5) as name from revenant.run_heads h order by substr(h.kind, 5) limit 1)
    union all
    select (
        select substr(h.kind, 5) from revenant.run_heads h
        where substr(h.kind, 5) > w.name order by substr(h.kind, 5) limit 1
    )
    from workflows w where w.name is not null
)
select h.kind, h.key, h.started_at
from workflows w
cross join lateral (
    select h.kind, h.key, h.started_at from revenant.run_heads h
    where h.bucket = revenant.bucket_v1('run:' || w.name, %(key)s) and h.kind = 'run:' || w.name and h.key = %(key)s
    limit 1
) h
order by h.kind;
