-- Promise: the code of these runs did this worker no harm: removes its notes of them.
-- Locks: the runs' rows in run_notes, in key order.
create or replace function revenant.clear_runs_v1(worker uuid, buckets smallint[], kinds text[], keys text[])
returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    run record;
begin
    perform set_config('synchronous_commit', 'off', true);
    for run in
        select h.bucket, h.kind, h.key from unnest(buckets, kinds, keys) as h (bucket, kind, key) order by 1, 2, 3
    loop
        delete from revenant.run_notes n
        where n.bucket = run.bucket and n.kind = run.kind and n.key = run.key and n.worker = clear_runs_v1.worker;
    end loop;
end
$$;
