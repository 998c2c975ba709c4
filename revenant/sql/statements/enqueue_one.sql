-- Promise: as enqueue_batch, for a batch of one message.
-- Locks: those of enqueue_one_v1.
select revenant.enqueue_one_v1(
    %(batch)s, %(bucket)s::smallint, %(kind)s, %(key)s, %(id)s, %(handler)s, %(args)s, %(origin)s, %(digest)s
);
