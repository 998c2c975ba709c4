-- Promise: one process at a time makes the template of tests' databases.
-- Locks: the advisory lock of that number, until unlock_template.
select pg_advisory_lock(%(lock)s);
