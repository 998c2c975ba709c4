-- Promise: a client's messages for later, exactly once; returns the seconds until the earliest is due, 0 on a retry.
-- Locks: those of schedule_batch_v2.
select revenant.schedule_batch_v2(
    %(batch)s::uuid,
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(digest)s::bytea[], %(attempts)s::smallint[], %(delay)s::double precision[], %(due)s::timestamptz[]
);
