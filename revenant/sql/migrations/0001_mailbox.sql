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
