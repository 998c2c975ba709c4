-- Promise: the server process behind this connection, for this transaction.
-- Locks: none.
select pg_backend_pid();
