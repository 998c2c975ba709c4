-- Promise: keeps how far the named steps are, of the runs that this worker still owns.
-- Locks: those of write_progress_v1.
select revenant.write_progress_v1(
    %(worker)s::uuid, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(runs)s::uuid[],
    %(fences)s::bigint[], %(ops)s::integer[], %(attempts)s::integer[], %(progresses)s::text[]
);
