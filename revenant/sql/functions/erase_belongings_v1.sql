-- Promise: removes what one stream has besides its events: how far its steps are, what waits for somebody, its snapshot.
-- Locks: those rows; called with the head's row held.
create or replace function revenant.erase_belongings_v1(bucket smallint, run uuid) returns void
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    delete from revenant.run_progress p
    where p.bucket = erase_belongings_v1.bucket and p.run = erase_belongings_v1.run;
    delete from revenant.run_tasks t
    where t.bucket = erase_belongings_v1.bucket and t.run = erase_belongings_v1.run;
    delete from revenant.run_snapshots s
    where s.bucket = erase_belongings_v1.bucket and s.run = erase_belongings_v1.run;
end
$$;
