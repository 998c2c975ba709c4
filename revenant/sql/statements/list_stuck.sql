-- Promise: runs that do not go on by themselves, or have not for long, the longest first; of a failed one, whether a step failed it, and whether it has undone anything.
-- Locks: none.
with found as (
    select s.workflow, s.id, s.reason, s.since, s.status, s.version, s.problem, 'run:' || s.workflow as kind
    from revenant.stuck s
    where %(workflow)s::text is null or s.workflow = %(workflow)s
    order by s.since, s.workflow, s.id
    limit %(page)s
)
select f.workflow, f.id, f.reason, f.since, f.status, f.version, f.problem,
    f.reason = 'failed' and coalesce(last.data -> 'error' ->> 'error' = 'StepFailed', false) as step_failed,
    coalesce(last.data ? 'undone', false) as undone,
    last.data -> 'error' ->> 'type' as error_type
from found f
left join revenant.run_heads h on h.bucket = revenant.bucket_v1(f.kind, f.id) and h.kind = f.kind and h.key = f.id
left join revenant.run_events last on last.bucket = h.bucket and last.run = h.run and last.seq = h.seq
order by f.since, f.workflow, f.id;
