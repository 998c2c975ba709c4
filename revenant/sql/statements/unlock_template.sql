-- Promise: lets go of lock_template's lock.
-- Locks: none.
select pg_advisory_unlock(%(lock)s);
