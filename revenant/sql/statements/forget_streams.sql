-- Promise: inside the transaction of an append, removes what streams have besides their events.
-- Locks: those of forget_streams_v1.
select revenant.forget_streams_v1(%(gone_buckets)s::smallint[], %(gone_runs)s::uuid[]);
