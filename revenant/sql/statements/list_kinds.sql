-- Promise: every kind that has rows, with how many entities, waiting, scheduled and dead messages it has.
-- Locks: none.
select
    kind,
    sum(entities)::bigint as entities,
    sum(waiting)::bigint as waiting,
    sum(scheduled)::bigint as scheduled,
    sum(dead)::bigint as dead
from (
    select kind, count(*) as entities, 0 as waiting, 0 as scheduled, 0 as dead from revenant.entities group by kind
    union all
    select kind, 0, count(*), 0, 0 from revenant.messages group by kind
    union all
    select kind, 0, 0, count(*), 0 from revenant.scheduled group by kind
    union all
    select kind, 0, 0, 0, count(*) from revenant.dead group by kind
) as counts
where kind > %(after)s
group by kind
order by kind
limit %(page)s;
