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
