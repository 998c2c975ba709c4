-- Promise: wakes listeners; a transaction of nothing else, so it writes no WAL and flushes nothing.
-- Locks: the instance-wide NOTIFY lock, for microseconds.
select pg_notify(w.channel, w.payload)
from unnest(%(channels)s::text[], %(payloads)s::text[]) as w (channel, payload);
