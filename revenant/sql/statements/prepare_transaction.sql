-- Promise: bounds every wait for a lock until the transaction ends; no time-out of the role's cuts a migration short.
-- Locks: none.
-- Function bodies are checked when they first run, so that functions may name each other in any order.
select
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('statement_timeout', '0', true),
    set_config('check_function_bodies', 'off', true);
