-- Promise: makes the benchmark's plain table in a schema of its own, tuned as revenant.entities is.
-- Locks: creates new relations only.
create schema {schema};
create table {schema}.counters (
    key text collate "C" primary key,
    version bigint not null default 0,
    value bigint not null default 0
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
insert into {schema}.counters (key) select 'entity-' || number from generate_series(0, %(entities)s - 1) as number;
analyze {schema}.counters;
