-- Promise: one visit to one entity that this worker has owned already.
-- Locks: none.
select * from revenant.visit_one_v1(
    %(worker)s::uuid, %(bucket)s::smallint, %(kind)s, %(key)s, %(fence)s, %(since)s, %(known)s, %(last)s,
    %(message_limit)s, %(byte_limit)s
);
