-- Promise: opens the one transaction of the script, takes the migrators' turn, and refuses a schema of newer code.
-- Locks: the migrators' advisory lock, first of all.
\set ON_ERROR_STOP on
begin isolation level read committed read write;
set local lock_timeout = %(turn_timeout)s;
set local statement_timeout = 0;
set local check_function_bodies = off;
set local client_min_messages = warning;
select pg_advisory_xact_lock(5928239340168760916) as turn \gset
set local lock_timeout = %(lock_timeout)s;
