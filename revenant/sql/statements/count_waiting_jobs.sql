-- Promise: by task, how many jobs have been due for so long, and since when the first of them: nobody takes them, or not fast enough.
-- Locks: none.
with due as (
    select j.task_name, count(*) as jobs, min(j.scheduled_at) as since, min(j.id) filter (where j.scheduled_at is null) as first
    from procrastinate_jobs j
    where j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= now())
    group by j.task_name
), waiting as (
    select d.task_name, d.jobs, least(d.since, (
        select min(e.at) from procrastinate_events e where e.job_id = d.first and e.type = 'deferred'
    )) as since
    from due d
)
select w.task_name, w.jobs::integer, extract(epoch from now() - w.since)::float8 as seconds
from waiting w
where w.since < now() - make_interval(secs => %(seconds)s)
order by w.since;
