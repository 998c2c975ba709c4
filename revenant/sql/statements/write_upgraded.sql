-- Promise: writes upgraded states, neither their versions nor when they changed, and commits.
-- Locks: the entities' rows, which lock_older has locked.
update revenant.entities e
set vsn = %(vsn)s, state = u.state::jsonb
from unnest(%(keys)s::text[], %(versions)s::bigint[], %(states)s::text[]) as u (key, version, state)
where e.bucket = %(bucket)s::smallint and e.kind = %(kind)s and e.key = u.key and e.version = u.version;
commit;
