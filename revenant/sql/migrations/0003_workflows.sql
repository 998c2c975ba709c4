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
create index run_heads_started on revenant.run_heads (started_at);
create index run_heads_attention on revenant.run_heads (status, updated_at) where status in ('parked', 'blocked', 'failed');
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
