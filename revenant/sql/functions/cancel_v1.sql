-- Promise: takes messages that are not due yet out of the schedule; returns the ids of those that were still there.
-- Locks: the scheduled rows, in the order of their ids.
create or replace function revenant.cancel_v1(ids uuid[]) returns setof uuid language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted uuid;
begin
    for wanted in select distinct w.id from unnest(ids) as w (id) order by w.id loop
        delete from revenant.scheduled s
        where s.bucket = get_byte(uuid_send(wanted), 15)::smallint and s.id = wanted;
        if found then
            return next wanted;
        end if;
    end loop;
end
$$;
