-- Promise: the jobs of a task about the runs of a range of keys: all, how many runs, and how many wait, run, are done.
-- Locks: none.
select
    count(*),
    count(distinct args->>'claim'),
    count(*) filter (where status = 'todo'),
    count(*) filter (where status = 'doing'),
    count(*) filter (where status = 'succeeded')
from procrastinate_jobs
where task_name = %(task)s
    and args->>'claim' collate "C" >= %(first)s
    and args->>'claim' collate "C" < %(end)s;
