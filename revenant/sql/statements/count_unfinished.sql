-- Promise: in one snapshot, what a test still waits for, each sort by its name: messages, what is due, runs under way, unregistered schedules, jobs.
-- Locks: none.
select found.what, found.many
from (values (revenant.now())) as clock (moment)
cross join lateral (
    select 'waiting: ' || m.kind, count(*) from revenant.messages m
    where m.kind = any (%(kinds)s::text[]) group by m.kind
    union all
    select 'due: ' || s.kind, count(*) from revenant.scheduled s
    where s.kind = any (%(kinds)s::text[]) and s.due <= clock.moment group by s.kind
    union all
    select 'under way: ' || h.kind, count(*) from revenant.run_heads h
    where h.kind = any (%(kinds)s::text[]) and h.owner is not null group by h.kind
    union all
    select 'due reminders', count(*) from revenant.reminders r where r.due <= clock.moment
    union all
    select 'due schedules', count(*) from revenant.schedules d
    where d.name = any (%(schedules)s::text[]) and d.due <= clock.moment
    union all
    select 'schedules that no worker has registered', count(*) from unnest(%(schedules)s::text[]) as wanted (name)
    where not exists (select from revenant.schedules d where d.name = wanted.name)
    union all
    select 'jobs', count(*) from procrastinate_jobs j
    where %(jobs)s::boolean and j.status in ('todo', 'doing')
        and (j.scheduled_at is null or j.scheduled_at <= clock_timestamp())
) as found (what, many)
where found.many > 0;
