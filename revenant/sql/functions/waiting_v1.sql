-- Promise: the next entities that have waiting messages, one index probe each, from a cursor on; the net under lost hints.
-- Locks: none.
create or replace function revenant.waiting_v1(
    known text[], after_bucket smallint, after_kind text, after_key text, page integer
) returns table (bucket smallint, kind text, key text) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    found_bucket smallint := after_bucket;
    found_kind text := after_kind;
    found_key text := after_key;
    probe record;
    taken integer := 0;
begin
    while taken < page loop
        select m.bucket, m.kind, m.key into probe
        from revenant.messages m
        where (m.bucket, m.kind, m.key) > (found_bucket, found_kind collate "C", found_key collate "C")
        order by m.bucket, m.kind, m.key
        limit 1;
        exit when not found;
        if probe.kind = any (known) then
            found_bucket := probe.bucket; found_kind := probe.kind; found_key := probe.key;
            bucket := probe.bucket; kind := probe.kind; key := probe.key;
            taken := taken + 1;
            return next;
        else
            -- Nobody here serves that kind: go to the next kind, without a probe for each of its keys.
            found_bucket := probe.bucket; found_kind := probe.kind; found_key := repeat(U&'\+10FFFF', 129);
        end if;
    end loop;
end
$$;
