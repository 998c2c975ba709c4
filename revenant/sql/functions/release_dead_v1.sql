-- Promise: ends the residence of entities whose owner is dead, a page at a time; returns those for which messages wait.
-- Locks: the rows that it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.release_dead_v1(worker uuid, page integer)
returns table (bucket smallint, kind text, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen uuid := '00000000-0000-0000-0000-000000000000';
    resident record;
begin
    loop
        -- One index probe for each owner, however many entities it has.
        select r.owner into seen from revenant.residents r where r.owner > seen order by r.owner limit 1;
        exit when not found;
        continue when seen = worker or revenant.alive_v1(seen);
        perform set_config('synchronous_commit', 'off', true);
        for resident in
            delete from revenant.residents r
            where (r.bucket, r.kind, r.key) in (
                select o.bucket, o.kind, o.key from revenant.residents o
                where o.owner = seen limit page for update skip locked
            )
            returning r.bucket, r.kind, r.key
        loop
            perform 1 from revenant.messages m
            where m.bucket = resident.bucket and m.kind = resident.kind and m.key = resident.key limit 1;
            if found then
                bucket := resident.bucket; kind := resident.kind; key := resident.key;
                return next;
            end if;
        end loop;
    end loop;
end
$$;
