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
