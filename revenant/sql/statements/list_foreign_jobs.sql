-- Promise: names the tasks that are none of these and whose jobs are due, with how many there are, at most a hundred of them.
-- Locks: none.
select j.task_name, count(*)::integer as jobs
from procrastinate_jobs j
where j.status = 'todo' and j.task_name <> all (%(tasks)s::text[]) and (j.scheduled_at is null or j.scheduled_at <= now())
group by j.task_name
order by j.task_name
limit 100;
