-- Promise: removes the jobs of a task about the runs of a range of keys.
-- Locks: those jobs' rows.
delete from procrastinate_jobs
where task_name = %(task)s
    and args->>'claim' collate "C" >= %(first)s
    and args->>'claim' collate "C" < %(end)s;
