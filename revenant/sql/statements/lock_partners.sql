-- Promise: locks further entities for a turn that runs, without waiting for any of them.
-- Locks: those of lock_v1.
select * from revenant.lock_v1(
    %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], 0
);
