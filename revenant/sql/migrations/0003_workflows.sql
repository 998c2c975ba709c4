-- Promise: the tables of workflow runs: a run is an append-only stream of events, and one row that says where it stands.
-- Locks: creates new relations only; takes no lock on anything that exists.

-- One row per run id: where its stream stands. Its address is an entity's, of the kind 'run:' and the workflow's name,
-- so that what is sent to a run goes through the same mailbox.
create table revenant.run_heads (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (starts_with(kind, 'run:') and octet_length(kind) between 5 and 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    -- The stream that is current; a run that continues as new begins another.
    run uuid not null check (get_byte(uuid_send(run), 15) = bucket),
    -- The version of the workflow's code.
    version integer not null check (version > 0),
    status text not null check (
        status in ('running', 'waiting', 'parked', 'blocked', 'completed', 'failed', 'cancelled')
    ),
    -- How many events it has; they are numbered from 1 without gaps.
    seq bigint not null check (seq > 0),
    -- The worker that has attempts of it under way; null: whoever comes first may go on with it.
    owner uuid,
    -- How often it got an owner; an append says which one it knows of.
    fence bigint not null check (fence >= 0),
    -- How often a worker died that had attempts of it under way.
    recoveries integer not null default 0 check (recoveries >= 0),
    -- What it was started with, as a hash: another start with the same id is the same one, or is refused.
    digest bytea not null,
    -- The channel on which whoever started it waits for the result.
    origin text check (starts_with(origin, 'revenant_')),
    -- The run that waits for this one, as [kind, key, operation].
    parent json,
    -- What it waits for: [{"op", "type", "name", "since", "due"}, …].
    waits jsonb not null default '[]' check (jsonb_typeof(waits) = 'array'),
    -- What its code shows to whoever asks.
    view json,
    -- Why it is parked or blocked.
    problem text,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    ended_at timestamptz check ((ended_at is not null) = (status in ('completed', 'failed', 'cancelled'))),
    -- When its rows may go; null: never, or not before it has ended.
    expires_at timestamptz,
    primary key (bucket, kind, key),
    check (owner is null or status in ('running', 'waiting', 'parked', 'blocked'))
) with (
    fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
-- To find what a dead worker had under way.
create index run_heads_owner on revenant.run_heads (owner) where owner is not null;
-- For whoever looks at the youngest ones, and for the few that want a person.
-- Led by the time: an index led by the kind would be taken for a way to one run, by a planner that knows no statistics.
create index run_heads_started on revenant.run_heads (started_at, kind);
-- None of what an append changes as a rule is in here, so that it need not touch any index.
create index run_heads_attention on revenant.run_heads (status, ended_at) where status in ('parked', 'blocked', 'failed');
-- Which versions runs still need.
create index run_heads_open on revenant.run_heads (kind, version) where ended_at is null;
create index run_heads_expiry on revenant.run_heads (expires_at) where expires_at is not null;

-- The streams: what happened to a run, in order; never changed, and only removed as a whole.
create table revenant.run_events (
    bucket smallint not null check (bucket between 0 and 255),
    run uuid not null,
    seq bigint not null check (seq > 0),
    type text collate "C" not null check (type <> ''),
    -- The operation of the run's code that it belongs to, in the order in which the code asked for them; null: the run's own.
    op integer check (op > 0),
    at timestamptz not null,
    data jsonb not null check (jsonb_typeof(data) = 'object'),
    primary key (bucket, run, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);

-- How far a long step has come, as it said last; what its next attempt can read.
create table revenant.run_progress (
    bucket smallint not null check (bucket between 0 and 255),
    run uuid not null,
    op integer not null check (op > 0),
    attempt integer not null check (attempt > 0),
    progress json not null,
    at timestamptz not null default now(),
    primary key (bucket, run, op)
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- Steps that processes without the workflow's code take, over SQL or the client, and questions that wait for a person.
create table revenant.run_tasks (
    bucket smallint not null check (bucket between 0 and 255),
    run uuid not null,
    op integer not null check (op > 0),
    kind text collate "C" not null,
    key text collate "C" not null,
    type text not null check (type in ('step', 'approval')),
    name text collate "C" not null check (name <> ''),
    attempt integer not null default 1 check (attempt > 0),
    -- Whom an approval waits for, in lists; who may answer is for the application to decide.
    assignee text,
    input json not null,
    -- What the outside world may know a step by, in each of its attempts.
    idempotency text,
    made_at timestamptz not null default now(),
    due timestamptz,
    -- Who has claimed it; a token is given out once, so one that was taken away is never taken for the one that holds.
    token uuid,
    holder text,
    held_until timestamptz,
    primary key (bucket, run, op),
    check ((token is null) = (held_until is null))
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
create unique index run_tasks_token on revenant.run_tasks (token) where token is not null;
create index run_tasks_steps on revenant.run_tasks (name, made_at) where type = 'step';
create index run_tasks_approvals on revenant.run_tasks (assignee, made_at) where type = 'approval';

-- The last state of a decider's view, so that a long stream is not read from its beginning.
create table revenant.run_snapshots (
    bucket smallint not null check (bucket between 0 and 255),
    run uuid not null,
    -- The events that it covers: what comes after them is read as events.
    seq bigint not null check (seq > 0),
    -- The shape of what follows; code that writes another one reads the events instead.
    format text collate "C" not null check (format <> ''),
    view json not null,
    primary key (bucket, run)
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- What people look at. A run has one row here, under the names that Python has for it.
create view revenant.runs as
select substr(h.kind, 5) as workflow, h.key as id, h.status, h.version, h.seq as events, h.recoveries, h.problem,
    h.waits, h.view, h.owner, h.fence, substr(h.parent ->> 0, 5) as parent_workflow, h.parent ->> 1 as parent_id,
    h.started_at, h.updated_at, h.ended_at, h.expires_at, h.bucket, h.run
from revenant.run_heads h;

-- What runs wait for: a row for each thing.
create view revenant.waiting as
select substr(h.kind, 5) as workflow, h.key as id, (w ->> 'op')::integer as op, w ->> 'type' as type,
    w ->> 'name' as name, (w ->> 'since')::timestamptz as since, (w ->> 'due')::timestamptz as due
from revenant.run_heads h
cross join lateral jsonb_array_elements(h.waits) w
where h.ended_at is null;

-- Runs that do not go on by themselves, or have not for long, and why. A worker that has not said for 8 s that it lives
-- counts as dead.
create view revenant.stuck as
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
)
select substr(f.kind, 5) as workflow, f.key as id, f.reason, f.since, f.status, f.version, f.problem
from found f where f.reason is not null;
