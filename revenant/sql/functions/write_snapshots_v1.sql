-- Promise: writes the snapshots of runs, and removes those of streams that have ended; an older one gives way.
-- Locks: the snapshots' rows, in the order given; inside an append, which holds the heads of their runs.
create or replace function revenant.write_snapshots_v1(
    format text, buckets smallint[], runs uuid[], seqs bigint[], views text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(runs) loop
        if views[i] is null then
            delete from revenant.run_snapshots s where s.bucket = buckets[i] and s.run = runs[i];
        else
            insert into revenant.run_snapshots (bucket, run, seq, format, view)
            values (buckets[i], runs[i], seqs[i], write_snapshots_v1.format, views[i]::json)
            on conflict (bucket, run) do update
            set seq = excluded.seq, format = excluded.format, view = excluded.view;
        end if;
    end loop;
end
$$;
