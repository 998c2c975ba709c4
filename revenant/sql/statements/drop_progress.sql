-- Promise: removes what was kept of how far the named steps were.
-- Locks: those of drop_progress_v1.
select revenant.drop_progress_v1(%(buckets)s::smallint[], %(runs)s::uuid[], %(ops)s::integer[]);
