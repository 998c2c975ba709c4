-- Promise: removes events of one stream, those after one number and before another, at most a page; returns how many.
-- Locks: those rows; called with the head's row held.
create or replace function revenant.erase_events_v1(
    bucket smallint, run uuid, after bigint, before bigint, page integer
) returns integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    removed integer;
begin
    delete from revenant.run_events e
    where e.ctid = any (array(
        select o.ctid from revenant.run_events o
        where o.bucket = erase_events_v1.bucket and o.run = erase_events_v1.run and o.seq > after
            and o.seq < coalesce(before, 9223372036854775807)
        order by o.seq
        limit page
    ));
    get diagnostics removed = row_count;
    return removed;
end
$$;
