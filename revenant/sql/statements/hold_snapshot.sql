-- Promise: takes a snapshot, which keeps rows that die from now on until the transaction ends.
-- Locks: none.
select pg_current_snapshot()::text;
