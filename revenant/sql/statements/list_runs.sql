-- Promise: a page of runs, the youngest first, behind the one that is named; of one workflow or status, if asked for.
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
select r.*
from workflows w
cross join lateral (
    select substr(h.kind, 5) as workflow, h.key as id, h.status, h.version, h.seq as events, h.recoveries, h.started_at,
        h.updated_at, h.ended_at, h.problem
    from revenant.run_heads h
    where substr(h.kind, 5) = w.name
        and (%(status)s::text is null or h.status = %(status)s)
        and (
            %(started_at)s::timestamptz is null
            or (h.started_at <= %(started_at)s and (h.started_at, h.kind, h.key) < (%(started_at)s, %(kind)s, %(key)s))
        )
    order by h.started_at desc, h.key desc
    limit %(page)s
) r
where w.name is not null and (%(only)s::text is null or w.name = substr(%(only)s, 5))
order by r.started_at desc, r.workflow desc, r.id desc
limit %(page)s;
