-- Promise: sends one client's batch exactly once, in one transaction of its own; returns wake-ups not sent inside.
-- Locks: those of enqueue_v1.
select revenant.enqueue_v1(
    %(batch)s::uuid, %(settled)s::uuid[], %(flush)s,
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(origin)s::text[], %(digest)s::bytea[], %(read_ids)s::uuid[]
);
