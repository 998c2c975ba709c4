-- Promise: which of the named entities still have a message at or after the named number; looks only.
-- Locks: none.
create or replace function revenant.peek_v1(buckets smallint[], kinds text[], keys text[], seqs bigint[])
returns setof integer language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.messages m
        where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq >= seqs[i]
        limit 1;
        if found then
            return next i;
        end if;
    end loop;
end
$$;
