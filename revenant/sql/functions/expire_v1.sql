-- Promise: tells the idle entities of a page to end, by a message each; returns wake-ups, then the place to go on from.
-- Locks: the rows of those entities, SKIP LOCKED, in index order: one whose turn runs is not idle.
create or replace function revenant.expire_v1(
    kind text, idle double precision, buckets smallint[], after_bucket smallint, after_key text, page integer
) returns table (hint text, bucket smallint, key text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    since timestamptz := revenant.now() - make_interval(secs => idle);
    here smallint;
    seen record;
    idle_version bigint;
    looked integer := 0;
    ended_buckets smallint[] := '{}';
    ended_keys text[] := '{}';
    versions bigint[] := '{}';
begin
    foreach here in array buckets loop
        continue when here < after_bucket;
        for seen in
            select e.key, greatest(e.updated_at, e.touched_at) < since as is_idle
            from revenant.entities e
            where e.bucket = here and e.kind = expire_v1.kind
                and e.key > case when here = after_bucket then after_key else '' end collate "C"
            order by e.key
            limit page - looked
        loop
            looked := looked + 1;
            bucket := here; key := seen.key;
            continue when not seen.is_idle;
            select e.version into idle_version
            from revenant.entities e
            where e.bucket = here and e.kind = expire_v1.kind and e.key = seen.key
                and greatest(e.updated_at, e.touched_at) < since
                and not exists (
                    select from revenant.messages m
                    where m.bucket = here and m.kind = expire_v1.kind and m.key = seen.key
                )
                and not exists (
                    select from revenant.scheduled s
                    where s.bucket = here and s.kind = expire_v1.kind and s.key = seen.key
                )
                and not exists (
                    select from revenant.reminders r
                    where r.bucket = here and r.kind = expire_v1.kind and r.key = seen.key
                )
            for no key update of e skip locked;
            continue when not found;
            ended_buckets := ended_buckets || here;
            ended_keys := ended_keys || seen.key;
            versions := versions || idle_version;
        end loop;
        exit when looked = page;
    end loop;
    return query
    select w.hint, null::smallint, null::text
    from revenant.send_v1(
        ended_buckets, array_fill(expire_v1.kind, array[cardinality(ended_keys)]), ended_keys,
        array(select revenant.new_id_v1(b) from unnest(ended_buckets) as e (b)),
        array_fill('revenant:expire'::text, array[cardinality(ended_keys)]),
        array(select json_build_object('version', v)::text from unnest(versions) as e (v)),
        array_fill(null::text, array[cardinality(ended_keys)]),
        array_fill(null::bytea, array[cardinality(ended_keys)])
    ) as w (hint);
    if looked < page then
        bucket := null; key := null;
    end if;
    hint := null;
    return next;
end
$$;
