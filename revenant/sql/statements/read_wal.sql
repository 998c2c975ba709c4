-- Promise: how many bytes of WAL this server has ever written.
-- Locks: none.
select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint;
