-- Promise: whether a job is about to run, or runs, that has taken two workers with it, other than these stalled ones.
-- Locks: none.
with suspect as materialized (
    select s.key::bigint as id from revenant.suspects s where s.kind = '' and s.deaths > 1
)
select exists (
    select from suspect
    join procrastinate_jobs j using (id)
    where j.id <> all (%(stalled)s::bigint[])
        and (j.status = 'doing' or (j.status = 'todo' and coalesce(j.scheduled_at <= revenant.now(), true)))
) as found;
