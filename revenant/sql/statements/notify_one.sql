-- Promise: wakes one listener; a transaction of nothing else, so it writes no WAL and flushes nothing.
-- Locks: the instance-wide NOTIFY lock, for microseconds.
select pg_notify(%(channel)s, %(payload)s);
