-- Promise: wakes the caller of one entity if this worker still owns it.
-- Locks: those of answer_one_v1.
select revenant.answer_one_v1(
    %(worker)s::uuid, %(bucket)s::smallint, %(kind)s, %(key)s, %(fence)s, %(channel)s, %(payload)s
);
