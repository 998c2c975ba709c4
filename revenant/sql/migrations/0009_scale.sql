-- Promise: what is scheduled for an entity, and what runs are stuck, is found by look-ups, however much is stored; no table is rewritten.
-- Locks: SHARE on scheduled while its index is built; ACCESS EXCLUSIVE on the view of stuck runs, for as long as a catalogue entry takes.

-- Whether an idle entity still waits for something. Led by the key: an index led by the bucket would be taken for the
-- way to one message.
create index scheduled_address on revenant.scheduled (key, kind);

-- Runs that do not go on by themselves, or have not for long, and why; and those that have ended and left something to be
-- seen to. A worker that has not said for 8 s that it lives counts as dead. By a clock that stands still while a statement
-- runs, or no index of times would be used, and whatever has ever failed was read; and with a look-up for each run that
-- has failed today, or all events were.
create or replace view revenant.stuck as
with alive as (
    select w.kinds, w.doing from revenant.workers w
    where w.heartbeat_at > statement_timestamp() - make_interval(secs => 8)
), served as (
    select k.key as kind, v.version::integer as version
    from alive w
    cross join lateral jsonb_each(w.kinds) k
    cross join lateral jsonb_array_elements_text(k.value -> 'versions') v (version)
), confined as (
    select c.value ->> 0 as kind, c.value ->> 1 as key
    from alive w
    cross join lateral jsonb_array_elements(w.doing -> 'waiting') c
    where (c.value ->> 2)::timestamptz < statement_timestamp() - make_interval(mins => 1)
), found as (
    select h.kind, h.key, h.status, h.version, h.problem,
        case
            when h.status in ('blocked', 'parked') then h.status
            when not exists (select from served s where s.kind = h.kind) then 'no worker'
            when not exists (select from served s where s.kind = h.kind and s.version = h.version) then 'no version'
            when h.owner is not null and exists (select from confined c where c.kind = h.kind and c.key = h.key)
                then 'no cell'
            when h.owner is not null and h.updated_at < statement_timestamp() - make_interval(mins => 10) then 'slow'
        end as reason,
        h.updated_at as since
    from revenant.run_heads h where h.ended_at is null
    union all
    select h.kind, h.key, h.status, h.version, e.message, 'failed', h.ended_at
    from revenant.run_heads h
    cross join lateral (
        select e.data -> 'error' ->> 'message' as message from revenant.run_events e
        where e.bucket = h.bucket and e.run = h.run and e.seq = h.seq
        limit 1
    ) e
    where h.status = 'failed' and h.ended_at > statement_timestamp() - make_interval(days => 1)
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
        and coalesce(t.held_until, t.made_at) < statement_timestamp() - make_interval(mins => 10)
)
select substr(f.kind, 5) as workflow, f.key as id, f.reason, f.since, f.status, f.version, f.problem
from found f where f.reason is not null;
