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
