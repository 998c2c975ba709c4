-- Promise: runs of these kinds, of no newer version than the one beside each, whose owner is dead, a page of each such owner; looks only, since whoever goes on with one takes it over by its append.
-- Locks: none.
create or replace function revenant.find_dead_runs_v2(worker uuid, kinds text[], newest integer[], page integer)
returns table (bucket smallint, kind text, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen uuid := '00000000-0000-0000-0000-000000000000';
begin
    loop
        -- One index probe for each owner, however many runs it has.
        select h.owner into seen from revenant.run_heads h where h.owner > seen order by h.owner limit 1;
        exit when not found;
        continue when seen = worker or revenant.alive_v1(seen);
        -- Those of other kinds and of newer versions do not count: whoever has them may be gone, and these would wait behind them.
        return query select h.bucket, h.kind, h.key from revenant.run_heads h
        where h.owner = seen and h.version <= newest[array_position(kinds, h.kind)]
        limit page;
    end loop;
end
$$;
