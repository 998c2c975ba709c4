-- Promise: the whole schema `revenant` at migration 10, to read and for tools.
-- Locks: creates new relations only. Written by scripts/schema: edit migrations/ and functions/ instead.

begin;
set local check_function_bodies = off;

do $$
begin
    if to_regnamespace('revenant') is null then
        create schema revenant;
    end if;
    if to_regclass('revenant.migrations') is null then
        create table revenant.migrations (
            number          integer primary key check (number >= 0),
            name            text not null,
            checksum        text not null,
            compatible_from integer not null check (compatible_from >= 0),
            applied_at      timestamptz not null default now()
        );
        comment on table revenant.migrations is
            'What was applied to this schema. Number 0 is the set of functions, which is refreshed in place.';
    end if;
end
$$;

-- 0001_mailbox.sql
-- Promise: the tables of the mailbox and the entities; every key begins with its bucket, invariants are CHECKs.
-- Locks: creates new relations only; takes no lock on anything that exists.

-- One row per entity that has state. The row's lock is what "one at a time" rests on.
create table revenant.entities (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    version bigint not null check (version > 0),
    vsn integer not null check (vsn > 0),
    state jsonb not null,
    -- Where reading starts: a mailbox number that was consumed at least two seconds ago. It lags because numbers are
    -- given at insert and seen at commit: a cast that is being flushed must not be passed by its sender's next message.
    applied bigint not null,
    -- The highest number consumed when it was last moved, and that moment: the next value of `applied`.
    recent bigint not null default 0,
    recent_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (bucket, kind, key)
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- The mailbox: messages that wait. A row leaves only in the commit that contains its effects.
create table revenant.messages (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    seq bigint generated always as identity,
    -- The last byte of every id is its bucket, so that an id alone finds its reply.
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    handler text not null check (handler <> ''),
    args json not null,
    -- The channel on which somebody waits for the reply; null: a cast.
    origin text check (starts_with(origin, 'revenant_')),
    -- What an idempotency key stands for (a hash of handler and arguments); null: sent without one.
    digest bytea,
    attempts smallint not null default 0 check (attempts >= 0),
    sent_at timestamptz not null default now(),
    primary key (bucket, kind, key, seq)
) with (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- Replies that nobody has read yet, and the receipts of idempotency keys.
create table revenant.replies (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    status text not null check (status in ('ok', 'error')),
    version bigint not null check (version >= 0),
    body json not null,
    digest bytea,
    expires_at timestamptz not null,
    primary key (bucket, id)
) with (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

-- Messages that are not due yet: retries of failed casts, and casts sent with after= or at=.
create table revenant.scheduled (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    due timestamptz not null,
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    handler text not null check (handler <> ''),
    args json not null,
    digest bytea,
    attempts smallint not null default 0 check (attempts >= 0),
    sent_at timestamptz not null default now(),
    primary key (bucket, id)
);
create index scheduled_due on revenant.scheduled (due);

-- Casts that failed for the last time, kept for a person to look at.
create table revenant.dead (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null check (get_byte(uuid_send(id), 15) = bucket),
    kind text collate "C" not null,
    key text collate "C" not null,
    handler text not null,
    args json not null,
    digest bytea,
    attempts smallint not null check (attempts > 0),
    error json not null,
    sent_at timestamptz not null,
    died_at timestamptz not null default now(),
    primary key (bucket, id)
);

-- One row per batch that a client has sent: a retry of the same batch finds it, or waits for it.
create table revenant.sends (
    id uuid primary key,
    sent_at timestamptz not null default now()
);

-- One row per live worker process; `kinds` is {kind: {"vsn": n, "handlers": [name, ...]}}.
create table revenant.workers (
    id uuid primary key,
    host text not null,
    pid integer not null check (pid > 0),
    kinds jsonb not null check (jsonb_typeof(kinds) = 'object'),
    lanes integer not null check (lanes > 0),
    jobs integer not null check (jobs >= 0),
    draining boolean not null default false,
    -- The connection that writes the heartbeat: when its backend is gone, so is the worker.
    backend_pid integer not null,
    backend_start timestamptz not null,
    turns bigint not null default 0 check (turns >= 0),
    messages bigint not null default 0 check (messages >= 0),
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
) with (fillfactor = 50);

insert into revenant.migrations (number, name, checksum, compatible_from)
values (1, 'mailbox', 'd694416cdc63b196d99cd15ce5b85c7512ec1afa1e22d3d2ad8ecfd82712dff5', 1);

-- 0002_complete_entities.sql
-- Promise: what makes entities complete: each section says which tables and columns it adds; no table is rewritten.
-- Locks: ACCESS EXCLUSIVE on the tables whose columns it adds, for as long as a catalogue entry takes.

-- Time: reminders, schedules, and when an entity was last sent to.

-- When a message last reached the entity without changing it; noted coarsely, and only for kinds that expire.
alter table revenant.entities add column touched_at timestamptz;

-- Named reminders of entities: each fires a message when due, and gets its next due time in the same step.
create table revenant.reminders (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    name text collate "C" not null check (name <> '' and octet_length(name) <= 128),
    due timestamptz not null,
    -- Seconds between two; null with cron, and for one that fires once.
    every double precision check (every >= 1),
    cron text check (cron <> ''),
    timezone text not null check (timezone <> ''),
    missed text not null check (missed in ('skip', 'once', 'all')),
    -- Whom it sends which message: as a rule the entity itself.
    to_bucket smallint not null check (to_bucket between 0 and 255),
    to_kind text collate "C" not null check (to_kind <> '' and octet_length(to_kind) <= 128),
    to_key text collate "C" not null check (to_key <> '' and octet_length(to_key) <= 512),
    handler text not null check (handler <> ''),
    args json not null,
    set_at timestamptz not null default now(),
    fired_at timestamptz,
    primary key (bucket, kind, key, name),
    check (every is null or cron is null)
) with (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
create index reminders_due on revenant.reminders (due);

-- Schedules of applications: one row per name, with the definition that is current.
create table revenant.schedules (
    name text collate "C" not null check (name <> '' and octet_length(name) <= 128),
    -- What the definition is known by: a hash of all that it says.
    digest bytea not null,
    due timestamptz not null,
    every double precision check (every >= 1),
    cron text check (cron <> ''),
    timezone text not null check (timezone <> ''),
    missed text not null check (missed in ('skip', 'once', 'all')),
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    handler text not null check (handler <> ''),
    args json not null,
    -- Definitions that were current before: an old worker that is started again does not bring them back.
    former bytea[] not null default '{}',
    since timestamptz not null,
    -- When a worker that has this definition last said so.
    seen_at timestamptz not null,
    fired_at timestamptz,
    primary key (name),
    check ((every is null) <> (cron is null))
);

-- Seeing: messages that may have killed their workers, and the traces that messages belong to.

-- Messages handled while workers are cautious: noted before the handler runs, and gone with its commit. One that is
-- still here, of a worker that is dead, was being handled when it died.
create table revenant.suspects (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null,
    kind text collate "C" not null,
    key text collate "C" not null,
    seq bigint not null,
    worker uuid not null,
    deaths integer not null default 0 check (deaths >= 0),
    noted_at timestamptz not null default now(),
    primary key (bucket, id)
);

-- Which trace a message belongs to (W3C trace context); only of messages whose senders trace.
create table revenant.traces (
    bucket smallint not null check (bucket between 0 and 255),
    id uuid not null,
    traceparent text not null check (octet_length(traceparent) <= 128),
    sent_at timestamptz not null default now(),
    primary key (bucket, id)
);

-- Residence: which worker keeps a relaxed entity in memory, and by which fence.

-- The owner lives while its heartbeat and its connection do (alive_v1); there is no lease per entity. A fence is given
-- out once, so a row that came back is never taken for the one that went.
create table revenant.residents (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    owner uuid not null,
    fence bigint generated always as identity,
    since timestamptz not null default now(),
    primary key (bucket, kind, key)
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
-- To find what a dead worker owned.
create index residents_owner on revenant.residents (owner);

-- History: each version of an entity with the message that made it, for the kinds that keep one.

-- A partition a day, made ahead and dropped as a whole by keep_history_v1. Each stands alone: the first change of an
-- entity in it is preceded by the state as it was before (without a message).
create table revenant.history (
    bucket smallint not null check (bucket between 0 and 255),
    kind text collate "C" not null check (kind <> '' and octet_length(kind) <= 128),
    key text collate "C" not null check (key <> '' and octet_length(key) <= 512),
    at timestamptz not null,
    -- The message's number; 0: the state as it was before the day's first change.
    seq bigint not null check (seq >= 0),
    -- 0: the entity was deleted.
    version bigint not null check (version >= 0),
    vsn integer not null check (vsn > 0),
    state jsonb check ((state is null) = (version = 0)),
    message uuid check ((message is null) = (seq = 0)),
    handler text check ((handler is null) = (seq = 0)),
    primary key (bucket, kind, key, at, seq)
) partition by range (at);

-- What comes when its day has no partition yet: it is moved into one as soon as somebody makes it.
create table revenant.history_rest partition of revenant.history default;

-- How long the history of a kind is kept, as the last worker to start has said.
create table revenant.history_kinds (
    kind text collate "C" primary key check (kind <> '' and octet_length(kind) <= 128),
    keep interval not null check (keep > make_interval(secs => 0))
);

insert into revenant.migrations (number, name, checksum, compatible_from)
values (2, 'complete_entities', 'eb49777f577ba3c98ffc0f68e5726f73516a105f98a7ec0d1e115892efeeb5e2', 1);

-- 0003_workflows.sql
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

insert into revenant.migrations (number, name, checksum, compatible_from)
values (3, 'workflows', '12b8b1bc3d5e8537568c2bb5002d749305bd3bb06779f1fcd2819609d4cf028a', 1);

-- 0004_notes.sql
-- Promise: what cautious workers have in hand: a row for each turn that runs, found by the others when its worker has died.
-- Locks: creates a new relation only; takes no lock on anything that exists.

-- Unlogged: it has to outlive a worker, not the server, and costs no WAL.
create unlogged table revenant.notes (
    worker uuid not null,
    -- Which connection of the worker runs the turn: it has one turn at a time.
    lane text not null,
    -- The connection that wrote the note: when its backend is gone, so is the worker.
    backend_pid integer not null,
    backend_start timestamptz not null,
    -- An element for each entity of the turn: its messages from the first to the last number.
    buckets smallint[] not null,
    kinds text[] collate "C" not null,
    keys text[] collate "C" not null,
    firsts bigint[] not null,
    lasts bigint[] not null,
    noted_at timestamptz not null default now(),
    primary key (worker, lane),
    check (cardinality(buckets) = cardinality(kinds) and cardinality(buckets) = cardinality(keys)),
    check (cardinality(buckets) = cardinality(firsts) and cardinality(buckets) = cardinality(lasts))
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

insert into revenant.migrations (number, name, checksum, compatible_from)
values (4, 'notes', '9821047d0f2cd45d2a4c876060d1d7547a2838d6e79fb1f831cf0599917b50de', 1);

-- 0005_runs_by_workflow.sql
-- Promise: runs are listed by an index that no planner can take for the way to one run; no table is rewritten.
-- Locks: SHARE on run_heads while the index is built, then ACCESS EXCLUSIVE for as long as a catalogue entry takes.

-- Of bucket, kind and key no other index but the primary key has any, or a plan that was made while there were few runs
-- goes through the whole of it for each run. So this one is led by what people call a workflow, which is not kind itself.
create index run_heads_workflow on revenant.run_heads (substr(kind, 5), started_at);
drop index revenant.run_heads_started;

insert into revenant.migrations (number, name, checksum, compatible_from)
values (5, 'runs_by_workflow', 'a07018425f7fc2dffd9f96146b1ecbfb11ac656664e0debb2a68a58066e9813b', 1);

-- 0006_external_steps.sql
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

insert into revenant.migrations (number, name, checksum, compatible_from)
values (6, 'external_steps', '96eb52e1c44ede3149568e996fbc4ff2574e93fdff53e2ed007f19f9a39f7ec5', 1);

-- 0007_run_notes.sql
-- Promise: which runs' code workers are about to run after a death: a row for each, found by the others when its worker has died.
-- Locks: creates a new relation only; takes no lock on anything that exists.

-- Unlogged: it has to outlive a worker, not the server, and costs no WAL.
create unlogged table revenant.run_notes (
    bucket smallint not null,
    kind text collate "C" not null,
    key text collate "C" not null,
    worker uuid not null,
    -- The connection that wrote the note: when its backend is gone, so is the worker, as far as anybody can tell.
    backend_pid integer not null,
    backend_start timestamptz not null,
    -- How many workers have died so, with whatever else they had in hand; with one, its code is tried in a cell first.
    deaths integer not null default 0 check (deaths >= 0),
    noted_at timestamptz not null default now(),
    primary key (bucket, kind, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

insert into revenant.migrations (number, name, checksum, compatible_from)
values (7, 'run_notes', '5bc16bc4174221bb208c28bfe4623921f79021fc447db5a9b15d2b0c49941f50', 1);

-- 0008_seen_to.sql
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

insert into revenant.migrations (number, name, checksum, compatible_from)
values (8, 'seen_to', '8e1df8d4b04b661ea4e1ea3be0495a2f299afb3b8540edac3fe7dce798c39e32', 1);

-- 0009_scale.sql
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

insert into revenant.migrations (number, name, checksum, compatible_from)
values (9, 'scale', '04647bab212f79d9076b91541dd3e33fa135bad2000dbc7dd238f799ce635305', 1);

-- 0010_reminders_by_kind.sql
-- Promise: a worker finds the reminders that are due by the kinds that it serves; those of others cost it nothing. No table is rewritten.
-- Locks: SHARE on reminders while the index is built, then ACCESS EXCLUSIVE for as long as a catalogue entry takes.

-- By whom they go to: their messages wait there. A worker of before this finds what is due without an index, until it is replaced.
create index reminders_due_by_kind on revenant.reminders (to_kind, due);
drop index revenant.reminders_due;

insert into revenant.migrations (number, name, checksum, compatible_from)
values (10, 'reminders_by_kind', '0063e408501dd705a271269628ab71d3597450af3679fb26fb16ee142d9e720c', 1);

-- Promise: whether a worker lives: its heartbeat is under 8 s old, and the backend that wrote it is there.
-- Locks: none.
create or replace function revenant.alive_v1(worker uuid) returns boolean language plpgsql volatile as $$
begin
    return exists (
        select from revenant.workers w
        where w.id = worker and w.heartbeat_at > now() - make_interval(secs => 8)
            and exists (
                -- Another role's start time is hidden (null): then the pid alone has to do.
                select from pg_stat_get_activity(w.backend_pid) a
                where coalesce(a.backend_start, w.backend_start) = w.backend_start
            )
    );
end
$$;

-- Promise: as answer_v1, for one entity and one notification; returns whether this worker still owns it.
-- Locks: those of answer_v1.
create or replace function revenant.answer_one_v1(
    worker uuid, bucket smallint, kind text, key text, fence bigint, channel text, payload text
) returns boolean language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    if (
        select r.owner = answer_one_v1.worker and r.fence = answer_one_v1.fence from revenant.residents r
        where r.bucket = answer_one_v1.bucket and r.kind = answer_one_v1.kind and r.key = answer_one_v1.key
        limit 1
    ) is not true then
        return false;
    end if;
    perform pg_notify(channel, payload);
    return true;
end
$$;

-- Promise: wakes the callers if this worker still owns all the named entities; else returns the slots that it has lost, and wakes nobody.
-- Locks: the instance-wide NOTIFY lock, for microseconds; nothing is written.
create or replace function revenant.answer_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], channels text[], payloads text[]
) returns setof integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    return query
    select h.slot::integer
    from unnest(buckets, kinds, keys, fences) with ordinality as h (bucket, kind, key, fence, slot)
    where (
        select r.owner = worker and r.fence = h.fence from revenant.residents r
        where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
        limit 1
    ) is not true;
    if not found then
        perform pg_notify(w.channel, w.payload) from unnest(channels, payloads) as w (channel, payload);
    end if;
end
$$;

-- Promise: appends events to the streams of runs, each fenced by the events and the fence that its writer knows; or raises RV001 and writes nothing.
-- Locks: the heads' rows, in the order given, which is key order.
create or replace function revenant.append_runs_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], runs uuid[], streams uuid[],
    expected bigint[], seqs bigint[], fences bigint[], takes boolean[], owned boolean[],
    versions integer[], statuses text[], recoveries integer[], digests bytea[], origins text[], parents text[],
    waits text[], views text[], problems text[], keeps double precision[],
    slots integer[], event_seqs bigint[], types text[], ops integer[], ats timestamptz[], datas text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    written integer := 0;
    step integer;
    missing text;
begin
    update revenant.run_heads h
    set run = w.stream, seq = w.seq, fence = w.fence + w.take::integer, owner = case when w.owned then worker end,
        version = w.version, status = w.status, recoveries = w.recoveries,
        waits = coalesce(w.waits::jsonb, h.waits), view = coalesce(w.view::json, h.view), problem = w.problem,
        updated_at = moment,
        ended_at = case when w.status in ('completed', 'failed', 'cancelled') then moment end,
        expires_at = case
            when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep)
        end
    from unnest(
        buckets, kinds, keys, runs, streams, expected, seqs, fences, takes, owned, versions, statuses,
        append_runs_v1.recoveries, append_runs_v1.waits, views, problems, keeps
    ) as w (
        bucket, kind, key, run, stream, expected, seq, fence, take, owned, version, status,
        recoveries, waits, view, problem, keep
    )
    where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key and w.expected > 0
        and h.run = w.run and h.seq = w.expected and h.fence = w.fence;
    get diagnostics written = row_count;
    if written < cardinality(keys) then
        insert into revenant.run_heads (
            bucket, kind, key, run, version, status, seq, owner, fence, recoveries, digest, origin, parent,
            waits, view, problem, started_at, updated_at, ended_at, expires_at
        )
        select w.bucket, w.kind, w.key, w.stream, w.version, w.status, w.seq, case when w.owned then worker end,
            w.fence + w.take::integer, w.recoveries, w.digest, w.origin, w.parent::json,
            coalesce(w.waits::jsonb, '[]'), w.view::json, w.problem, moment, moment,
            case when w.status in ('completed', 'failed', 'cancelled') then moment end,
            case when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep) end
        from unnest(
            buckets, kinds, keys, streams, expected, seqs, fences, takes, owned, versions, statuses,
            append_runs_v1.recoveries, digests, origins, parents, append_runs_v1.waits, views, problems, keeps
        ) as w (
            bucket, kind, key, stream, expected, seq, fence, take, owned, version, status,
            recoveries, digest, origin, parent, waits, view, problem, keep
        )
        where w.expected = 0
        on conflict do nothing;
        get diagnostics step = row_count;
        written := written + step;
    end if;
    if written < cardinality(keys) then
        -- Those whose row this transaction has not written are the ones that somebody else has.
        select string_agg(w.slot::text, ',') into missing
        from unnest(buckets, kinds, keys) with ordinality as w (bucket, kind, key, slot)
        where not exists (
            select from revenant.run_heads h
            where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key
                and h.xmin = pg_current_xact_id()::xid
        );
        raise exception 'the streams of % runs are not as they were read', cardinality(keys) - written
            using errcode = 'RV001', detail = coalesce(missing, '');
    end if;
    insert into revenant.run_events (bucket, run, seq, type, op, at, data)
    select buckets[e.slot], streams[e.slot], e.seq, e.type, e.op, e.at, e.data::jsonb
    from unnest(slots, event_seqs, types, ops, ats, datas) as e (slot, seq, type, op, at, data);
end
$$;

-- Promise: appends events to the streams of runs, each fenced by the events and the fence that its writer knows; or raises RV001 and writes nothing.
-- Locks: the heads' rows, in the order given, which is key order.
create or replace function revenant.append_runs_v2(
    worker uuid, buckets smallint[], kinds text[], keys text[], runs uuid[], streams uuid[],
    expected bigint[], seqs bigint[], fences bigint[], takes boolean[], owned boolean[],
    versions integer[], statuses text[], recoveries integer[], digests bytea[], origins text[], parents text[],
    waits text[], views text[], problems text[], keeps double precision[],
    slots integer[], event_seqs bigint[], types text[], ops integer[], ats timestamptz[], datas text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    written bigint[];
    begun uuid[];
    missing text[];
begin
    -- Each row is looked up by itself, behind a limit, and reached by its ctid: a join over the key would be planned by
    -- how many runs there were at the session's first append, and may go through all of them. A statement for each run
    -- would be dearer still: it prepares the table's many checks anew.
    with changed as (
        update revenant.run_heads h
        set run = w.stream, seq = w.seq, fence = w.fence + w.take::integer, owner = case when w.owned then worker end,
            version = w.version, status = w.status, recoveries = w.recoveries,
            waits = coalesce(w.waits::jsonb, h.waits), view = coalesce(w.view::json, h.view), problem = w.problem,
            updated_at = moment,
            ended_at = case when w.status in ('completed', 'failed', 'cancelled') then moment end,
            expires_at = case
                when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep)
            end
        from (
            select w.*, r.tid
            from unnest(
                buckets, kinds, keys, runs, streams, expected, seqs, fences, takes, owned, versions, statuses,
                append_runs_v2.recoveries, append_runs_v2.waits, views, problems, keeps
            ) with ordinality as w (
                bucket, kind, key, run, stream, expected, seq, fence, take, owned, version, status,
                recoveries, waits, view, problem, keep, slot
            )
            cross join lateral (
                select r.ctid as tid from revenant.run_heads r
                where r.bucket = w.bucket and r.kind = w.kind and r.key = w.key
                limit 1
            ) r
            where w.expected > 0
        ) w
        where h.ctid = w.tid and h.run = w.run and h.seq = w.expected and h.fence = w.fence
        returning w.slot
    )
    select coalesce(array_agg(c.slot), '{}') into written from changed c;
    if cardinality(written) < cardinality(keys) then
        with added as (
            insert into revenant.run_heads (
                bucket, kind, key, run, version, status, seq, owner, fence, recoveries, digest, origin, parent,
                waits, view, problem, started_at, updated_at, ended_at, expires_at
            )
            select w.bucket, w.kind, w.key, w.stream, w.version, w.status, w.seq, case when w.owned then worker end,
                w.fence + w.take::integer, w.recoveries, w.digest, w.origin, w.parent::json,
                coalesce(w.waits::jsonb, '[]'), w.view::json, w.problem, moment, moment,
                case when w.status in ('completed', 'failed', 'cancelled') then moment end,
                case
                    when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep)
                end
            from unnest(
                buckets, kinds, keys, streams, expected, seqs, fences, takes, owned, versions, statuses,
                append_runs_v2.recoveries, digests, origins, parents, append_runs_v2.waits, views, problems, keeps
            ) as w (
                bucket, kind, key, stream, expected, seq, fence, take, owned, version, status,
                recoveries, digest, origin, parent, waits, view, problem, keep
            )
            where w.expected = 0
            on conflict do nothing
            returning run
        )
        select coalesce(array_agg(a.run), '{}') into begun from added a;
        if cardinality(written) + cardinality(begun) < cardinality(keys) then
            select array_agg(w.slot) into missing
            from unnest(streams, expected) with ordinality as w (stream, expected, slot)
            where case when w.expected = 0 then w.stream <> all (begun) else w.slot <> all (written) end;
            raise exception 'the streams of % runs are not as they were read', cardinality(missing)
                using errcode = 'RV001', detail = array_to_string(missing, ',');
        end if;
    end if;
    insert into revenant.run_events (bucket, run, seq, type, op, at, data)
    select buckets[e.slot], streams[e.slot], e.seq, e.type, e.op, e.at, e.data::jsonb
    from unnest(slots, event_seqs, types, ops, ats, datas) as e (slot, seq, type, op, at, data);
end
$$;

-- Promise: the bucket of an entity, 0 to 255, fixed for ever: the first byte of sha256('kind/key').
-- Locks: none.
create or replace function revenant.bucket_v1(kind text, key text) returns smallint
language sql immutable strict parallel safe as $$
    select get_byte(sha256(convert_to(kind || '/' || key, 'UTF8')), 0)::smallint
$$;

-- Promise: keeps casts that failed for the last time as dead letters.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.bury_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], errors text[]
) returns void language sql volatile as $$
    insert into revenant.dead (bucket, kind, key, id, handler, args, digest, attempts, error, sent_at)
    select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts, m.error::json, now()
    from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, errors)
        as m (bucket, kind, key, id, handler, args, digest, attempts, error)
    on conflict (bucket, id) do update set error = excluded.error, attempts = excluded.attempts, died_at = now()
$$;

-- Promise: sends a message whose reply is kept for a while, and returns its id, for `revenant.reply`: if and only if you commit.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.call(kind text, key text, handler text, args json default '{}')
returns uuid language plpgsql volatile as $$
declare
    bucket smallint := revenant.check_address_v1(kind, key, handler, args);
    id uuid := encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid;
begin
    perform pg_notify('revenant_wake', w.hint)
    from revenant.send_v1(
        array[bucket], array[kind], array[key], array[id], array[handler], array[args::text],
        -- A channel on which nobody listens: it says that a reply is wanted.
        array['revenant_sql'], array[null]::bytea[]
    ) as w (hint);
    return id;
end
$$;

-- Promise: has a run end from plain SQL or a trigger, if and only if you commit, as run.cancel does.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.cancel_run(workflow text, id text, reason text default null)
returns uuid language plpgsql volatile as $$
begin
    perform revenant.check_run_v1(workflow, cancel_run.id);
    return revenant.cast('run:' || workflow, cancel_run.id, 'cancel', json_build_object('reason', reason));
end
$$;

-- Promise: takes messages that are not due yet out of the schedule; returns the ids of those that were still there.
-- Locks: the scheduled rows, in the order of their ids.
create or replace function revenant.cancel_v1(ids uuid[]) returns setof uuid language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted uuid;
begin
    for wanted in select distinct w.id from unnest(ids) as w (id) order by w.id loop
        delete from revenant.scheduled s
        where s.bucket = get_byte(uuid_send(wanted), 15)::smallint and s.id = wanted;
        if found then
            return next wanted;
        end if;
    end loop;
end
$$;

-- Promise: sends a message from plain SQL or a trigger: it exists, and workers hear of it, if and only if you commit.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.cast(kind text, key text, handler text, args json default '{}')
returns uuid language plpgsql volatile as $$
declare
    bucket smallint := revenant.check_address_v1(kind, key, handler, args);
    id uuid := encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid;
begin
    perform pg_notify('revenant_wake', 'cast' || w.hint)
    from revenant.send_v1(
        array[bucket], array[kind], array[key], array[id], array[handler], array[args::text],
        array[null]::text[], array[null]::bytea[]
    ) as w (hint);
    return id;
end
$$;

-- Promise: the bucket of an address to which something can be sent; raises 22023, which says what is wrong with it and what to do.
-- Locks: none.
create or replace function revenant.check_address_v1(kind text, key text, handler text, args json) returns smallint
language plpgsql immutable as $$
begin
    if (octet_length(kind) between 1 and 128) is not true then
        raise exception 'a kind is text of 1 to 128 bytes, and % is none; nothing was sent', quote_nullable(left(kind, 40))
            using errcode = '22023', hint = 'Name the kind of the entity, as in revenant.cast(''Account'', ''acct_42'', ''deposit'').';
    elsif (octet_length(key) between 1 and 512) is not true then
        raise exception 'a key is text of 1 to 512 bytes, and % is none; nothing was sent', quote_nullable(left(key, 40))
            using errcode = '22023', hint = 'Give each entity a key; of a longer text, take a hash.';
    elsif (handler <> '') is not true then
        raise exception 'a message to %(%) needs a handler, and % is none; nothing was sent',
            kind, quote_literal(left(key, 40)), quote_nullable(handler)
            using errcode = '22023', hint = 'Name the handler that is to take it.';
    elsif args is null then
        raise exception 'the arguments of % are null; nothing was sent', quote_literal(left(handler, 40))
            using errcode = '22023', hint = 'Send a JSON object of them by name, or an array; leave it out where there are none.';
    end if;
    return revenant.bucket_v1(kind, key);
end
$$;

-- Promise: returns where a history can hold that result of a step, and read it again; else raises 22023, which says why.
-- Locks: none.
create or replace function revenant.check_result_v1(result jsonb, written text) returns void language plpgsql immutable as $$
begin
    -- A cheap look at the text first: only what is long is walked.
    if octet_length(written) < 255 then
        return;
    elsif result @? 'strict $.**{150}' then
        raise exception 'the result is nested deeper than 150 levels; nothing was changed, and the claim holds'
            using errcode = '22023', hint = 'Return it flatter, or as text.';
    elsif written ~ '[0-9]{255}'
        and result @? 'strict $.** ? (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)'
    then
        raise exception 'the result holds a number over 1.8e308; nothing was changed, and the claim holds'
            using errcode = '22023', hint = 'Return it as text.';
    end if;
end
$$;

-- Promise: returns where there can be a run of that workflow and id; else raises 22023, which says what is wrong and what to do.
-- Locks: none.
create or replace function revenant.check_run_v1(workflow text, id text) returns void language plpgsql immutable as $$
begin
    if (octet_length(workflow) between 1 and 124) is not true then
        raise exception 'the name of a workflow is text of 1 to 124 bytes, and % is none; nothing was sent',
            quote_nullable(left(workflow, 40))
            using errcode = '22023', hint = 'Name the workflow, as `revenant run ls` shows it.';
    elsif (octet_length(id) between 1 and 512) is not true then
        raise exception 'the id of a run is text of 1 to 512 bytes, and % is none; nothing was sent', quote_nullable(left(id, 40))
            using errcode = '22023', hint = 'Give each run an id of its own; of a longer text, take a hash.';
    end if;
end
$$;

-- Promise: returns the calls, without the casts between them, that wait for one entity from a number on, in order.
-- Locks: none; the entity is one that claim_v1 has locked.
create or replace function revenant.claim_calls_v1(
    bucket smallint, kind text, key text, since bigint, message_limit integer, byte_limit bigint
) returns table (
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    message record;
    bytes bigint := 0;
begin
    for message in
        select m.seq, m.ctid::text as message_tid, m.id::text as id, m.handler, m.args::text as args, m.origin,
            m.digest, m.attempts, r.status, r.version, r.body::text as body, r.digest as done_digest
        from (
            select m.ctid, m.*
            from revenant.messages m
            where m.bucket = claim_calls_v1.bucket and m.kind = claim_calls_v1.kind and m.key = claim_calls_v1.key
                and m.seq >= since and m.origin is not null
            order by m.seq
            limit message_limit
        ) m
        left join lateral (
            select r.status, r.version, r.body, r.digest from revenant.replies r
            where r.bucket = m.bucket and r.id = m.id and m.digest is not null
            limit 1
        ) r on true
        order by m.seq
    loop
        seq := message.seq; message_tid := message.message_tid; id := message.id; handler := message.handler;
        args := message.args; origin := message.origin; digest := message.digest; attempts := message.attempts;
        done_status := message.status; done_version := message.version; done_body := message.body;
        done_digest := message.done_digest;
        return next;
        bytes := bytes + octet_length(args);
        exit when bytes >= byte_limit;
    end loop;
end
$$;

-- Promise: as claim_v2, for one entity, by look-ups that need no arrays; each message comes with the transaction and the clock.
-- Locks: the entity's row FOR NO KEY UPDATE, SKIP LOCKED; without a row, an advisory lock. It never waits.
create or replace function revenant.claim_one_v1(
    bucket smallint, kind text, key text, since bigint, vsn_limit integer, known_version bigint, known_writer bigint,
    message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea, writer bigint, is_known boolean,
    xid text, moment timestamptz
) language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    mark bigint;
    ours boolean;
    taken integer := 0;
    bytes bigint := 0;
begin
    slot := 1;
    -- The row as it is once it is locked, whatever the snapshot says; a version alone comes again after a deletion.
    select e.ctid::text, e.version, e.vsn, least(e.applied, since), e.xmin::text::bigint,
        (e.version = known_version and e.xmin::text::bigint = known_writer) is true
    into tid, version, vsn, mark, writer, is_known
    from revenant.entities e
    where e.bucket = claim_one_v1.bucket and e.kind = claim_one_v1.kind and e.key = claim_one_v1.key
    for no key update skip locked;
    if not found then
        select 0, 0, 0, false into mark, version, writer, is_known;
        -- Without a row that could be locked: another turn has it, or there is none yet, or nothing to do.
        if not exists (
            select from revenant.entities e
            where e.bucket = claim_one_v1.bucket and e.kind = claim_one_v1.kind and e.key = claim_one_v1.key
        ) then
            if not exists (
                select from revenant.messages m
                where m.bucket = claim_one_v1.bucket and m.kind = claim_one_v1.kind and m.key = claim_one_v1.key
            ) then
                return;
            end if;
            -- It may be ours only because its last holder has just committed the row: look again.
            ours := pg_try_advisory_xact_lock(hashtextextended(kind || '/' || key, 7)) and not exists (
                select from revenant.entities e
                where e.bucket = claim_one_v1.bucket and e.kind = claim_one_v1.kind and e.key = claim_one_v1.key
            );
        end if;
        if ours is not true then
            outcome := 'locked';
            return next;
            return;
        end if;
    elsif vsn > vsn_limit then
        outcome := 'newer';
        return next;
        return;
    elsif not is_known then
        select e.state::text into state from revenant.entities e where e.ctid = claim_one_v1.tid::tid;
        bytes := octet_length(state);
    end if;

    outcome := 'claimed'; xid := pg_current_xact_id()::text; moment := revenant.now();
    -- In a snapshot of its own, so that nothing consumed by the last holder is seen.
    for seq, message_tid, id, handler, args, origin, digest, attempts in
        select m.seq, m.ctid::text, m.id::text, m.handler, m.args::text, m.origin, m.digest, m.attempts
        from revenant.messages m
        where m.bucket = claim_one_v1.bucket and m.kind = claim_one_v1.kind and m.key = claim_one_v1.key
            and m.seq > mark
        order by m.seq
        limit message_limit + 1
    loop
        if taken = message_limit or (taken > 0 and bytes >= byte_limit) then
            outcome := 'later';
            return next;
            return;
        end if;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = claim_one_v1.bucket and r.id = claim_one_v1.id::uuid;
        end if;
        taken := taken + 1; bytes := bytes + octet_length(args);
        return next;
        state := null;
    end loop;
end
$$;

-- Promise: gives one external step of that name to the holder for so many seconds: the longest waiting one that nobody holds; no row if there is none. An attempt whose claims were lost five times has failed instead.
-- Locks: the rows of the steps that it looks at, which nobody waits for; where an attempt has failed, the instance-wide NOTIFY lock during your commit.
create or replace function revenant.claim_step(name text, holder text, seconds double precision default 30)
returns table (
    token uuid, workflow text, run_id text, attempt integer, idempotency_key text, args json, held_until timestamptz
) language plpgsql volatile as $$
#variable_conflict use_column
declare
    most constant integer := 5;
    task revenant.run_tasks;
    span constant interval := revenant.hold_time_v1(seconds);
begin
    if (claim_step.name <> '' and claim_step.holder <> '') is not true then
        raise exception 'a step is claimed by its name, and by somebody; nothing was claimed'
            using errcode = '22023', hint = 'Name the step, and say who you are: lists and errors tell it to people.';
    end if;
    loop
        select f.* into task from revenant.run_tasks f
        where f.type = 'step' and f.name = claim_step.name
            and (f.held_until is null or f.held_until <= revenant.now())
        order by f.made_at limit 1 for update skip locked;
        if not found then
            return;
        end if;
        exit when task.claims < most;
        -- What takes everybody down who claims it is not given to the next one for ever.
        delete from revenant.run_tasks t where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
        perform revenant.cast(task.kind, task.key, 'step', json_build_object(
            'run', task.run, 'op', task.op, 'attempt', task.attempt, 'status', 'error', 'retryable', true,
            'error', json_build_object('error', 'RunFailed', 'type', 'ClaimsLost', 'message', format(
                'it was claimed %s times, and each claim was lost, the last one by %s', task.claims, task.holder
            ))
        ));
    end loop;
    return query
    update revenant.run_tasks t
    set token = encode(set_byte(uuid_send(gen_random_uuid()), 15, task.bucket), 'hex')::uuid,
        holder = claim_step.holder, claims = t.claims + 1,
        held_until = revenant.now() + span
    where t.bucket = task.bucket and t.run = task.run and t.op = task.op
    returning t.token, substr(t.kind, 5), t.key, t.attempt, t.idempotency, t.input, t.held_until;
end
$$;

-- Promise: as claim_v2, for a worker that knows no states.
-- Locks: those of claim_v2.
create or replace function revenant.claim_v1(
    buckets smallint[], kinds text[], keys text[], since bigint[], vsns integer[],
    entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language sql volatile as $$
    select c.slot, c.outcome, c.tid, c.version, c.vsn, c.state, c.seq, c.message_tid, c.id, c.handler, c.args, c.origin,
        c.digest, c.attempts, c.done_status, c.done_version, c.done_body, c.done_digest
    from revenant.claim_v2(
        buckets, kinds, keys, since, vsns, array[]::bigint[], array[]::bigint[], entity_limit, message_limit, byte_limit
    ) c
$$;

-- Promise: locks each named entity that is free, then reads its messages in a later snapshot, in order; never waits.
-- Locks: the entities' rows FOR NO KEY UPDATE, SKIP LOCKED, in the order given; then an advisory lock per entity to be created.
create or replace function revenant.claim_v2(
    buckets smallint[], kinds text[], keys text[], since bigint[], vsns integer[],
    known_versions bigint[], known_writers bigint[],
    entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, tid text, version bigint, vsn integer, state text,
    seq bigint, message_tid text, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea, writer bigint, is_known boolean
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    tids tid[] := array_fill(null::tid, array[cardinality(keys)]);
    versions bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    stored_vsns integer[] := array_fill(null::integer, array[cardinality(keys)]);
    marks bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    writers bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    held record;
    missing record;
    message record;
    free integer := 0;
    -- Many entities share the room that there is, so that no claim reads more than it can take.
    share integer := least(entity_limit, greatest(32, message_limit / greatest(cardinality(keys), 1)));
    taken integer := 0;
    total integer := 0;
    bytes bigint := 0;
    last_slot integer := 0;
    skipped integer := 0;
begin
    -- Statements are over all entities at once: one of its own for each costs three times as much as the look-up in it.
    for held in
        select h.slot, e.tid, e.version, e.vsn, e.writer, least(e.applied, h.since) as mark
        from unnest(buckets, kinds, keys, since) with ordinality as h (bucket, kind, key, since, slot)
        cross join lateral (
            select e.ctid as tid, e.version, e.vsn, e.applied, e.xmin::text::bigint as writer
            from revenant.entities e
            where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
            for no key update skip locked
        ) e
    loop
        tids[held.slot] := held.tid; versions[held.slot] := held.version;
        stored_vsns[held.slot] := held.vsn; marks[held.slot] := held.mark; writers[held.slot] := held.writer;
        free := free + 1;
    end loop;

    -- Entities without a row that could be locked: another turn has it, or there is none yet, or nothing to do.
    if free < cardinality(keys) then
        for missing in
            select u.slot::integer as slot, u.present, u.waiting,
                case
                    when u.present or not u.waiting then false
                    -- Advisory locks live in a table of limited size, shared by all: a turn takes a few of them.
                    when u.place > 64 then null
                    else pg_try_advisory_xact_lock(hashtextextended(u.kind || '/' || u.key, 7))
                end as ours
            from (
                select h.slot, h.kind, h.key, row_number() over (order by h.slot) as place,
                    exists (
                        select from revenant.entities e
                        where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
                    ) as present,
                    exists (
                        select from revenant.messages m
                        where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key
                    ) as waiting
                from unnest(buckets, kinds, keys, tids) with ordinality as h (bucket, kind, key, tid, slot)
                where h.tid is null
            ) u
        loop
            slot := missing.slot;
            if missing.ours then
                marks[slot] := 0;
            elsif missing.present or missing.waiting then
                outcome := case when missing.ours is null then 'later' else 'locked' end;
                return next;
            end if;
        end loop;
        -- An advisory lock may be ours only because its last holder has just committed the row: look again.
        for missing in
            select h.slot::integer as slot
            from unnest(buckets, kinds, keys, tids, marks) with ordinality as h (bucket, kind, key, tid, mark, slot)
            cross join lateral (
                select from revenant.entities e
                where e.bucket = h.bucket and e.kind = h.kind and e.key = h.key
                limit 1
            ) e
            where h.tid is null and h.mark is not null
        loop
            slot := missing.slot; marks[slot] := null; outcome := 'locked';
            return next;
        end loop;
    end if;
    for i in 1 .. cardinality(keys) loop
        if stored_vsns[i] > vsns[i] then
            slot := i; marks[i] := null; outcome := 'newer';
            return next;
        end if;
    end loop;

    for message in
        select h.slot::integer as slot, h.tid, h.version, h.vsn, h.writer,
            h.version = h.known_version and h.writer = h.known_writer as is_known, e.state, m.*
        from unnest(buckets, kinds, keys, marks, tids, versions, stored_vsns, writers, known_versions, known_writers)
            with ordinality as h (
                bucket, kind, key, mark, tid, version, vsn, writer, known_version, known_writer, slot
            )
        -- By its place, which the lock keeps, and by nothing that an index has.
        left join lateral (
            select e.state from revenant.entities e
            where e.ctid = h.tid
                -- A version alone comes again, when an entity is deleted and made anew.
                and (h.version = h.known_version and h.writer = h.known_writer) is not true
            limit 1
        ) e on true
        cross join lateral (
            select m.seq, m.ctid as message_tid, m.id, m.handler, m.args, m.origin, m.digest, m.attempts
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq > h.mark
            order by m.seq
            limit share + 1
        ) m
        order by h.slot, m.seq
    loop
        slot := message.slot;
        continue when slot = skipped;
        if slot <> last_slot then
            last_slot := slot; taken := 0;
            tid := message.tid::text; version := coalesce(message.version, 0); vsn := message.vsn;
            writer := coalesce(message.writer, 0); is_known := coalesce(message.is_known, false);
        end if;
        if taken = share or total >= message_limit or (total > 0 and bytes >= byte_limit) then
            outcome := 'later'; seq := null; skipped := slot;
            return next;
            continue;
        end if;
        outcome := 'claimed';
        state := case when taken = 0 then message.state::text end;
        seq := message.seq; message_tid := message.message_tid::text; id := message.id::text;
        handler := message.handler; args := message.args::text; origin := message.origin;
        digest := message.digest; attempts := message.attempts;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = buckets[slot] and r.id = message.id;
        end if;
        taken := taken + 1; total := total + 1;
        bytes := bytes + octet_length(args) + coalesce(octet_length(state), 0);
        return next;
    end loop;
end
$$;

-- Promise: the code of these runs did this worker no harm: removes its notes of them.
-- Locks: the runs' rows in run_notes, in key order.
create or replace function revenant.clear_runs_v1(worker uuid, buckets smallint[], kinds text[], keys text[])
returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    run record;
begin
    perform set_config('synchronous_commit', 'off', true);
    for run in
        select h.bucket, h.kind, h.key from unnest(buckets, kinds, keys) as h (bucket, kind, key) order by 1, 2, 3
    loop
        delete from revenant.run_notes n
        where n.bucket = run.bucket and n.kind = run.kind and n.key = run.key and n.worker = clear_runs_v1.worker;
    end loop;
end
$$;

-- Promise: ends a claimed step with its result, if and only if you commit; the same result once more does nothing; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.complete_step(token uuid, result jsonb default 'null')
returns void language plpgsql volatile as $$
begin
    perform revenant.check_result_v1(result, result::text);
    perform revenant.end_step_v1(token, jsonb_build_object('status', 'ok', 'result', coalesce(result, 'null')));
end
$$;

-- Promise: removes what was kept of how far steps were; each goes in the transaction in which its step ends.
-- Locks: those rows, which nobody but the owner of their run writes.
create or replace function revenant.drop_progress_v1(buckets smallint[], runs uuid[], ops integer[])
returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(ops) loop
        delete from revenant.run_progress p where p.bucket = buckets[i] and p.run = runs[i] and p.op = ops[i];
    end loop;
end
$$;

-- Promise: a page of due reminders, oldest first; then a row that says in how many seconds the next later one is due.
-- Locks: none.
create or replace function revenant.due_reminders_v1(page integer) returns table (
    moment timestamptz, bucket smallint, kind text, key text, name text, mark text,
    due timestamptz, every double precision, cron text, timezone text, missed text, next_due double precision
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    moment := revenant.now();
    return query
    select moment, r.bucket, r.kind, r.key, r.name, r.xmin::text,
        r.due, r.every, r.cron, r.timezone, r.missed, null::double precision
    from revenant.reminders r
    where r.due <= moment order by r.due limit page;
    next_due := (
        select extract(epoch from r.due - moment)::double precision
        from revenant.reminders r where r.due > moment order by r.due limit 1
    );
    return next;
end
$$;

-- Promise: a page of due reminders that go to these kinds, oldest first; then a row that says in how many seconds the next later one is due.
-- Locks: none.
create or replace function revenant.due_reminders_v2(page integer, kinds text[]) returns table (
    moment timestamptz, bucket smallint, kind text, key text, name text, mark text,
    due timestamptz, every double precision, cron text, timezone text, missed text, next_due double precision
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    moment := revenant.now();
    return query
    select moment, r.bucket, r.kind, r.key, r.name, r.xmin::text,
        r.due, r.every, r.cron, r.timezone, r.missed, null::double precision
    from unnest(kinds) k (kind)
    cross join lateral (
        select r.*, r.xmin from revenant.reminders r
        where r.to_kind = k.kind and r.due <= moment order by r.due limit page
    ) r
    order by r.due limit page;
    next_due := (
        select min(extract(epoch from r.due - moment))::double precision
        from unnest(kinds) k (kind)
        cross join lateral (
            select r.due from revenant.reminders r
            where r.to_kind = k.kind and r.due > moment order by r.due limit 1
        ) r
    );
    return next;
end
$$;

-- Promise: ends the step that a token holds with that answer, if and only if you commit; the same answer once more does nothing, and RV002 is raised where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.end_step_v1(held uuid, answer jsonb) returns void language plpgsql volatile as $$
declare
    task revenant.run_tasks;
    place smallint := get_byte(uuid_send(held), 15);
    said bytea := sha256(convert_to(answer::text, 'UTF8'));
begin
    select t.* into task from revenant.run_tasks t where t.token = held for update;
    if not found then
        -- In a later snapshot: whoever said it at the same moment has committed by now.
        perform 1 from revenant.step_answers a where a.bucket = place and a.token = held and a.answer = said;
        if not found then
            perform revenant.held_step_v1(held);
        end if;
        return;
    end if;
    delete from revenant.run_tasks t where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
    insert into revenant.step_answers (bucket, token, answer) values (place, held, said);
    perform revenant.cast(
        task.kind, task.key, 'step',
        (jsonb_build_object('run', task.run, 'op', task.op, 'attempt', task.attempt) || answer)::json
    );
end
$$;

-- Promise: as enqueue_v1, for a batch of one message, by statements that need no arrays; returns a wake-up not sent inside.
-- Locks: the batch's row in sends (a retry waits for its first try); a call's wake-up inside, as it is not flushed.
create or replace function revenant.enqueue_one_v1(
    batch uuid, bucket smallint, kind text, key text, id uuid, handler text, args text, origin text, digest bytea
) returns text language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    number bigint;
    hint text;
begin
    if origin is not null then
        -- The caller waits for the reply, whose commit flushes this one with it: WAL is one stream.
        hint := set_config('synchronous_commit', 'off', true);
    end if;
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        if origin is null then
            -- The first try is committed here; a synchronous standby is waited for by a commit that writes.
            update revenant.sends s set sent_at = now() where s.id = batch;
        end if;
        return '*';
    end if;
    insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
    values (
        enqueue_one_v1.bucket, enqueue_one_v1.kind, enqueue_one_v1.key, enqueue_one_v1.id, enqueue_one_v1.handler,
        enqueue_one_v1.args::json, enqueue_one_v1.origin, enqueue_one_v1.digest
    )
    returning seq into number;
    hint := '[' || json_build_array(bucket, kind, key, number)::text || ']';
    if origin is null then
        return hint;
    end if;
    perform pg_notify('revenant_wake', hint);
    return null;
end
$$;

-- Promise: one client's batch reaches the mailboxes exactly once, however often it is retried; replies read are dropped.
-- Locks: the batch's row in sends (a retry waits for its first try); then replies of this client; wakes inside only if unflushed.
create or replace function revenant.enqueue_v1(
    batch uuid, settled uuid[], flush boolean,
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[], read_ids uuid[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    hint text;
begin
    if not flush then
        -- The caller waits for the reply, whose commit flushes this one with it: WAL is one stream.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        if flush then
            -- The first try is committed here; a synchronous standby is waited for by a commit that writes.
            update revenant.sends set sent_at = now() where id = batch;
        end if;
        return next '*';
        return;
    end if;
    -- A look-up each, behind a limit: joins would be planned by how many rows there were at the session's first batch.
    if cardinality(settled) > 0 then
        delete from revenant.sends s
        using (
            select f.tid from unnest(settled) as d (id)
            cross join lateral (select f.ctid as tid from revenant.sends f where f.id = d.id limit 1) f
        ) d
        where s.ctid = d.tid;
    end if;
    if cardinality(read_ids) > 0 then
        delete from revenant.replies r
        using (
            select f.tid from unnest(read_ids) as d (id)
            cross join lateral (
                select f.ctid as tid from revenant.replies f
                where f.bucket = get_byte(uuid_send(d.id), 15)::smallint and f.id = d.id
                limit 1
            ) f
        ) d
        where r.ctid = d.tid and r.digest is null;
    end if;
    if cardinality(ids) = 0 then
        return;
    end if;
    for hint in select revenant.send_v1(buckets, kinds, keys, ids, handlers, args, origins, digests) loop
        if flush then
            return next hint;
        else
            perform pg_notify('revenant_wake', hint);
        end if;
    end loop;
end
$$;

-- Promise: removes what one stream has besides its events: how far its steps are, what waits for somebody, its snapshot.
-- Locks: those rows; called with the head's row held.
create or replace function revenant.erase_belongings_v1(bucket smallint, run uuid) returns void
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    delete from revenant.run_progress p
    where p.bucket = erase_belongings_v1.bucket and p.run = erase_belongings_v1.run;
    delete from revenant.run_tasks t
    where t.bucket = erase_belongings_v1.bucket and t.run = erase_belongings_v1.run;
    delete from revenant.run_snapshots s
    where s.bucket = erase_belongings_v1.bucket and s.run = erase_belongings_v1.run;
end
$$;

-- Promise: removes events of one stream, those after one number and before another, at most a page; returns how many.
-- Locks: those rows; called with the head's row held.
create or replace function revenant.erase_events_v1(
    bucket smallint, run uuid, after bigint, before bigint, page integer
) returns integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    removed integer;
begin
    delete from revenant.run_events e
    where e.ctid = any (array(
        select o.ctid from revenant.run_events o
        where o.bucket = erase_events_v1.bucket and o.run = erase_events_v1.run and o.seq > after
            and o.seq < coalesce(before, 9223372036854775807)
        order by o.seq
        limit page
    ));
    get diagnostics removed = row_count;
    return removed;
end
$$;

-- Promise: removes runs whose time to be kept is over, with all their histories, about a page of rows at a time; returns how many rows went.
-- Locks: the heads' rows, SKIP LOCKED: it waits for nobody; then what belongs to them, which is theirs alone.
create or replace function revenant.expire_runs_v1(page integer) returns integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    head record;
    older uuid;
    oldest uuid;
    removed integer := 0;
    step integer;
begin
    for head in
        select h.bucket, h.kind, h.key, h.run, h.seq from revenant.run_heads h
        where h.expires_at <= moment
        order by h.expires_at
        limit page
        for update skip locked
    loop
        loop
            exit when removed >= page;
            -- The history before the current one goes first, and the one before that takes its place: whatever is left
            -- after a page hangs together, and the current one says to the end how the run has ended.
            select (e.data ->> 'continues')::uuid into older from revenant.run_events e
            where e.bucket = head.bucket and e.run = head.run and e.seq = 1;
            exit when older is null;
            removed := removed + revenant.erase_events_v1(head.bucket, older, 1, null, page - removed);
            exit when removed >= page;
            select (e.data ->> 'continues')::uuid into oldest from revenant.run_events e
            where e.bucket = head.bucket and e.run = older and e.seq = 1;
            update revenant.run_events e
            set data = case
                when oldest is null then e.data - 'continues' else e.data || jsonb_build_object('continues', oldest)
            end
            where e.bucket = head.bucket and e.run = head.run and e.seq = 1;
            removed := removed + revenant.erase_events_v1(head.bucket, older, 0, null, 1);
            perform revenant.erase_belongings_v1(head.bucket, older);
        end loop;
        exit when removed >= page;
        removed := removed + revenant.erase_events_v1(head.bucket, head.run, 1, head.seq, page - removed);
        exit when removed >= page;
        removed := removed + revenant.erase_events_v1(head.bucket, head.run, 0, null, 2) + 1;
        perform revenant.erase_belongings_v1(head.bucket, head.run);
        delete from revenant.run_heads h
        where h.bucket = head.bucket and h.kind = head.kind and h.key = head.key and h.run = head.run;
        exit when removed >= page;
    end loop;
    return removed;
end
$$;

-- Promise: tells the idle entities of a page to end, by a message each; returns wake-ups, then the place to go on from.
-- Locks: the rows of those entities, SKIP LOCKED, in index order: one whose turn runs is not idle.
create or replace function revenant.expire_v1(
    kind text, idle double precision, buckets smallint[], after_bucket smallint, after_key text, page integer
) returns table (hint text, bucket smallint, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    since timestamptz := revenant.now() - make_interval(secs => idle);
    here smallint;
    seen record;
    idle_version bigint;
    looked integer := 0;
    ended_buckets smallint[] := '{}';
    ended_keys text[] := '{}';
    versions bigint[] := '{}';
begin
    foreach here in array buckets loop
        continue when here < after_bucket;
        for seen in
            select e.key, greatest(e.updated_at, e.touched_at) < since as is_idle
            from revenant.entities e
            where e.bucket = here and e.kind = expire_v1.kind
                and e.key > case when here = after_bucket then after_key else '' end collate "C"
            order by e.key
            limit page - looked
        loop
            looked := looked + 1;
            bucket := here; key := seen.key;
            continue when not seen.is_idle;
            select e.version into idle_version
            from revenant.entities e
            where e.bucket = here and e.kind = expire_v1.kind and e.key = seen.key
                and greatest(e.updated_at, e.touched_at) < since
                and not exists (
                    select from revenant.messages m
                    where m.bucket = here and m.kind = expire_v1.kind and m.key = seen.key
                )
                and not exists (
                    select from revenant.scheduled s
                    where s.bucket = here and s.kind = expire_v1.kind and s.key = seen.key
                )
                and not exists (
                    select from revenant.reminders r
                    where r.bucket = here and r.kind = expire_v1.kind and r.key = seen.key
                )
            for no key update of e skip locked;
            continue when not found;
            ended_buckets := ended_buckets || here;
            ended_keys := ended_keys || seen.key;
            versions := versions || idle_version;
        end loop;
        exit when looked = page;
    end loop;
    return query
    select w.hint, null::smallint, null::text
    from revenant.send_v1(
        ended_buckets, array_fill(expire_v1.kind, array[cardinality(ended_keys)]), ended_keys,
        array(select revenant.new_id_v1(b) from unnest(ended_buckets) as e (b)),
        array_fill('revenant:expire'::text, array[cardinality(ended_keys)]),
        array(select json_build_object('version', v)::text from unnest(versions) as e (v)),
        array_fill(null::text, array[cardinality(ended_keys)]),
        array_fill(null::bytea, array[cardinality(ended_keys)])
    ) as w (hint);
    if looked < page then
        bucket := null; key := null;
    end if;
    hint := null;
    return next;
end
$$;

-- Promise: ends a claimed step's attempt as failed, if and only if you commit; the same once more does nothing; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.fail_step(
    token uuid, error text, retryable boolean default true, type text default 'ExternalFailure'
) returns void language plpgsql volatile as $$
begin
    perform revenant.end_step_v1(token, jsonb_build_object(
        -- What is null is not known: it is as when it is left out.
        'status', 'error', 'retryable', coalesce(retryable, true),
        'error', jsonb_build_object(
            'error', 'RunFailed', 'type', coalesce(fail_step.type, 'ExternalFailure'),
            'message', left(coalesce(fail_step.error, 'it was not said why'), 65536)
        )
    ));
end
$$;

-- Promise: the replies of those ids that have one, by point look-ups.
-- Locks: none.
create or replace function revenant.fetch_replies_v1(ids uuid[])
returns table (id text, status text, version bigint, body text, digest bytea) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted uuid;
begin
    foreach wanted in array ids loop
        return query
        select r.id::text, r.status, r.version, r.body::text, r.digest from revenant.replies r
        where r.bucket = get_byte(uuid_send(wanted), 15)::smallint and r.id = wanted;
    end loop;
end
$$;

-- Promise: runs of these kinds whose owner is dead, a page of each such owner; looks only, since whoever goes on with one takes it over by its append.
-- Locks: none.
create or replace function revenant.find_dead_runs_v1(worker uuid, kinds text[], page integer)
returns table (bucket smallint, kind text, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen uuid := '00000000-0000-0000-0000-000000000000';
begin
    loop
        -- One index probe for each owner, however many runs it has.
        select h.owner into seen from revenant.run_heads h where h.owner > seen order by h.owner limit 1;
        exit when not found;
        continue when seen = worker or revenant.alive_v1(seen);
        -- Those of other kinds do not count: whoever has them may be gone, and these would wait behind them.
        return query select h.bucket, h.kind, h.key from revenant.run_heads h
        where h.owner = seen and h.kind = any (kinds)
        limit page;
    end loop;
end
$$;

-- Promise: runs of these kinds, of no newer version than the one beside each, whose owner is dead, a page of each such owner; looks only, since whoever goes on with one takes it over by its append.
-- Locks: none.
create or replace function revenant.find_dead_runs_v2(worker uuid, kinds text[], newest integer[], page integer)
returns table (bucket smallint, kind text, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen uuid := '00000000-0000-0000-0000-000000000000';
begin
    loop
        -- One index probe for each owner, however many runs it has.
        select h.owner into seen from revenant.run_heads h where h.owner > seen order by h.owner limit 1;
        exit when not found;
        continue when seen = worker or revenant.alive_v1(seen);
        -- Those of other kinds and of newer versions do not count: whoever has them may be gone, and these would wait behind them.
        return query select h.bucket, h.kind, h.key from revenant.run_heads h
        where h.owner = seen and h.version <= newest[array_position(kinds, h.kind)]
        limit page;
    end loop;
end
$$;

-- Promise: fires reminders that are as they were read, each in one step with its next due time; returns wake-up payloads.
-- Locks: the reminders' rows, SKIP LOCKED, in the order given: it waits for nobody.
create or replace function revenant.fire_reminders_v1(
    buckets smallint[], kinds text[], keys text[], names text[], marks text[], counts integer[], nexts timestamptz[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    fired revenant.reminders[] := '{}';
    held revenant.reminders;
begin
    for i in 1 .. cardinality(keys) loop
        -- The row's xmin is the mark of the state that was read: another worker's firing, or a new setting, changes it.
        select r.* into held from revenant.reminders r
        where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i] and r.name = names[i]
            and r.xmin::text = marks[i]
        for update skip locked;
        continue when not found;
        if nexts[i] is null then
            delete from revenant.reminders r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i] and r.name = names[i];
        else
            update revenant.reminders r
            set due = nexts[i], fired_at = case when counts[i] > 0 then revenant.now() else r.fired_at end
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i] and r.name = names[i];
        end if;
        for n in 1 .. counts[i] loop
            fired := fired || held;
        end loop;
    end loop;
    return query
    select revenant.send_v1(
        array_agg(f.to_bucket), array_agg(f.to_kind), array_agg(f.to_key),
        array_agg(revenant.new_id_v1(f.to_bucket)), array_agg(f.handler), array_agg(f.args::text),
        array_agg(null::text), array_agg(null::bytea)
    )
    from unnest(fired) as f
    having count(*) > 0;
end
$$;

-- Promise: fires schedules that are as they were read, each in one step with its next due time; returns wake-up payloads.
-- Locks: the schedules' rows, SKIP LOCKED, in the order given: it waits for nobody.
create or replace function revenant.fire_schedules_v1(
    names text[], digests bytea[], dues timestamptz[], counts integer[], nexts timestamptz[]
) returns setof text language plpgsql volatile as $$
declare
    fired revenant.schedules[] := '{}';
    held revenant.schedules;
begin
    for i in 1 .. cardinality(names) loop
        select s.* into held from revenant.schedules s
        where s.name = names[i] and s.digest = digests[i] and s.due = dues[i]
        for update skip locked;
        continue when not found;
        update revenant.schedules s
        set due = nexts[i], fired_at = case when counts[i] > 0 then revenant.now() else s.fired_at end
        where s.name = names[i];
        for n in 1 .. counts[i] loop
            fired := fired || held;
        end loop;
    end loop;
    return query
    select revenant.send_v1(
        array_agg(f.bucket), array_agg(f.kind), array_agg(f.key),
        array_agg(revenant.new_id_v1(f.bucket)), array_agg(f.handler), array_agg(f.args::text),
        array_agg(null::text), array_agg(null::bytea)
    )
    from unnest(fired) as f
    having count(*) > 0;
end
$$;

-- Promise: removes what these streams have besides their events: what waits for somebody, how far steps are, snapshots.
-- Locks: those rows, waited for 100 ms each; inside an append, which holds the heads of their runs.
create or replace function revenant.forget_streams_v1(buckets smallint[], runs uuid[]) returns void
language plpgsql volatile
-- Whoever ends a step does so in a transaction of their own, however long: the other runs of the append do not wait.
set lock_timeout = '100ms' as $$
begin
    for i in 1 .. cardinality(runs) loop
        perform revenant.erase_belongings_v1(buckets[i], runs[i]);
    end loop;
end
$$;

-- Promise: writes this worker's row and returns all: and whether each lives.
-- Locks: this worker's own row.
create or replace function revenant.heartbeat_v1(
    worker uuid, host text, pid integer, kinds jsonb, lanes integer, jobs integer, draining boolean,
    turns bigint, messages bigint
) returns table (id text, kinds_known jsonb, is_draining boolean, is_alive boolean) language sql volatile as $$
    insert into revenant.workers as w (
        id, host, pid, kinds, lanes, jobs, draining, turns, messages, backend_pid, backend_start
    )
    -- Unqualified, `pid` would be the column, which hides the parameter of the same name.
    select worker, host, heartbeat_v1.pid, kinds, lanes, jobs, draining, turns, messages, a.pid, a.backend_start
    from pg_stat_get_activity(pg_backend_pid()) a
    on conflict (id) do update
    set draining = excluded.draining, turns = excluded.turns, messages = excluded.messages,
        backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, heartbeat_at = now();
    select w.id::text, w.kinds, w.draining, revenant.alive_v1(w.id) from revenant.workers w
$$;

-- Promise: the external step that a token holds, locked; raises RV002 where it does not hold one any more.
-- Locks: the step's row.
create or replace function revenant.held_step_v1(held uuid) returns revenant.run_tasks language plpgsql volatile as $$
declare
    task revenant.run_tasks;
begin
    select t.* into task from revenant.run_tasks t where t.token = held for update;
    if not found then
        raise exception 'the claim % does not hold any more; nothing was changed', held
            using errcode = 'RV002',
                hint = 'The step was answered, or claimed by somebody else after its time, or its run does not wait for it.';
    end if;
    return task;
end
$$;

-- Promise: for how long so many seconds hold a step; raises 22023 for what is no such time, and says what to do.
-- Locks: none.
create or replace function revenant.hold_time_v1(seconds double precision) returns interval language plpgsql immutable as $$
begin
    -- NaN is greater than any number.
    if (seconds > 0 and seconds <= 31622400) is not true then
        raise exception 'a step is held for more than 0 seconds and up to 31622400 (366 days), not for %; nothing was changed',
            coalesce(seconds::text, 'null')
            using errcode = '22023', hint = 'Hold it for as long as the work takes as a rule, and renew the claim while it goes on.';
    end if;
    return make_interval(secs => seconds);
end
$$;

-- Promise: of the named entities, locks those that this worker still owns, for a flush: where their rows and handled messages are.
-- Locks: the rows of residents, then of entities, in the order given, which is key order; those that leave lose their residence.
create or replace function revenant.hold_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], leaving boolean[],
    slots integer[], seqs bigint[]
) returns table (slot integer, tid text, version bigint, message_tids text[]) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    place integer := 1;
    first integer;
begin
    for i in 1 .. cardinality(keys) loop
        first := place;
        while slots[place] = i loop
            place := place + 1;
        end loop;
        if leaving[i] then
            delete from revenant.residents r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                -- Not by `=`: the index over owners would be taken for the way, and has all that this worker owns.
                and r.owner is not distinct from worker and r.fence = fences[i];
        else
            perform 1 from revenant.residents r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                and r.owner is not distinct from worker and r.fence = fences[i]
            for no key update;
        end if;
        continue when not found;
        slot := i;
        select e.ctid::text, e.version into tid, version from revenant.entities e
        where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i]
        for no key update;
        version := coalesce(version, 0);
        message_tids := array(
            select m.ctid::text from revenant.messages m
            where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i]
                and m.seq = any (seqs[first:place - 1])
            order by m.seq
        );
        return next;
    end loop;
end
$$;

-- Promise: of the named entities, locks those that this worker still owns, for a flush: where their rows and handled messages are.
-- Locks: the rows of residents, then of entities, in the order given, which is key order; those that leave lose their residence.
create or replace function revenant.hold_v2(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], leaving boolean[],
    slots integer[], seqs bigint[], ids uuid[]
) returns table (slot integer, tid text, version bigint, message_tids text[]) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    place integer := 1;
    first integer;
begin
    for i in 1 .. cardinality(keys) loop
        first := place;
        while slots[place] = i loop
            place := place + 1;
        end loop;
        if leaving[i] then
            delete from revenant.residents r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                -- Not by `=`: the index over owners would be taken for the way, and has all that this worker owns.
                and r.owner is not distinct from worker and r.fence = fences[i];
        else
            perform 1 from revenant.residents r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                and r.owner is not distinct from worker and r.fence = fences[i]
            for no key update;
        end if;
        continue when not found;
        slot := i;
        select e.ctid::text, e.version into tid, version from revenant.entities e
        where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i]
        for no key update;
        version := coalesce(version, 0);
        message_tids := array(
            -- By their ids, too: after a crash of the server a number is given away again.
            select m.tid::text
            from unnest(seqs[first:place - 1], ids[first:place - 1]) as h (seq, id)
            cross join lateral (
                select m.ctid as tid from revenant.messages m
                where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq = h.seq and m.id = h.id
                limit 1
            ) m
            order by h.seq
        );
        return next;
    end loop;
end
$$;

-- Promise: makes the partitions of today and the next three days, moves strays into theirs, and drops those past the longest keep.
-- Locks: an advisory lock, one caller at a time; history and its partitions for a moment, waited for 250 ms at most each.
create or replace function revenant.keep_history_v1() returns integer language plpgsql volatile
-- Only the owner of a table may give it partitions, or drop them; what happens here is decided by the tables alone.
security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms' as $$
declare
    -- The clock that tests move is for those who could drop these tables themselves: others would, by a day to come.
    moment timestamptz := case
        when pg_has_role(session_user, current_user, 'usage') then revenant.now() else clock_timestamp()
    end;
    longest interval;
    today date := (moment at time zone 'UTC')::date;
    day date;
    first timestamptz;
    part text;
    done integer := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('revenant.history', 7)) then
        return 0;
    end if;
    for day in
        select distinct (r.at at time zone 'UTC')::date from revenant.history_rest r
        union
        select today + n from generate_series(0, 3) as n
        order by 1
    loop
        part := 'history_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('revenant.' || part) is not null;
        first := to_timestamp(extract(epoch from day));
        begin
            -- Attaching looks into the rest, which must not get more rows of that day meanwhile.
            lock table revenant.history_rest in access exclusive mode;
            execute format('create table revenant.%I (like revenant.history including constraints)', part);
            execute format(
                'with strays as (delete from revenant.history_rest where at >= %L and at < %L returning *) '
                'insert into revenant.%I select * from strays', first, first + make_interval(days => 1), part
            );
            execute format(
                'alter table revenant.history attach partition revenant.%I for values from (%L) to (%L)',
                part, first, first + make_interval(days => 1)
            );
            done := done + 1;
        exception when lock_not_available then
            -- Somebody reads for long: another round will do it.
            return done;
        end;
    end loop;
    select max(k.keep) into longest from revenant.history_kinds k;
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'revenant.history'::regclass and c.relname ~ '^history_\d{8}$'
            and to_timestamp(extract(epoch from to_date(substr(c.relname, 9), 'YYYYMMDD') + 1)) <= moment - longest
        order by c.relname
    loop
        begin
            execute format('drop table revenant.%I', part);
            done := done + 1;
        exception when lock_not_available then
            return done;
        end;
    end loop;
    return done;
end
$$;

-- Promise: locks the named entities and returns a row for each, or fewer where one is busy; it waits `patience` ms for a lock, then raises 55P03.
-- Locks: the entities' rows FOR NO KEY UPDATE, an advisory lock for one without a row; in key order where it waits, else SKIP LOCKED.
create or replace function revenant.lock_v1(buckets smallint[], kinds text[], keys text[], patience integer)
returns table (slot integer, tid text, version bigint, vsn integer, state text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set lock_timeout = 0
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted record;
    held record;
    ours boolean;
begin
    perform set_config('lock_timeout', patience::text, true);
    -- Whoever waits for a row holds only rows that come before it: two who wait cannot wait for each other.
    for wanted in
        select h.slot::integer as slot, h.bucket, h.kind, h.key
        from unnest(buckets, kinds, keys) with ordinality as h (bucket, kind, key, slot)
        order by h.kind collate "C", h.key collate "C"
    loop
        for attempt in 1 .. 2 loop
            if patience > 0 then
                select e.ctid::text as tid, e.version, e.vsn, e.state::text as state into held
                from revenant.entities e
                where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key
                for no key update;
            else
                select e.ctid::text as tid, e.version, e.vsn, e.state::text as state into held
                from revenant.entities e
                where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key
                for no key update skip locked;
            end if;
            exit when found or attempt = 2;
            -- No row, or one that another turn has. Whoever creates an entity holds its advisory lock until the commit.
            perform 1 from revenant.entities e
            where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key;
            ours := not found or patience > 0;
            if ours and patience > 0 then
                perform pg_advisory_xact_lock(hashtextextended(wanted.kind || '/' || wanted.key, 7));
            elsif ours then
                ours := pg_try_advisory_xact_lock(hashtextextended(wanted.kind || '/' || wanted.key, 7));
            end if;
            if not ours then
                return;
            end if;
            -- The lock may be ours because its last holder has just committed the row: look again.
        end loop;
        slot := wanted.slot; tid := null; version := 0; vsn := null; state := null;
        if held.tid is not null then
            tid := held.tid; version := held.version; vsn := held.vsn; state := held.state;
        else
            perform 1 from revenant.entities e
            where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key;
            if found then
                return;
            end if;
        end if;
        return next;
    end loop;
end
$$;

-- Promise: a new message id, whose last byte is its bucket.
-- Locks: none.
create or replace function revenant.new_id_v1(bucket smallint) returns uuid language sql volatile as $$
    select encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid
$$;

-- Promise: notes the runs whose code a worker is about to run; returns for each place (from 1) how many workers have died with it noted, where any has.
-- Locks: the runs' rows in run_notes, in key order; then old ones, SKIP LOCKED: it waits for nobody.
create or replace function revenant.note_runs_v1(worker uuid, buckets smallint[], kinds text[], keys text[])
returns table (slot integer, dead integer) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    own record;
    run record;
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    select a.pid, a.backend_start into own from pg_stat_get_activity(pg_backend_pid()) a;
    for run in
        select h.bucket, h.kind, h.key, h.slot::integer as slot
        from unnest(buckets, kinds, keys) with ordinality as h (bucket, kind, key, slot)
        order by h.bucket, h.kind, h.key
    loop
        insert into revenant.run_notes as n (bucket, kind, key, worker, backend_pid, backend_start)
        values (run.bucket, run.kind, run.key, note_runs_v1.worker, own.pid, own.backend_start)
        on conflict on constraint run_notes_pkey do update
        set worker = excluded.worker, backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
            noted_at = revenant.now(),
            deaths = n.deaths + case
                when n.worker <> excluded.worker and not exists (
                    select from pg_stat_get_activity(n.backend_pid) a
                    where coalesce(a.backend_start, n.backend_start) = n.backend_start
                ) then 1
                else 0
            end
        returning n.deaths into dead;
        slot := run.slot;
        if dead > 0 then
            return next;
        end if;
    end loop;
    delete from revenant.run_notes n
    where n.ctid = any (array(
        select o.ctid from revenant.run_notes o where o.noted_at < revenant.now() - make_interval(days => 1)
        limit 100 for update skip locked
    ));
end
$$;

-- Promise: as note_runs_v1, but leaves alone, and says -1 of, what a worker has noted that lives: it is about that run just now; one that lives and hangs has died as far as notes go.
-- Locks: those of note_runs_v1.
create or replace function revenant.note_runs_v2(worker uuid, buckets smallint[], kinds text[], keys text[])
returns table (slot integer, dead integer) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    own record;
    run record;
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    select a.pid, a.backend_start into own from pg_stat_get_activity(pg_backend_pid()) a;
    for run in
        select h.bucket, h.kind, h.key, h.slot::integer as slot
        from unnest(buckets, kinds, keys) with ordinality as h (bucket, kind, key, slot)
        order by h.bucket, h.kind, h.key
    loop
        insert into revenant.run_notes as n (bucket, kind, key, worker, backend_pid, backend_start)
        values (run.bucket, run.kind, run.key, note_runs_v2.worker, own.pid, own.backend_start)
        on conflict on constraint run_notes_pkey do update
        set worker = excluded.worker, backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
            noted_at = revenant.now(), deaths = n.deaths + (n.worker <> excluded.worker)::integer
        where n.worker = excluded.worker or not revenant.alive_v1(n.worker) or not exists (
            -- It lives, and has lost that connection: it has let go of the run.
            select from pg_stat_get_activity(n.backend_pid) a
            where coalesce(a.backend_start, n.backend_start) = n.backend_start
        )
        returning n.deaths into dead;
        slot := run.slot;
        if not found then
            dead := -1;
        end if;
        if dead <> 0 then
            return next;
        end if;
    end loop;
    delete from revenant.run_notes n
    where n.ctid = any (array(
        select o.ctid from revenant.run_notes o where o.noted_at < revenant.now() - make_interval(days => 1)
        limit 100 for update skip locked
    ));
end
$$;

-- Promise: notes who is about to handle a message; returns how many workers have died while they handled it so noted.
-- Locks: the message's row in suspects.
create or replace function revenant.note_suspect_v1(
    worker uuid, bucket smallint, kind text, key text, seq bigint, id uuid
) returns integer language plpgsql volatile as $$
declare
    counted integer;
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    insert into revenant.suspects as s (bucket, id, kind, key, seq, worker)
    values (
        note_suspect_v1.bucket, note_suspect_v1.id, note_suspect_v1.kind, note_suspect_v1.key, note_suspect_v1.seq,
        note_suspect_v1.worker
    )
    on conflict on constraint suspects_pkey do update
    set worker = excluded.worker, seq = excluded.seq, noted_at = revenant.now(),
        deaths = s.deaths + case
            -- A worker that left in good order has no row; one that lives only failed to commit.
            when s.worker <> excluded.worker and exists (
                select from revenant.workers w
                where w.id = s.worker and not exists (
                    select from pg_stat_get_activity(w.backend_pid) a
                    where coalesce(a.backend_start, w.backend_start) = w.backend_start
                )
            ) then 1
            else 0
        end
    returning s.deaths into counted;
    return counted;
end
$$;

-- Promise: as note_suspect_v1; one that has not beaten for as long as that takes, and had the message so noted, has died of it as well.
-- Locks: the message's row in suspects.
create or replace function revenant.note_suspect_v2(
    worker uuid, bucket smallint, kind text, key text, seq bigint, id uuid
) returns integer language plpgsql volatile as $$
declare
    counted integer;
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    insert into revenant.suspects as s (bucket, id, kind, key, seq, worker)
    values (
        note_suspect_v2.bucket, note_suspect_v2.id, note_suspect_v2.kind, note_suspect_v2.key, note_suspect_v2.seq,
        note_suspect_v2.worker
    )
    on conflict on constraint suspects_pkey do update
    set worker = excluded.worker, seq = excluded.seq, noted_at = revenant.now(),
        deaths = s.deaths + case
            -- A worker that left in good order has no row; one that lives only failed to commit.
            when s.worker <> excluded.worker and not revenant.alive_v1(s.worker)
                and exists (select from revenant.workers w where w.id = s.worker) then 1
            else 0
        end
    returning s.deaths into counted;
    return counted;
end
$$;

-- Promise: notes what a worker is about to handle together; returns the places (from 1) of the entities to leave out: with a message under suspicion.
-- Locks: those of suspect_noted_v1; then the lane's own note.
create or replace function revenant.note_turn_v1(
    worker uuid, lane text, buckets smallint[], kinds text[], keys text[], firsts bigint[], lasts bigint[]
) returns setof integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    perform revenant.suspect_noted_v1(note_turn_v1.worker);
    insert into revenant.notes as n (
        worker, lane, backend_pid, backend_start, buckets, kinds, keys, firsts, lasts, noted_at
    )
    select note_turn_v1.worker, note_turn_v1.lane, a.pid, a.backend_start, note_turn_v1.buckets, note_turn_v1.kinds,
        note_turn_v1.keys, note_turn_v1.firsts, note_turn_v1.lasts, revenant.now()
    from pg_stat_get_activity(pg_backend_pid()) a
    on conflict on constraint notes_pkey do update
    set backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, buckets = excluded.buckets,
        kinds = excluded.kinds, keys = excluded.keys, firsts = excluded.firsts, lasts = excluded.lasts,
        noted_at = excluded.noted_at;
    return query
    select distinct h.slot::integer
    from unnest(
        note_turn_v1.buckets, note_turn_v1.kinds, note_turn_v1.keys, note_turn_v1.firsts, note_turn_v1.lasts
    ) with ordinality as h (bucket, kind, key, first, last, slot)
    join revenant.suspects s on s.bucket = h.bucket and s.kind = h.kind and s.key = h.key
        and s.seq between h.first and h.last
    where s.worker <> note_turn_v1.worker;
end
$$;

-- Promise: the clock that decides due times; tests set it, for one connection or for all of a database, in testing mode.
-- Locks: none.
create or replace function revenant.now() returns timestamptz language plpgsql volatile parallel safe as $$
begin
    -- Not in SQL: that would be parsed and planned anew by every statement that asks.
    if current_setting('revenant.testing', true) = 'on' then
        return coalesce(nullif(current_setting('revenant.fake_now', true), '')::timestamptz, clock_timestamp());
    elsif current_setting('revenant.testing', true) = 'clock' then
        -- A table, so that all connections have the same time at once, whenever they were made.
        return (select c.moment from revenant_testing.clock c);
    end if;
    return clock_timestamp();
end
$$;

-- Promise: which of the named entities still have a message at or after the named number; looks only.
-- Locks: none.
create or replace function revenant.peek_v1(buckets smallint[], kinds text[], keys text[], seqs bigint[])
returns setof integer language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.messages m
        where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq >= seqs[i]
        limit 1;
        if found then
            return next i;
        end if;
    end loop;
end
$$;

-- Promise: which of the named entities have a message at or after the named number, and no worker alive that keeps them; looks only.
-- Locks: none.
create or replace function revenant.peek_v2(buckets smallint[], kinds text[], keys text[], seqs bigint[])
returns setof integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    living uuid[];
    keeper uuid;
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.messages m
        where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq >= seqs[i]
        limit 1;
        continue when not found;
        select r.owner into keeper from revenant.residents r
        where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i];
        if found then
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            -- Its messages wait until it flushes: they are handled, or about to be.
            continue when keeper = any (living);
        end if;
        return next i;
    end loop;
end
$$;

-- Promise: adds versions to the histories; before an entity's first of a day, also the state as it was before it.
-- Locks: none that anybody waits for (inserts only); the entities' rows are those that the turn has locked.
create or replace function revenant.record_history_v1(
    buckets smallint[], kinds text[], keys text[], seqs bigint[], versions bigint[], vsns integer[], states text[],
    messages uuid[], handlers text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    day timestamptz := date_trunc('day', moment at time zone 'UTC') at time zone 'UTC';
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.history h
        where h.bucket = buckets[i] and h.kind = kinds[i] and h.key = keys[i] and h.at >= day and h.at <= moment
        limit 1;
        if not found then
            insert into revenant.history (bucket, kind, key, at, seq, version, vsn, state)
            select e.bucket, e.kind, e.key, moment, 0, e.version, e.vsn, e.state
            from revenant.entities e
            where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
        end if;
        insert into revenant.history (bucket, kind, key, at, seq, version, vsn, state, message, handler)
        values (
            buckets[i], kinds[i], keys[i], moment, seqs[i], versions[i], vsns[i], states[i]::jsonb,
            messages[i], handlers[i]
        );
    end loop;
end
$$;

-- Promise: says that this worker's application has these schedules; returns those whose current definition is its own.
-- Locks: the rows of schedules that it changes, in the order given; forgotten ones SKIP LOCKED.
create or replace function revenant.register_schedules_v1(
    names text[], digests bytea[], dues timestamptz[],
    everys double precision[], crons text[], timezones text[], misseds text[],
    buckets smallint[], kinds text[], keys text[], handlers text[], args text[]
) returns table (name text, due timestamptz) language plpgsql volatile as $$
declare
    moment timestamptz := revenant.now();
    fresh timestamptz := moment - make_interval(secs => 30);
    gone timestamptz := moment - make_interval(secs => 120);
    held revenant.schedules;
begin
    for i in 1 .. cardinality(names) loop
        insert into revenant.schedules (
            name, digest, due, every, cron, timezone, missed, bucket, kind, key, handler, args, since, seen_at
        ) values (
            names[i], digests[i], dues[i], everys[i], crons[i], timezones[i], misseds[i],
            buckets[i], kinds[i], keys[i], handlers[i], register_schedules_v1.args[i]::json, moment, moment
        )
        on conflict on constraint schedules_pkey do nothing;
        continue when found;
        -- Looked at without a lock first: as a rule there is nothing to change.
        select s.* into held from revenant.schedules s where s.name = names[i];
        continue when held.digest = digests[i] and held.seen_at > fresh;
        continue when held.digest <> digests[i] and held.seen_at > gone and digests[i] = any (held.former);
        select s.* into held from revenant.schedules s where s.name = names[i] for update;
        if held.digest = digests[i] then
            update revenant.schedules s set seen_at = moment where s.name = names[i];
        elsif held.seen_at <= gone or digests[i] <> all (held.former) then
            -- A definition that is new takes the name over. One that was current before, as an old worker that is
            -- started again brings it, does so only once nobody has the newer one any more.
            if held.seen_at <= gone then
                held.former := array_remove(held.former, digests[i]);
            else
                held.former := (held.digest || held.former)[1:50];
            end if;
            update revenant.schedules s
            set digest = digests[i], every = everys[i], cron = crons[i], timezone = timezones[i],
                missed = misseds[i], bucket = buckets[i], kind = kinds[i], key = keys[i], handler = handlers[i],
                args = register_schedules_v1.args[i]::json, former = held.former, since = moment, seen_at = moment,
                -- Where the times are the same the due time stays: an occurrence of these moments is not lost.
                due = case
                    when (s.every, s.cron, s.timezone) is not distinct from (everys[i], crons[i], timezones[i])
                    then s.due else dues[i]
                end
            where s.name = names[i];
        end if;
    end loop;
    delete from revenant.schedules s
    where s.ctid = any (array(
        select o.ctid from revenant.schedules o where o.seen_at < moment - make_interval(days => 1)
        for update skip locked
    ));
    return query
    select s.name, s.due from revenant.schedules s
    join unnest(names, digests) as own (name, digest) on s.name = own.name and s.digest = own.digest;
end
$$;

-- Promise: ends the residence of entities whose owner is dead, a page at a time; returns those for which messages wait.
-- Locks: the rows that it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.release_dead_v1(worker uuid, page integer)
returns table (bucket smallint, kind text, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen uuid := '00000000-0000-0000-0000-000000000000';
    resident record;
begin
    loop
        -- One index probe for each owner, however many entities it has.
        select r.owner into seen from revenant.residents r where r.owner > seen order by r.owner limit 1;
        exit when not found;
        continue when seen = worker or revenant.alive_v1(seen);
        perform set_config('synchronous_commit', 'off', true);
        for resident in
            delete from revenant.residents r
            where (r.bucket, r.kind, r.key) in (
                select o.bucket, o.kind, o.key from revenant.residents o
                where o.owner = seen limit page for update skip locked
            )
            returning r.bucket, r.kind, r.key
        loop
            perform 1 from revenant.messages m
            where m.bucket = resident.bucket and m.kind = resident.kind and m.key = resident.key limit 1;
            if found then
                bucket := resident.bucket; kind := resident.kind; key := resident.key;
                return next;
            end if;
        end loop;
    end loop;
end
$$;

-- Promise: moves due messages into their mailboxes, oldest first; returns wake-ups, then seconds to the next due time.
-- Locks: the scheduled rows that it moves, SKIP LOCKED, in order of due.
create or replace function revenant.release_due_v1(page integer)
returns table (hint text, next_due double precision) language plpgsql volatile as $$
declare
    moment timestamptz := revenant.now();
begin
    return query
    with due as (
        select s.bucket, s.id from revenant.scheduled s
        where s.due <= moment order by s.due limit page for update skip locked
    ),
    taken as (
        delete from revenant.scheduled s using due d where s.bucket = d.bucket and s.id = d.id returning s.*
    ),
    moved as (
        insert into revenant.messages (bucket, kind, key, id, handler, args, digest, attempts, sent_at)
        select t.bucket, t.kind, t.key, t.id, t.handler, t.args, t.digest, t.attempts, t.sent_at
        from taken t order by t.due
        returning messages.bucket, messages.kind, messages.key, messages.seq
    )
    select '[' || json_build_array(m.bucket, m.kind, m.key, m.seq)::text || ']', null::double precision from moved m;
    return query
    select null::text, extract(epoch from s.due - moment)::double precision
    from revenant.scheduled s order by s.due limit 1;
end
$$;

-- Promise: moves a page of due messages into their mailboxes, oldest first; returns their hints, then a row that says in how many seconds the next is due.
-- Locks: the scheduled rows that it moves, SKIP LOCKED, in order of due.
create or replace function revenant.release_due_v2(page integer)
returns table (bucket smallint, kind text, key text, seq bigint, next_due double precision) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
begin
    return query
    with due as (
        select s.ctid as tid, s.due from revenant.scheduled s
        where s.due <= moment order by s.due limit page for update skip locked
    ),
    taken as (
        delete from revenant.scheduled s using due d where s.ctid = d.tid returning s.*
    ),
    moved as (
        insert into revenant.messages (bucket, kind, key, id, handler, args, digest, attempts, sent_at)
        select t.bucket, t.kind, t.key, t.id, t.handler, t.args, t.digest, t.attempts, t.sent_at
        from taken t order by t.due
        returning messages.bucket, messages.kind, messages.key, messages.seq
    )
    select m.bucket, m.kind, m.key, m.seq, null::double precision from moved m;
    return query
    select null::smallint, null::text, null::text, null::bigint,
        extract(epoch from s.due - moment)::double precision
    from revenant.scheduled s order by s.due limit 1;
end
$$;

-- Promise: sets, replaces and cancels reminders in the order given; returns the seconds until the earliest of those set is due.
-- Locks: the reminders' rows, in the order given; their owner's row is locked by the turn, so only firing, which skips, meets them.
create or replace function revenant.remind_v1(
    buckets smallint[], kinds text[], keys text[], names text[], dues timestamptz[],
    everys double precision[], crons text[], timezones text[], misseds text[],
    to_buckets smallint[], to_kinds text[], to_keys text[], handlers text[], args text[]
) returns double precision language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        if dues[i] is null then
            -- Without a name: all that this entity has, since it is deleted.
            delete from revenant.reminders r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                and (names[i] is null or r.name = names[i]);
        else
            insert into revenant.reminders as r (
                bucket, kind, key, name, due, every, cron, timezone, missed,
                to_bucket, to_kind, to_key, handler, args
            ) values (
                buckets[i], kinds[i], keys[i], names[i], dues[i], everys[i], crons[i], timezones[i], misseds[i],
                to_buckets[i], to_kinds[i], to_keys[i], handlers[i], args[i]::json
            )
            on conflict (bucket, kind, key, name) do update
            set due = excluded.due, every = excluded.every, cron = excluded.cron, timezone = excluded.timezone,
                missed = excluded.missed, to_bucket = excluded.to_bucket, to_kind = excluded.to_kind,
                to_key = excluded.to_key, handler = excluded.handler, args = excluded.args,
                set_at = excluded.set_at, fired_at = null;
        end if;
    end loop;
    return (select extract(epoch from min(d.due) - revenant.now())::double precision from unnest(dues) as d (due));
end
$$;

-- Promise: holds a claimed step for so many seconds from now; raises RV002 where the claim does not hold any more.
-- Locks: the step's row.
create or replace function revenant.renew_step(token uuid, seconds double precision default 30)
returns timestamptz language plpgsql volatile as $$
declare
    task revenant.run_tasks := revenant.held_step_v1(renew_step.token);
    moment timestamptz := revenant.now() + revenant.hold_time_v1(seconds);
begin
    update revenant.run_tasks t set held_until = moment
    where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
    return moment;
end
$$;

-- Promise: the reply to a message that was called, once there is one and while it is kept; before and after that no row.
-- Locks: none.
create or replace function revenant.reply(id uuid)
returns table (status text, version bigint, body json) language sql stable as $$
    select r.status, r.version, r.body from revenant.replies r
    where r.bucket = get_byte(uuid_send(reply.id), 15)::smallint and r.id = reply.id
$$;

-- Promise: removes what a handler has left on its session: temporary tables, prepared statements, advisory locks, LISTEN.
-- Locks: none new but those of dropped temporary tables; gives up the session's advisory locks.
create or replace function revenant.restore_session_v1() returns void language plpgsql volatile as $$
declare
    prepared name;
begin
    unlisten *;
    discard temp;
    perform pg_advisory_unlock_all();
    -- Those that psycopg has prepared, by the protocol, it counts on.
    for prepared in select p.name from pg_prepared_statements p where p.from_sql loop
        execute format('deallocate %I', prepared);
    end loop;
end
$$;

-- Promise: stores one client's batch of messages for later exactly once, however often it is retried.
-- Locks: the batch's row in sends (a retry waits for its first try); the NOTIFY lock during its commit, if due soon.
create or replace function revenant.schedule_batch_v1(
    batch uuid, buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    digests bytea[], attempts smallint[], delays double precision[], dues timestamptz[]
) returns void language plpgsql volatile as $$
begin
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if found then
        -- For clients of before schedule_batch_v2: their workers looked twice a second, and these do not.
        perform pg_notify('revenant_due', due.seconds::text)
        from (
            select revenant.schedule_v2(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
        ) as due (seconds)
        where due.seconds < 5;
    end if;
end
$$;

-- Promise: as schedule_batch_v1; returns the seconds until the earliest of these messages is due, 0 on a retry.
-- Locks: the batch's row in sends (a retry waits for its first try).
create or replace function revenant.schedule_batch_v2(
    batch uuid, buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    digests bytea[], attempts smallint[], delays double precision[], dues timestamptz[]
) returns double precision language plpgsql volatile as $$
begin
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        return 0;
    end if;
    return revenant.schedule_v2(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues);
end
$$;

-- Promise: stores messages that become due later, by the database's clock; an id that is scheduled already stays as it is.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.schedule_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], delays double precision[], dues timestamptz[]
) returns void language sql volatile as $$
    insert into revenant.scheduled (bucket, kind, key, id, handler, args, digest, attempts, due)
    select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts,
        coalesce(m.due, revenant.now() + make_interval(secs => m.delay))
    from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
        as m (bucket, kind, key, id, handler, args, digest, attempts, delay, due)
    on conflict (bucket, id) do nothing
$$;

-- Promise: as schedule_v1; returns the seconds until the earliest of these messages is due, for a wake-up after the commit.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.schedule_v2(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], delays double precision[], dues timestamptz[]
) returns double precision language sql volatile as $$
    with stored as (
        insert into revenant.scheduled (bucket, kind, key, id, handler, args, digest, attempts, due)
        select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts,
            coalesce(m.due, revenant.now() + make_interval(secs => m.delay))
        from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
            as m (bucket, kind, key, id, handler, args, digest, attempts, delay, due)
        on conflict (bucket, id) do nothing
        returning due
    )
    select extract(epoch from min(s.due) - revenant.now())::double precision from stored s
$$;

-- Promise: puts messages into their mailboxes, in the order given, and returns the wake-up payloads that name them.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.send_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    origins text[], digests bytea[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
declare
    sent record;
    hint text;
    page text := '';
begin
    for sent in
        insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
        select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.origin, m.digest
        from unnest(buckets, kinds, keys, ids, handlers, args, origins, digests)
            with ordinality as m (bucket, kind, key, id, handler, args, origin, digest, place)
        order by m.place
        returning messages.bucket, messages.kind, messages.key, messages.seq
    loop
        hint := json_build_array(sent.bucket, sent.kind, sent.key, sent.seq)::text;
        -- A payload must stay under 8,000 bytes.
        if octet_length(page) + octet_length(hint) > 7900 then
            return next '[' || page || ']';
            page := '';
        end if;
        page := case when page = '' then hint else page || ',' || hint end;
    end loop;
    if page <> '' then
        return next '[' || page || ']';
    end if;
end
$$;

-- Promise: as settle_v1, for one message of one entity, by look-ups that need no arrays.
-- Locks: none new; the entity's row and mailbox are those that claim_one_v1 or claim_v2 locked.
create or replace function revenant.settle_one_v1(
    tid text, bucket smallint, kind text, key text,
    expected bigint, version bigint, vsn integer, state text, applied bigint,
    message_tid text, seq bigint,
    reply_id uuid, reply_status text, reply_version bigint, reply_body text, reply_digest bytea, reply_ttl double precision
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    -- What idle_delete is reckoned from, and so by the clock that tests move.
    moment timestamptz := revenant.now();
begin
    -- Every row is reached by its ctid, as it was locked: no index is read, whatever the statistics say.
    if tid is not null then
        update revenant.entities e
        set version = settle_one_v1.version, vsn = settle_one_v1.vsn, state = settle_one_v1.state::jsonb,
            applied = case when e.recent_at < now() - make_interval(secs => 2) then e.recent else e.applied end,
            recent = case
                when e.recent_at < now() - make_interval(secs => 2) then greatest(e.recent, settle_one_v1.applied)
                else e.recent
            end,
            recent_at = case when e.recent_at < now() - make_interval(secs => 2) then now() else e.recent_at end,
            updated_at = moment
        where e.ctid = settle_one_v1.tid::tid and e.version = settle_one_v1.expected
            and e.bucket = settle_one_v1.bucket and e.kind = settle_one_v1.kind and e.key = settle_one_v1.key;
    else
        insert into revenant.entities (
            bucket, kind, key, version, vsn, state, applied, recent, created_at, updated_at
        )
        values (
            settle_one_v1.bucket, settle_one_v1.kind, settle_one_v1.key, settle_one_v1.version, settle_one_v1.vsn,
            settle_one_v1.state::jsonb, 0, settle_one_v1.applied, moment, moment
        )
        on conflict do nothing;
    end if;
    if not found then
        raise exception 'the rows of 1 entities are not as they were locked' using errcode = 'RV001';
    end if;
    delete from revenant.messages m where m.ctid = settle_one_v1.message_tid::tid and m.seq = settle_one_v1.seq;
    if not found then
        raise exception '1 messages have left their mailboxes' using errcode = 'RV001';
    end if;
    if reply_id is not null then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        values (
            settle_one_v1.bucket, reply_id, reply_status, reply_version, reply_body::json, reply_digest,
            now() + make_interval(secs => reply_ttl)
        );
    end if;
end
$$;

-- Promise: takes messages that runs have read out of their mailboxes, each as it was read, and writes replies; or raises RV001 and writes nothing.
-- Locks: the messages' rows, in the order given; inside an append, which holds the heads of their runs.
create or replace function revenant.settle_runs_v1(
    message_tids text[], seqs bigint[], message_ids uuid[],
    reply_ids uuid[], reply_statuses text[], reply_versions bigint[], reply_bodies text[],
    reply_digests bytea[], reply_ttls double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    step integer;
begin
    if cardinality(seqs) > 0 then
        -- By its place, and by nothing that an index has, as settle_v1. By its id, too: a run's messages are read in an
        -- earlier transaction, and after a crash of the server a number, and a place, are given away again.
        delete from revenant.messages m
        using unnest(message_tids::tid[], seqs, message_ids) as c (tid, seq, id)
        where m.ctid = c.tid and m.seq is not distinct from c.seq and m.id is not distinct from c.id;
        get diagnostics step = row_count;
        if step < cardinality(seqs) then
            raise exception '% messages have left their mailboxes', cardinality(seqs) - step using errcode = 'RV001';
        end if;
    end if;
    if cardinality(reply_ids) > 0 then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        select get_byte(uuid_send(r.id), 15), r.id, r.status, r.version, r.body::json, r.digest,
            now() + make_interval(secs => r.ttl)
        from unnest(reply_ids, reply_statuses, reply_versions, reply_bodies, reply_digests, reply_ttls)
            as r (id, status, version, body, digest, ttl);
    end if;
end
$$;

-- Promise: writes what a turn did: states (fenced by version), consumed messages, replies; or raises RV001 and writes nothing.
-- Locks: none new; entity rows and mailboxes are those that claim_v1 locked.
create or replace function revenant.settle_v1(
    tids text[], buckets smallint[], kinds text[], keys text[],
    expected bigint[], versions bigint[], vsns integer[], states text[], applied bigint[],
    message_tids text[], seqs bigint[],
    reply_ids uuid[], reply_statuses text[], reply_versions bigint[], reply_bodies text[],
    reply_digests bytea[], reply_ttls double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- What idle_delete is reckoned from, and so by the clock that tests move; once, and not for each row.
    moment timestamptz := revenant.now();
    written integer := 0;
    step integer;
begin
    -- Every row is reached by its ctid, as it was locked: no index is read, whatever the statistics say. What else is
    -- compared is so with `is not distinct from`: `=` on what an index has makes reading all of that a way to join.
    if cardinality(keys) > 0 then
        update revenant.entities e
        set version = w.version, vsn = w.vsn, state = w.state::jsonb,
            applied = case when e.recent_at < now() - make_interval(secs => 2) then e.recent else e.applied end,
            recent = case
                when e.recent_at < now() - make_interval(secs => 2) then greatest(e.recent, w.applied) else e.recent
            end,
            recent_at = case when e.recent_at < now() - make_interval(secs => 2) then now() else e.recent_at end,
            updated_at = moment
        from unnest(tids::tid[], buckets, kinds, keys, expected, versions, settle_v1.vsns, states, settle_v1.applied)
            as w (tid, bucket, kind, key, expected, version, vsn, state, applied)
        where e.ctid = w.tid and e.version = w.expected and w.state is not null
            and (e.bucket, e.kind, e.key) is not distinct from (w.bucket, w.kind, w.key);
        get diagnostics written = row_count;
        if written < cardinality(keys) then
            insert into revenant.entities (
                bucket, kind, key, version, vsn, state, applied, recent, created_at, updated_at
            )
            select w.bucket, w.kind, w.key, w.version, w.vsn, w.state::jsonb, 0, w.applied, moment, moment
            from unnest(tids::tid[], buckets, kinds, keys, versions, settle_v1.vsns, states, settle_v1.applied)
                as w (tid, bucket, kind, key, version, vsn, state, applied)
            where w.tid is null
            on conflict do nothing;
            get diagnostics step = row_count;
            written := written + step;
            delete from revenant.entities e
            using unnest(tids::tid[], expected, states) as w (tid, expected, state)
            where e.ctid = w.tid and e.version = w.expected and w.state is null;
            get diagnostics step = row_count;
            written := written + step;
            if step > 0 then
                -- Workers of before 0002 do not know of reminders. Those that this turn has set itself stay.
                for i in 1 .. cardinality(keys) loop
                    continue when states[i] is not null;
                    delete from revenant.reminders r
                    where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                        and r.xmin::text <> pg_current_xact_id()::xid::text;
                end loop;
            end if;
        end if;
        if written < cardinality(keys) then
            raise exception 'the rows of % entities are not as they were locked', cardinality(keys) - written
                using errcode = 'RV001';
        end if;
    end if;
    delete from revenant.messages m
    using unnest(message_tids::tid[], seqs) as c (tid, seq)
    where m.ctid = c.tid and m.seq is not distinct from c.seq;
    get diagnostics step = row_count;
    if step < cardinality(seqs) then
        raise exception '% messages have left their mailboxes', cardinality(seqs) - step using errcode = 'RV001';
    end if;
    if cardinality(reply_ids) > 0 then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        select get_byte(uuid_send(r.id), 15), r.id, r.status, r.version, r.body::json, r.digest,
            now() + make_interval(secs => r.ttl)
        from unnest(reply_ids, reply_statuses, reply_versions, reply_bodies, reply_digests, reply_ttls)
            as r (id, status, version, body, digest, ttl);
    end if;
end
$$;

-- Promise: signals a run from plain SQL or a trigger, if and only if you commit; those of one signal_id count once.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.signal(
    workflow text, id text, name text, payload json default 'null', signal_id text default null
) returns uuid language plpgsql volatile as $$
begin
    perform revenant.check_run_v1(workflow, signal.id);
    if (name <> '') is not true or signal_id = '' then
        raise exception 'a signal needs a name, and an id or none, but no empty ones; nothing was sent'
            using errcode = '22023', hint = 'Name the signal that the run waits for; those of one signal_id count once.';
    end if;
    return revenant.cast(
        'run:' || workflow, signal.id, 'signal', json_build_object('name', name, 'payload', payload, 'id', signal_id)
    );
end
$$;

-- Promise: starts a run of a workflow from plain SQL or a trigger, if and only if you commit; one of that id that is there stays as it is.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.start(workflow text, id text, input json default 'null')
returns uuid language plpgsql volatile as $$
begin
    perform revenant.check_run_v1(workflow, start.id);
    return revenant.cast('run:' || workflow, start.id, 'start', json_build_object('input', input));
end
$$;

-- Promise: the messages that wait still, of all that dead workers had noted together, become suspects: charged with nothing, but where one was all that its worker had in hand.
-- Locks: an advisory lock, if there is such a note; then those notes; then the messages' rows in suspects, in order.
create or replace function revenant.suspect_noted_v1(worker uuid) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Nobody in particular: never a worker that has a row.
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    left_behind uuid[];
    lanes text[];
begin
    if not exists (select from revenant.notes n where n.worker <> suspect_noted_v1.worker) then
        return;
    end if;
    select array_agg(n.worker), array_agg(n.lane) into left_behind, lanes
    from revenant.notes n
    where n.worker <> suspect_noted_v1.worker and (
        not revenant.alive_v1(n.worker) or not exists (
            -- Another role's start time is hidden (null): then the pid alone has to do.
            select from pg_stat_get_activity(n.backend_pid) a
            where coalesce(a.backend_start, n.backend_start) = n.backend_start
        )
    );
    if left_behind is null then
        return;
    end if;
    -- Whoever comes second waits, so that it sees the suspects of the first.
    perform pg_advisory_xact_lock(hashtextextended('revenant.notes', 7));
    insert into revenant.suspects (bucket, id, kind, key, seq, worker)
    select f.bucket, f.id, f.kind, f.key, f.seq,
        case when count(*) over (partition by f.worker) = 1 then f.worker else nobody end
    from (
        select distinct on (m.bucket, m.id) m.bucket, m.id, m.kind, m.key, m.seq, n.worker
        from unnest(left_behind, lanes) as dead (worker, lane)
        join revenant.notes n on n.worker = dead.worker and n.lane = dead.lane
        cross join lateral unnest(n.buckets, n.kinds, n.keys, n.firsts, n.lasts) as h (bucket, kind, key, first, last)
        cross join lateral (
            select m.bucket, m.id, m.kind, m.key, m.seq
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq between h.first and h.last
        ) m
        order by m.bucket, m.id
    ) f
    order by f.bucket, f.id
    on conflict on constraint suspects_pkey do nothing;
    delete from revenant.notes n
    using unnest(left_behind, lanes) as dead (worker, lane)
    where n.worker = dead.worker and n.lane = dead.lane;
end
$$;

-- Promise: reads one page of a bucket's replies from an id on, removes those that have expired; returns the last id, null at the end.
-- Locks: the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_replies_v1(bucket smallint, after uuid, page integer) returns uuid
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    reply record;
    expired tid[] := '{}';
    seen integer := 0;
    last uuid;
begin
    -- By the primary key, so a round reads a page, however many receipts there are, and needs no index of its own.
    for reply in
        select r.ctid as tid, r.id, r.expires_at < now() as is_old
        from revenant.replies r
        where r.bucket = tidy_replies_v1.bucket and r.id > after
        order by r.id
        limit page
    loop
        seen := seen + 1; last := reply.id;
        if reply.is_old then
            expired := expired || reply.tid;
        end if;
    end loop;
    if cardinality(expired) > 0 then
        delete from revenant.replies r
        where r.ctid = any (array(
            select e.ctid from revenant.replies e
            where e.ctid = any (expired) and e.expires_at < now()
            for update skip locked
        ));
    end if;
    return case when seen = page then last end;
end
$$;

-- Promise: removes old batch markers, notes and traces, and rows of workers long gone; returns how many.
-- Locks: an advisory lock so that one worker at a time does it; then the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_v1(page integer) returns integer language plpgsql volatile as $$
declare
    removed integer := 0;
    step integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('revenant.tidy', 7)) then
        return 0;
    end if;
    delete from revenant.sends s
    where s.ctid = any (array(
        select o.ctid from revenant.sends o where o.sent_at < now() - make_interval(hours => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    delete from revenant.workers w
    where w.ctid = any (array(
        select g.ctid from revenant.workers g where g.heartbeat_at < now() - make_interval(mins => 10)
        for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    -- Notes of messages that were handled later, when nobody was cautious any more; traces of handled messages.
    delete from revenant.suspects s
    where s.ctid = any (array(
        select o.ctid from revenant.suspects o where o.noted_at < now() - make_interval(days => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    delete from revenant.traces t
    where t.ctid = any (array(
        select o.ctid from revenant.traces o where o.sent_at < now() - make_interval(days => 7)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    return removed + step;
end
$$;

-- Promise: removes old batch markers, notes, traces and answers of claims, and rows of workers long gone; returns how many.
-- Locks: an advisory lock so that one worker at a time does it; then the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_v2(page integer) returns integer language plpgsql volatile as $$
declare
    removed integer := 0;
    step integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('revenant.tidy', 7)) then
        return 0;
    end if;
    delete from revenant.sends s
    where s.ctid = any (array(
        select o.ctid from revenant.sends o where o.sent_at < now() - make_interval(hours => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    delete from revenant.workers w
    where w.ctid = any (array(
        select g.ctid from revenant.workers g where g.heartbeat_at < now() - make_interval(mins => 10)
        for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    -- Notes of messages that were handled later, when nobody was cautious any more; traces of handled messages.
    delete from revenant.suspects s
    where s.ctid = any (array(
        select o.ctid from revenant.suspects o where o.noted_at < now() - make_interval(days => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    delete from revenant.traces t
    where t.ctid = any (array(
        select o.ctid from revenant.traces o where o.sent_at < now() - make_interval(days => 7)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    removed := removed + step;
    -- Whoever has not heard for a day that a step was ended has given up.
    delete from revenant.step_answers s
    where s.ctid = any (array(
        select o.ctid from revenant.step_answers o where o.at < now() - make_interval(days => 1)
        limit page for update skip locked
    ));
    get diagnostics step = row_count;
    return removed + step;
end
$$;

-- Promise: notes that messages reached these entities, where the last note of it is older than its slack (seconds).
-- Locks: the entities' rows, SKIP LOCKED, in the order given; as a rule the turn holds them already.
create or replace function revenant.touch_v1(
    buckets smallint[], kinds text[], keys text[], slacks double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
begin
    for i in 1 .. cardinality(keys) loop
        perform from revenant.entities e
        where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i]
            and greatest(e.updated_at, e.touched_at) < moment - make_interval(secs => slacks[i])
        for no key update skip locked;
        if found then
            update revenant.entities e set touched_at = moment
            where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
        end if;
    end loop;
end
$$;

-- Promise: as visit_v1, for one entity that this worker has owned already, by look-ups that need no arrays; each row comes with the clock, and where nothing waits there is one that says `nothing`.
-- Locks: none.
create or replace function revenant.visit_one_v1(
    worker uuid, bucket smallint, kind text, key text, fence bigint, since bigint, known integer, last bigint,
    message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, held_fence bigint, version bigint, vsn integer, state text,
    seq bigint, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea, moment timestamptz
) language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    mark bigint := since;
    waiting integer;
    taken integer := 0;
    bytes bigint := 0;
begin
    slot := 1; moment := revenant.now();
    if (
        select r.owner = visit_one_v1.worker and r.fence = visit_one_v1.fence from revenant.residents r
        where r.bucket = visit_one_v1.bucket and r.kind = visit_one_v1.kind and r.key = visit_one_v1.key
        limit 1
    ) is not true then
        outcome := 'lost';
        return next;
        return;
    end if;
    if since = 0 and known > 0 then
        select count(*) into waiting from revenant.messages m
        where m.bucket = visit_one_v1.bucket and m.kind = visit_one_v1.kind and m.key = visit_one_v1.key
            and m.seq <= last;
        if waiting = known then
            -- So far only what the owner has handled already, and not yet flushed: what is new comes behind.
            mark := last + 1;
        end if;
    end if;
    outcome := 'claimed';
    for seq, id, handler, args, origin, digest, attempts in
        select m.seq, m.id::text, m.handler, m.args::text, m.origin, m.digest, m.attempts
        from revenant.messages m
        where m.bucket = visit_one_v1.bucket and m.kind = visit_one_v1.kind and m.key = visit_one_v1.key
            and m.seq >= mark
        order by m.seq
        limit message_limit + 1
    loop
        if taken = message_limit or (taken > 0 and bytes >= byte_limit) then
            outcome := 'later';
            return next;
            return;
        end if;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = visit_one_v1.bucket and r.id = visit_one_v1.id::uuid;
        end if;
        taken := taken + 1; bytes := bytes + octet_length(args);
        return next;
    end loop;
    if taken = 0 then
        outcome := 'nothing';
        return next;
    end if;
end
$$;

-- Promise: of each named run: where it stands, the messages that wait for it in order, and, where those known are not all, its last snapshot, the events since, and its steps' progress.
-- Locks: none: what was read here is fenced when it is appended to.
create or replace function revenant.visit_runs_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[],
    known_runs uuid[], known_seqs bigint[], known_fences bigint[], owned boolean[], forced boolean[],
    formats text[], message_limit integer, byte_limit bigint
) returns table (
    slot integer, part text, seq bigint, tid text, id text, name text, body text, origin text, digest bytea,
    fence bigint, op integer, at timestamptz, version integer, verdict text
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    streams uuid[] := array_fill(null::uuid, array[cardinality(keys)]);
    ends bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    looks boolean[] := array_fill(false, array[cardinality(keys)]);
    reads boolean[] := array_fill(false, array[cardinality(keys)]);
    living uuid[];
    head record;
    message record;
    event record;
    since bigint;
    total integer := 0;
    bytes bigint := 0;
    read_any boolean := false;
    cut integer := cardinality(keys) + 1;
begin
    part := 'head';
    for head in
        select h.slot::integer as slot, h.forced, h.ours, r.*,
            coalesce(r.run = h.known_run and r.seq = h.known_seq and r.fence = h.known_fence, false) as known
        from unnest(buckets, kinds, keys, known_runs, known_seqs, known_fences, owned, forced)
            with ordinality as h (bucket, kind, key, known_run, known_seq, known_fence, ours, forced, slot)
        left join lateral (
            select r.run, r.seq, r.status, r.problem, r.origin, r.digest, r.fence, r.recoveries, r.version, r.owner
            from revenant.run_heads r
            where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
        ) r on true
        order by h.slot
    loop
        slot := head.slot; verdict := 'free';
        if head.owner is not null then
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            verdict := case
                when head.owner = worker then 'ours' when head.owner = any (living) then 'elsewhere' else 'dead'
            end;
        end if;
        tid := case when head.known then 'known' end;
        seq := head.seq; id := head.run::text; name := head.status; body := head.problem; origin := head.origin;
        digest := head.digest; fence := head.fence; op := head.recoveries; version := head.version;
        return next;
        continue when verdict = 'elsewhere';
        looks[slot] := true;
        continue when head.run is null or head.known or head.status in ('completed', 'failed', 'cancelled');
        streams[slot] := head.run; ends[slot] := head.seq;
        -- A run is read from its beginning only when there is something to be done about it.
        reads[slot] := head.forced or (head.owner is not null and not (head.owner = worker and head.ours));
    end loop;

    part := 'message'; verdict := null; fence := null; op := null; version := null;
    -- In a later snapshot than the heads': what their last owners consumed is not seen again.
    for message in
        select h.slot::integer as slot, m.*
        from unnest(buckets, kinds, keys, looks) with ordinality as h (bucket, kind, key, looks, slot)
        cross join lateral (
            select m.seq, m.ctid::text as tid, m.id::text as id, m.handler, m.args::text as args, m.origin, m.digest
            from revenant.messages m
            where h.looks and m.bucket = h.bucket and m.kind = h.kind and m.key = h.key
            order by m.seq
            -- One more, to know whether there are more.
            limit message_limit + 1
        ) m
        order by h.slot, m.seq
    loop
        if total >= message_limit or (total > 0 and bytes >= byte_limit) then
            cut := message.slot;
            exit;
        end if;
        slot := message.slot; seq := message.seq; tid := message.tid; id := message.id; name := message.handler;
        body := message.args; origin := message.origin; digest := message.digest;
        total := total + 1; bytes := bytes + octet_length(body);
        reads[slot] := true;
        return next;
    end loop;

    part := 'more'; tid := null; body := null;
    for i in cut .. cardinality(keys) loop
        slot := i;
        return next;
    end loop;

    tid := null; id := null; origin := null; digest := null;
    for i in 1 .. cardinality(keys) loop
        continue when not reads[i] or streams[i] is null;
        slot := i; part := 'later';
        if bytes >= byte_limit and read_any then
            -- A run is read whole, or not yet.
            seq := null; name := null; op := null; at := null; body := null;
            return next;
            continue;
        end if;
        read_any := true; since := 0;
        if formats[i] is not null then
            select s.seq, s.view::text into seq, body from revenant.run_snapshots s
            where s.bucket = buckets[i] and s.run = streams[i] and s.format = formats[i] and s.seq <= ends[i];
            if found then
                part := 'snapshot'; name := null; since := seq; bytes := bytes + octet_length(body);
                return next;
            end if;
        end if;
        part := 'event';
        for event in
            select e.seq, e.type, e.op, e.at, e.data::text as data from revenant.run_events e
            where e.bucket = buckets[i] and e.run = streams[i] and e.seq > since and e.seq <= ends[i]
            order by e.seq
        loop
            seq := event.seq; name := event.type; op := event.op; at := event.at; body := event.data;
            bytes := bytes + octet_length(body);
            return next;
        end loop;
        part := 'progress'; seq := null; name := null; at := null;
        for event in
            select p.op, p.progress::text as data from revenant.run_progress p
            where p.bucket = buckets[i] and p.run = streams[i]
        loop
            op := event.op; body := event.data;
            return next;
        end loop;
        op := null; at := null;
    end loop;
end
$$;

-- Promise: of each named run: where it stands, the messages that wait for it in order, and, where those known are not all, its last snapshot, the events since, and its steps' progress.
-- Locks: none: what was read here is fenced when it is appended to.
create or replace function revenant.visit_runs_v2(
    worker uuid, buckets smallint[], kinds text[], keys text[],
    known_runs uuid[], known_seqs bigint[], known_fences bigint[], owned boolean[], forced boolean[],
    formats text[], message_limit integer, byte_limit bigint
) returns table (
    slot integer, part text, seq bigint, tid text, id text, name text, body text, origin text, digest bytea,
    fence bigint, op integer, at timestamptz, version integer, verdict text
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    streams uuid[] := array_fill(null::uuid, array[cardinality(keys)]);
    ends bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    looks boolean[] := array_fill(false, array[cardinality(keys)]);
    reads boolean[] := array_fill(false, array[cardinality(keys)]);
    living uuid[];
    head record;
    message record;
    event record;
    since bigint;
    total integer := 0;
    bytes bigint := 0;
    read_any boolean := false;
    cut integer := cardinality(keys) + 1;
begin
    part := 'head';
    for head in
        select h.slot::integer as slot, h.forced, h.ours, r.*,
            coalesce(r.run = h.known_run and r.seq = h.known_seq and r.fence = h.known_fence, false) as known
        from unnest(buckets, kinds, keys, known_runs, known_seqs, known_fences, owned, forced)
            with ordinality as h (bucket, kind, key, known_run, known_seq, known_fence, ours, forced, slot)
        left join lateral (
            select r.run, r.seq, r.status, r.problem, r.origin, r.digest, r.fence, r.recoveries, r.version, r.owner
            from revenant.run_heads r
            where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
            -- A look-up each: without this it is a join, planned by how many runs there were at the session's first visit.
            limit 1
        ) r on true
        order by h.slot
    loop
        slot := head.slot; verdict := 'free';
        if head.owner is not null then
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            verdict := case
                when head.owner = worker then 'ours' when head.owner = any (living) then 'elsewhere' else 'dead'
            end;
        end if;
        tid := case when head.known then 'known' end;
        seq := head.seq; id := head.run::text; name := head.status; body := head.problem; origin := head.origin;
        digest := head.digest; fence := head.fence; op := head.recoveries; version := head.version;
        return next;
        continue when verdict = 'elsewhere';
        looks[slot] := true;
        continue when head.run is null or head.known or head.status in ('completed', 'failed', 'cancelled');
        streams[slot] := head.run; ends[slot] := head.seq;
        -- A run is read from its beginning only when there is something to be done about it.
        reads[slot] := head.forced or (head.owner is not null and not (head.owner = worker and head.ours));
    end loop;

    part := 'message'; verdict := null; fence := null; op := null; version := null;
    -- In a later snapshot than the heads': what their last owners consumed is not seen again.
    for message in
        select h.slot::integer as slot, m.*
        from unnest(buckets, kinds, keys, looks) with ordinality as h (bucket, kind, key, looks, slot)
        cross join lateral (
            select m.seq, m.ctid::text as tid, m.id::text as id, m.handler, m.args::text as args, m.origin, m.digest
            from revenant.messages m
            where h.looks and m.bucket = h.bucket and m.kind = h.kind and m.key = h.key
            order by m.seq
            -- One more, to know whether there are more.
            limit message_limit + 1
        ) m
        order by h.slot, m.seq
    loop
        if total >= message_limit or (total > 0 and bytes >= byte_limit) then
            cut := message.slot;
            exit;
        end if;
        slot := message.slot; seq := message.seq; tid := message.tid; id := message.id; name := message.handler;
        body := message.args; origin := message.origin; digest := message.digest;
        total := total + 1; bytes := bytes + octet_length(body);
        reads[slot] := true;
        return next;
    end loop;

    part := 'more'; tid := null; body := null;
    for i in cut .. cardinality(keys) loop
        slot := i;
        return next;
    end loop;

    tid := null; id := null; origin := null; digest := null;
    for i in 1 .. cardinality(keys) loop
        continue when not reads[i] or streams[i] is null;
        slot := i; part := 'later';
        if bytes >= byte_limit and read_any then
            -- A run is read whole, or not yet.
            seq := null; name := null; op := null; at := null; body := null;
            return next;
            continue;
        end if;
        read_any := true; since := 0;
        if formats[i] is not null then
            select s.seq, s.view::text into seq, body from revenant.run_snapshots s
            where s.bucket = buckets[i] and s.run = streams[i] and s.format = formats[i] and s.seq <= ends[i];
            if found then
                part := 'snapshot'; name := null; since := seq; bytes := bytes + octet_length(body);
                return next;
            end if;
        end if;
        part := 'event';
        for event in
            select e.seq, e.type, e.op, e.at, e.data::text as data from revenant.run_events e
            where e.bucket = buckets[i] and e.run = streams[i] and e.seq > since and e.seq <= ends[i]
            order by e.seq
        loop
            seq := event.seq; name := event.type; op := event.op; at := event.at; body := event.data;
            bytes := bytes + octet_length(body);
            return next;
        end loop;
        part := 'progress'; seq := null; name := null; at := null;
        for event in
            select p.op, p.progress::text as data from revenant.run_progress p
            where p.bucket = buckets[i] and p.run = streams[i]
        loop
            op := event.op; body := event.data;
            return next;
        end loop;
        op := null; at := null;
    end loop;
end
$$;

-- Promise: makes this worker the owner of named entities that nobody alive owns, then reads the messages of those it owns, in order.
-- Locks: the rows of residents that it takes over or makes, in key order; it waits only for another visit that makes the same row.
create or replace function revenant.visit_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], since bigint[],
    counts integer[], lasts bigint[], vsns integer[], entity_limit integer, message_limit integer, byte_limit bigint
) returns table (
    slot integer, outcome text, fence bigint, version bigint, vsn integer, state text,
    seq bigint, id text, handler text, args text, origin text, digest bytea, attempts smallint,
    done_status text, done_version bigint, done_body text, done_digest bytea
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- Of full length from the start: an array that begins at another place than 1 is moved by unnest.
    marks bigint[] := array_fill(null::bigint, array[cardinality(keys)]);
    living uuid[];
    found_row record;
    message record;
    got bigint;
    waiting integer;
    share integer := least(entity_limit, greatest(32, message_limit / greatest(cardinality(keys), 1)));
    taken integer := 0;
    total integer := 0;
    bytes bigint := 0;
    last_slot integer := 0;
    skipped integer := 0;
begin
    for found_row in
        select h.slot::integer as slot, h.bucket, h.kind, h.key, h.fence as ours, h.since, h.vsn, h.count as known,
            h.last,
            r.owner, r.fence
        from unnest(buckets, kinds, keys, fences, since, vsns, counts, lasts)
            with ordinality as h (bucket, kind, key, fence, since, vsn, count, last, slot)
        left join lateral (
            select r.owner, r.fence from revenant.residents r
            where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
            -- A look-up each: without this it is a join, planned by how many residents there were at the first visit.
            limit 1
        ) r on true
        order by h.bucket, h.kind collate "C", h.key collate "C"
    loop
        slot := found_row.slot; outcome := null; got := null;
        if found_row.ours > 0 then
            if found_row.owner is distinct from worker or found_row.fence is distinct from found_row.ours then
                outcome := 'lost';
                return next;
                continue;
            end if;
            marks[slot] := found_row.since;
            if found_row.since = 0 and found_row.known > 0 then
                select count(*) into waiting from revenant.messages m
                where m.bucket = found_row.bucket and m.kind = found_row.kind and m.key = found_row.key
                    and m.seq <= found_row.last;
                if waiting = found_row.known then
                    -- So far only what the owner has handled already, and not yet flushed: what is new comes behind.
                    marks[slot] := found_row.last + 1;
                end if;
            end if;
            continue;
        end if;
        perform 1 from revenant.messages m
        where m.bucket = found_row.bucket and m.kind = found_row.kind and m.key = found_row.key limit 1;
        continue when not found;
        perform 1 from revenant.entities e
        where e.bucket = found_row.bucket and e.kind = found_row.kind and e.key = found_row.key
            and e.vsn > found_row.vsn;
        if found then
            outcome := 'newer';
            return next;
            continue;
        end if;
        -- What a crash of Postgres takes back, its owner finds out by the missing row.
        perform set_config('synchronous_commit', 'off', true);
        if found_row.owner is null then
            insert into revenant.residents as r (bucket, kind, key, owner)
            values (found_row.bucket, found_row.kind, found_row.key, worker)
            on conflict do nothing
            returning r.fence into got;
        else
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            if found_row.owner = worker or found_row.owner <> all (living) then
                perform 1 from revenant.residents r
                where r.bucket = found_row.bucket and r.kind = found_row.kind and r.key = found_row.key
                    and r.owner is not distinct from found_row.owner and r.fence = found_row.fence
                for no key update skip locked;
                if found then
                    update revenant.residents r set owner = worker, fence = default, since = now()
                    where r.bucket = found_row.bucket and r.kind = found_row.kind and r.key = found_row.key
                    returning r.fence into got;
                end if;
            end if;
        end if;
        if got is null then
            outcome := 'elsewhere';
            return next;
            continue;
        end if;
        -- In a later snapshot than the lock's: what the last owner flushed is seen. All of the mailbox is looked at.
        marks[slot] := 0; outcome := 'acquired'; fence := got; seq := found_row.fence;
        select e.version, e.vsn, e.state::text into version, vsn, state from revenant.entities e
        where e.bucket = found_row.bucket and e.kind = found_row.kind and e.key = found_row.key;
        version := coalesce(version, 0);
        bytes := bytes + coalesce(octet_length(state), 0);
        return next;
    end loop;

    outcome := null; fence := null; version := null; vsn := null; state := null; seq := null;
    for message in
        select h.slot::integer as slot, m.*
        from unnest(buckets, kinds, keys, marks) with ordinality as h (bucket, kind, key, mark, slot)
        cross join lateral (
            select m.seq, m.id, m.handler, m.args, m.origin, m.digest, m.attempts
            from revenant.messages m
            where m.bucket = h.bucket and m.kind = h.kind and m.key = h.key and m.seq >= h.mark
            order by m.seq
            limit share + 1
        ) m
        order by h.slot, m.seq
    loop
        slot := message.slot;
        continue when slot = skipped;
        if slot <> last_slot then
            last_slot := slot; taken := 0;
        end if;
        if taken = share or total >= message_limit or (total > 0 and bytes >= byte_limit) then
            outcome := 'later'; seq := message.seq; skipped := slot;
            return next;
            continue;
        end if;
        outcome := 'claimed';
        seq := message.seq; id := message.id::text; handler := message.handler; args := message.args::text;
        origin := message.origin; digest := message.digest; attempts := message.attempts;
        done_status := null; done_version := null; done_body := null; done_digest := null;
        if digest is not null then
            select r.status, r.version, r.body::text, r.digest
            into done_status, done_version, done_body, done_digest
            from revenant.replies r where r.bucket = buckets[slot] and r.id = message.id;
        end if;
        taken := taken + 1; total := total + 1;
        bytes := bytes + octet_length(args);
        return next;
    end loop;
end
$$;

-- Promise: the next entities that have waiting messages, from a cursor on, in index order; the net under lost hints.
-- Locks: none.
create or replace function revenant.waiting_v1(
    known text[], after_bucket smallint, after_kind text, after_key text, page integer
) returns table (bucket smallint, kind text, key text) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen_bucket smallint := after_bucket;
    seen_kind text := after_kind;
    seen_key text := after_key;
    probe record;
    taken integer := 0;
    any_left boolean := true;
begin
    while any_left loop
        any_left := false;
        -- A few rows at a time: entities with one message come many to a probe, and one with a million costs one probe.
        for probe in
            select m.bucket, m.kind, m.key
            from revenant.messages m
            where (m.bucket, m.kind, m.key) > (seen_bucket, seen_kind collate "C", seen_key collate "C")
            order by m.bucket, m.kind, m.key
            limit 32
        loop
            any_left := true;
            continue when probe.bucket = seen_bucket and probe.kind = seen_kind and probe.key = seen_key;
            seen_bucket := probe.bucket; seen_kind := probe.kind; seen_key := probe.key;
            if probe.kind <> all (known) then
                -- Nobody here serves that kind: go to the next kind, without a look at each of its keys.
                seen_key := repeat(U&'\+10FFFF', 129);
                exit;
            end if;
            bucket := probe.bucket; kind := probe.kind; key := probe.key;
            taken := taken + 1;
            return next;
            if taken = page then
                return;
            end if;
        end loop;
    end loop;
end
$$;

-- Promise: keeps how far steps are, the last word of each; nothing of a run that the worker does not own any more.
-- Locks: the steps' own rows, which nobody but the owner of their run writes.
create or replace function revenant.write_progress_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], runs uuid[], fences bigint[],
    ops integer[], attempts integer[], progresses text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        insert into revenant.run_progress as p (bucket, run, op, attempt, progress, at)
        select h.bucket, h.run, ops[i], attempts[i], progresses[i]::json, revenant.now()
        from revenant.run_heads h
        where h.bucket = buckets[i] and h.kind = kinds[i] and h.key = keys[i]
            -- Not by `=`: the index over owners would be taken for the way, and has all that this worker owns.
            and h.run = runs[i] and h.fence = fences[i] and h.owner is not distinct from worker
        on conflict (bucket, run, op) do update
        set attempt = excluded.attempt, progress = excluded.progress, at = excluded.at;
    end loop;
end
$$;

-- Promise: writes the snapshots of runs, and removes those of streams that have ended; an older one gives way.
-- Locks: the snapshots' rows, in the order given; inside an append, which holds the heads of their runs.
create or replace function revenant.write_snapshots_v1(
    format text, buckets smallint[], runs uuid[], seqs bigint[], views text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(runs) loop
        if views[i] is null then
            delete from revenant.run_snapshots s where s.bucket = buckets[i] and s.run = runs[i];
        else
            insert into revenant.run_snapshots (bucket, run, seq, format, view)
            values (buckets[i], runs[i], seqs[i], write_snapshots_v1.format, views[i]::json)
            on conflict (bucket, run) do update
            set seq = excluded.seq, format = excluded.format, view = excluded.view;
        end if;
    end loop;
end
$$;

-- Promise: removes tasks that nobody has to do any more, and then writes new ones; a task that is there is written anew, unclaimed.
-- Locks: the tasks' rows, in the order given, waited for 100 ms each; inside an append, which holds the heads of their runs.
create or replace function revenant.write_tasks_v1(
    gone_buckets smallint[], gone_runs uuid[], gone_ops integer[],
    buckets smallint[], runs uuid[], ops integer[], kinds text[], keys text[], types text[], names text[],
    attempts integer[], assignees text[], inputs text[], dues timestamptz[], idempotencies text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
-- Whoever ends a step does so in a transaction of their own, however long: the other runs of the append do not wait.
set lock_timeout = '100ms' as $$
begin
    for i in 1 .. cardinality(gone_ops) loop
        delete from revenant.run_tasks t
        where t.bucket = gone_buckets[i] and t.run = gone_runs[i] and t.op = gone_ops[i];
    end loop;
    insert into revenant.run_tasks (
        bucket, run, op, kind, key, type, name, attempt, assignee, input, made_at, due, idempotency
    )
    select w.bucket, w.run, w.op, w.kind, w.key, w.type, w.name, w.attempt, w.assignee, w.input::json,
        revenant.now(), w.due, w.idempotency
    from unnest(
        buckets, runs, ops, kinds, keys, types, names, attempts, assignees, inputs, dues, idempotencies
    ) as w (bucket, run, op, kind, key, type, name, attempt, assignee, input, due, idempotency)
    on conflict (bucket, run, op) do update
    set attempt = excluded.attempt, assignee = excluded.assignee, input = excluded.input, due = excluded.due,
        made_at = excluded.made_at, token = null, holder = null, held_until = null;
end
$$;

insert into revenant.migrations (number, name, checksum, compatible_from)
values (0, 'functions', 'b150cc86aa53ce88629f75fdbce7a81d24b454ae9295ff0f708f24c16d25197c', 0)
on conflict (number) do update set checksum = excluded.checksum, applied_at = excluded.applied_at;

commit;
