-- Promise: opens the transaction in which a step's own SQL and its event commit; it may be left alone for `idle` milliseconds.
-- Locks: none.
begin isolation level read committed;
select set_config('idle_in_transaction_session_timeout', %(idle)s, true);
