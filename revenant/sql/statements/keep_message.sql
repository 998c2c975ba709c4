-- Promise: keeps what a handler's own SQL did, its deferred constraints checked, and gives the session back as it was opened.
-- Locks: those of the constraints' triggers, and of restore_session_v1.
savepoint revenant_check;
set constraints all immediate;
rollback to savepoint revenant_check;
release savepoint revenant_message;
reset session authorization;  -- and with it the role
reset all;
close all;
select revenant.restore_session_v1();
