-- Promise: as settle_turn, for one message of one entity.
-- Locks: those of settle_one_v1; the commit waits for its flush.
select revenant.settle_one_v1(
    %(tid)s, %(bucket)s::smallint, %(kind)s, %(key)s, %(expected)s, %(version)s, %(vsn)s, %(state)s, %(applied)s,
    %(message_tid)s, %(seq)s,
    %(reply_id)s, %(reply_status)s, %(reply_version)s, %(reply_body)s, %(reply_digest)s, %(reply_ttl)s
);
commit;
