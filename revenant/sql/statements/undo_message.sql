-- Promise: undoes what a handler's own SQL did, also what a rollback leaves: prepared statements and advisory locks.
-- Locks: those of restore_session_v1.
rollback to savepoint revenant_message;
release savepoint revenant_message;
select revenant.restore_session_v1();
