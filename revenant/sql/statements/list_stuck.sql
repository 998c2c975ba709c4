-- Promise: runs that do not go on by themselves, or have not for long, the longest first; of a failed one, whether a step failed it, and whether it has undone anything; and whether runs of other workflows have its id.
-- Locks: none.
with recursive workflows as (
    (select substr(h.kind, 5) as name from revenant.run_heads h order by substr(h.kind, 5) limit 1)
    union all
    select (
        select substr(h.kind, 5) from revenant.run_heads h
        where substr(h.kind, 5) > w.name order by substr(h.kind, 5) limit 1
    )
    from workflows w where w.name is not null
), found as (
    select s.workflow, s.id, s.reason, s.since, s.status, s.version, s.problem, 'run:' || s.workflow as kind
    from revenant.stuck s
    where %(workflow)s::text is null or s.workflow = %(workflow)s
    order by s.since, s.workflow, s.id
    limit %(page)s
)
select f.workflow, f.id, f.reason, f.since, f.status, f.version, f.problem,
    f.reason = 'failed' and coalesce(last.data -> 'error' ->> 'error' = 'StepFailed', false) as step_failed,
    coalesce(last.data ? 'undone', false) as undone,
    last.data -> 'error' ->> 'type' as error_type,
    exists (
        select from workflows w
        join revenant.run_heads other
            on other.bucket = revenant.bucket_v1('run:' || w.name, f.id) and other.kind = 'run:' || w.name and other.key = f.id
        where w.name <> f.workflow
    ) as shared
from found f
left join revenant.run_heads h on h.bucket = revenant.bucket_v1(f.kind, f.id) and h.kind = f.kind and h.key = f.id
left join revenant.run_events last on last.bucket = h.bucket and last.run = h.run and last.seq = h.seq
order by f.since, f.workflow, f.id;
