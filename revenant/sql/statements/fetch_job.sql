-- Promise: gives this worker the next job that is due and whose task it has, by the rules of procrastinate_fetch_job_v2, which asks for no task; no row if there is none.
-- Locks: that job's row, SKIP LOCKED.
with candidate as (
    select j.id
    from procrastinate_jobs j
    where j.status = 'todo'
        and j.task_name = any (%(tasks)s::text[])
        and (%(queues)s::text[] is null or j.queue_name = any (%(queues)s::text[]))
        and (j.scheduled_at is null or j.scheduled_at <= now())
        -- Jobs of one lock run one at a time, in order: also behind those whose task is another worker's.
        and not exists (
            select from procrastinate_jobs o
            where o.lock = j.lock
                and (
                    o.status = 'doing'
                    or (o.status = 'todo' and (o.priority > j.priority or (o.priority = j.priority and o.id < j.id)))
                )
        )
    order by j.priority desc, j.id
    limit 1
    for update of j skip locked
)
update procrastinate_jobs j
set status = 'doing', worker_id = %(worker)s
from candidate
where j.id = candidate.id
returning j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.queue_name,
    j.attempts, j.worker_id;
