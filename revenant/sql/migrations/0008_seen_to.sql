-- Promise: what a run could not undo is found when it has ended, until somebody says that it was seen to; workers say what they have in hand.
-- Locks: SHARE on run_heads while the index is built, then ACCESS EXCLUSIVE on it and on workers, for as long as catalogue entries take.

-- Runs that have ended and say why somebody has to look at them: a few.
create index run_heads_left on revenant.run_heads (ended_at) where problem is not null and ended_at is not null;

-- Who has seen to a run that had failed, or left something that was not undone: {"by", "note", "at"}; the first one stands.
alter table revenant.run_heads add column resolved jsonb;
alter table revenant.run_heads add constraint run_heads_resolved_check
    check (resolved is null or (ended_at is not null and jsonb_typeof(resolved) = 'object')) not valid;

-- What a worker has in hand, as it said last: {"attempts", "cells", "waiting": [[kind, key, since], …]}, which wait for a cell.
alter table revenant.workers add column doing jsonb not null default '{}';

create or replace view revenant.runs as
select substr(h.kind, 5) as workflow, h.key as id, h.status, h.version, h.seq as events, h.recoveries, h.problem,
    h.waits, h.view, h.owner, h.fence, substr(h.parent ->> 0, 5) as parent_workflow, h.parent ->> 1 as parent_id,
    h.started_at, h.updated_at, h.ended_at, h.expires_at, h.bucket, h.run, h.resolved
from revenant.run_heads h;

-- Runs that do not go on by themselves, or have not for long, and why; and those that have ended and left something to be
-- seen to. A worker that has not said for 8 s that it lives counts as dead.
create or replace view revenant.stuck as
with alive as (
    select w.kinds, w.doing from revenant.workers w
    where w.heartbeat_at > clock_timestamp() - make_interval(secs => 8)
), served as (
    select k.key as kind, v.version::integer as version
    from alive w
    cross join lateral jsonb_each(w.kinds) k
    cross join lateral jsonb_array_elements_text(k.value -> 'versions') v (version)
), confined as (
    select c.value ->> 0 as kind, c.value ->> 1 as key
    from alive w
    cross join lateral jsonb_array_elements(w.doing -> 'waiting') c
    where (c.value ->> 2)::timestamptz < clock_timestamp() - make_interval(mins => 1)
), found as (
    select h.kind, h.key, h.status, h.version, h.problem,
        case
            when h.status in ('blocked', 'parked') then h.status
            when not exists (select from served s where s.kind = h.kind) then 'no worker'
            when not exists (select from served s where s.kind = h.kind and s.version = h.version) then 'no version'
            when h.owner is not null and exists (select from confined c where c.kind = h.kind and c.key = h.key)
                then 'no cell'
            when h.owner is not null and h.updated_at < clock_timestamp() - make_interval(mins => 10) then 'slow'
        end as reason,
        h.updated_at as since
    from revenant.run_heads h where h.ended_at is null
    union all
    select h.kind, h.key, h.status, h.version, e.data -> 'error' ->> 'message', 'failed', h.ended_at
    from revenant.run_heads h
    join revenant.run_events e on e.bucket = h.bucket and e.run = h.run and e.seq = h.seq
    where h.status = 'failed' and h.ended_at > clock_timestamp() - make_interval(days => 1)
        and h.problem is null and h.resolved is null
    union all
    select h.kind, h.key, h.status, h.version, h.problem, 'not undone', h.ended_at
    from revenant.run_heads h
    where h.problem is not null and h.ended_at is not null and h.resolved is null
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
