-- Promise: external steps count their claims, and it is known for a day which claims have answered; steps that nobody claims are listed as stuck.
-- Locks: ACCESS EXCLUSIVE on revenant.run_tasks and on the view of stuck runs, for as long as catalogue entries take, and a look at the few rows.

-- How often this attempt was claimed; each claim after the first one means that the one before was lost.
alter table revenant.run_tasks add column claims integer not null default 0 check (claims >= 0);

-- Claims that have ended their step, so that whoever lost the answer to that may say it again.
create table revenant.step_answers (
    bucket smallint not null check (bucket between 0 and 255),
    -- The last byte of a token is its bucket.
    token uuid not null,
    -- What was said, as a hash: something else is refused.
    answer bytea not null,
    at timestamptz not null default now(),
    primary key (bucket, token)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index step_answers_at on revenant.step_answers (at);

-- Runs that do not go on by themselves, or have not for long, and why. A worker that has not said for 8 s that it lives
-- counts as dead.
create or replace view revenant.stuck as
with served as (
    select k.key as kind, v.version::integer as version
    from revenant.workers w
    cross join lateral jsonb_each(w.kinds) k
    cross join lateral jsonb_array_elements_text(k.value -> 'versions') v (version)
    where w.heartbeat_at > clock_timestamp() - make_interval(secs => 8)
), found as (
    select h.kind, h.key, h.status, h.version, h.problem,
        case
            when h.status in ('blocked', 'parked') then h.status
            when not exists (select from served s where s.kind = h.kind) then 'no worker'
            when not exists (select from served s where s.kind = h.kind and s.version = h.version) then 'no version'
            when h.owner is not null and h.updated_at < clock_timestamp() - make_interval(mins => 10) then 'slow'
        end as reason,
        h.updated_at as since
    from revenant.run_heads h where h.ended_at is null
    union all
    select h.kind, h.key, h.status, h.version, e.data -> 'error' ->> 'message', 'failed', h.ended_at
    from revenant.run_heads h
    join revenant.run_events e on e.bucket = h.bucket and e.run = h.run and e.seq = h.seq
    where h.status = 'failed' and h.ended_at > clock_timestamp() - make_interval(days => 1)
    union all
    select m.kind, m.key, 'not begun', null, null, 'no worker', m.sent_at
    from revenant.messages m
    where starts_with(m.kind, 'run:') and m.handler = 'start'
        and not exists (select from served s where s.kind = m.kind)
        and not exists (
            select from revenant.run_heads h where h.bucket = m.bucket and h.kind = m.kind and h.key = m.key
        )
    union all
    select t.kind, t.key, h.status, h.version,
        case
            when t.holder is null then format('Nobody has claimed external step %s.', t.name)
            else format('The claim of external step %s by %s was lost, and nobody has claimed it since.', t.name, t.holder)
        end collate "default",
        'unclaimed', coalesce(t.held_until, t.made_at)
    from revenant.run_tasks t
    join revenant.run_heads h on h.bucket = t.bucket and h.kind = t.kind and h.key = t.key and h.run = t.run
    where t.type = 'step' and h.status in ('running', 'waiting')
        and coalesce(t.held_until, t.made_at) < clock_timestamp() - make_interval(mins => 10)
)
select substr(f.kind, 5) as workflow, f.key as id, f.reason, f.since, f.status, f.version, f.problem
from found f where f.reason is not null;
