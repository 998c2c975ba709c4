-- Promise: returns the rows of these processes that serve the kind: id, process id, seconds since they began, work done.
-- Locks: none.
select id::text, pid, extract(epoch from revenant.now() - started_at)::double precision, turns, messages
from revenant.workers
where host = %(host)s and pid = any(%(pids)s::integer[]) and kinds ? %(kind)s::text;
