-- Promise: the next entities that have waiting messages, from a cursor on, in index order; the net under lost hints.
-- Locks: none.
create or replace function revenant.waiting_v1(
    known text[], after_bucket smallint, after_kind text, after_key text, page integer
) returns table (bucket smallint, kind text, key text) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    seen_bucket smallint := after_bucket;
    seen_kind text := after_kind;
    seen_key text := after_key;
    probe record;
    taken integer := 0;
    any_left boolean := true;
begin
    while any_left loop
        any_left := false;
        -- A few rows at a time: entities with one message come many to a probe, and one with a million costs one probe.
        for probe in
            select m.bucket, m.kind, m.key
            from revenant.messages m
            where (m.bucket, m.kind, m.key) > (seen_bucket, seen_kind collate "C", seen_key collate "C")
            order by m.bucket, m.kind, m.key
            limit 32
        loop
            any_left := true;
            continue when probe.bucket = seen_bucket and probe.kind = seen_kind and probe.key = seen_key;
            seen_bucket := probe.bucket; seen_kind := probe.kind; seen_key := probe.key;
            if probe.kind <> all (known) then
                -- Nobody here serves that kind: go to the next kind, without a look at each of its keys.
                seen_key := repeat(U&'\+10FFFF', 129);
                exit;
            end if;
            bucket := probe.bucket; kind := probe.kind; key := probe.key;
            taken := taken + 1;
            return next;
            if taken = page then
                return;
            end if;
        end loop;
    end loop;
end
$$;
