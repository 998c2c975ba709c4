-- Promise: inside the application's own transaction: the messages exist, and workers hear of them, if and only if it commits.
-- Locks: the instance-wide NOTIFY lock during that commit; see docs/explanation/wake-ups.md.
select pg_notify('revenant_wake', 'cast' || w.hint)
from revenant.send_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(origin)s::text[], %(digest)s::bytea[]
) as w (hint);
