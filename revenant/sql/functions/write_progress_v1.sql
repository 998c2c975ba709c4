-- Promise: keeps how far steps are, the last word of each; nothing of a run that the worker does not own any more.
-- Locks: the steps' own rows, which nobody but the owner of their run writes.
create or replace function revenant.write_progress_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], runs uuid[], fences bigint[],
    ops integer[], attempts integer[], progresses text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        insert into revenant.run_progress as p (bucket, run, op, attempt, progress, at)
        select h.bucket, h.run, ops[i], attempts[i], progresses[i]::json, revenant.now()
        from revenant.run_heads h
        where h.bucket = buckets[i] and h.kind = kinds[i] and h.key = keys[i]
            -- Not by `=`: the index over owners would be taken for the way, and has all that this worker owns.
            and h.run = runs[i] and h.fence = fences[i] and h.owner is not distinct from worker
        on conflict (bucket, run, op) do update
        set attempt = excluded.attempt, progress = excluded.progress, at = excluded.at;
    end loop;
end
$$;
