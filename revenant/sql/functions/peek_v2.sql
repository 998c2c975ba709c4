-- Promise: which of the named entities have a message at or after the named number, and no worker alive that keeps them; looks only.
-- Locks: none.
create or replace function revenant.peek_v2(buckets smallint[], kinds text[], keys text[], seqs bigint[])
returns setof integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    living uuid[];
    keeper uuid;
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.messages m
        where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq >= seqs[i]
        limit 1;
        continue when not found;
        select r.owner into keeper from revenant.residents r
        where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i];
        if found then
            if living is null then
                living := array(select w.id from revenant.workers w where revenant.alive_v1(w.id));
            end if;
            -- Its messages wait until it flushes: they are handled, or about to be.
            continue when keeper = any (living);
        end if;
        return next i;
    end loop;
end
$$;
