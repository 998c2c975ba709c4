-- Promise: removes what was kept of how far steps were; each goes in the transaction in which its step ends.
-- Locks: those rows, which nobody but the owner of their run writes.
create or replace function revenant.drop_progress_v1(buckets smallint[], runs uuid[], ops integer[])
returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(ops) loop
        delete from revenant.run_progress p where p.bucket = buckets[i] and p.run = runs[i] and p.op = ops[i];
    end loop;
end
$$;
