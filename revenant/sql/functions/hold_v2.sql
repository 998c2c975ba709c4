-- Promise: of the named entities, locks those that this worker still owns, for a flush: where their rows and handled messages are.
-- Locks: the rows of residents, then of entities, in the order given, which is key order; those that leave lose their residence.
create or replace function revenant.hold_v2(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], leaving boolean[],
    slots integer[], seqs bigint[], ids uuid[]
) returns table (slot integer, tid text, version bigint, message_tids text[]) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    place integer := 1;
    first integer;
begin
    for i in 1 .. cardinality(keys) loop
        first := place;
        while slots[place] = i loop
            place := place + 1;
        end loop;
        if leaving[i] then
            delete from revenant.residents r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                -- Not by `=`: the index over owners would be taken for the way, and has all that this worker owns.
                and r.owner is not distinct from worker and r.fence = fences[i];
        else
            perform 1 from revenant.residents r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                and r.owner is not distinct from worker and r.fence = fences[i]
            for no key update;
        end if;
        continue when not found;
        slot := i;
        select e.ctid::text, e.version into tid, version from revenant.entities e
        where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i]
        for no key update;
        version := coalesce(version, 0);
        message_tids := array(
            -- By their ids, too: after a crash of the server a number is given away again.
            select m.tid::text
            from unnest(seqs[first:place - 1], ids[first:place - 1]) as h (seq, id)
            cross join lateral (
                select m.ctid as tid from revenant.messages m
                where m.bucket = buckets[i] and m.kind = kinds[i] and m.key = keys[i] and m.seq = h.seq and m.id = h.id
                limit 1
            ) m
            order by h.seq
        );
        return next;
    end loop;
end
$$;
