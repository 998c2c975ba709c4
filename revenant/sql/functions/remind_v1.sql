-- Promise: sets, replaces and cancels reminders in the order given; returns the seconds until the earliest of those set is due.
-- Locks: the reminders' rows, in the order given; their owner's row is locked by the turn, so only firing, which skips, meets them.
create or replace function revenant.remind_v1(
    buckets smallint[], kinds text[], keys text[], names text[], dues timestamptz[],
    everys double precision[], crons text[], timezones text[], misseds text[],
    to_buckets smallint[], to_kinds text[], to_keys text[], handlers text[], args text[]
) returns double precision language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        if dues[i] is null then
            -- Without a name: all that this entity has, since it is deleted.
            delete from revenant.reminders r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                and (names[i] is null or r.name = names[i]);
        else
            insert into revenant.reminders as r (
                bucket, kind, key, name, due, every, cron, timezone, missed,
                to_bucket, to_kind, to_key, handler, args
            ) values (
                buckets[i], kinds[i], keys[i], names[i], dues[i], everys[i], crons[i], timezones[i], misseds[i],
                to_buckets[i], to_kinds[i], to_keys[i], handlers[i], args[i]::json
            )
            on conflict (bucket, kind, key, name) do update
            set due = excluded.due, every = excluded.every, cron = excluded.cron, timezone = excluded.timezone,
                missed = excluded.missed, to_bucket = excluded.to_bucket, to_kind = excluded.to_kind,
                to_key = excluded.to_key, handler = excluded.handler, args = excluded.args,
                set_at = excluded.set_at, fired_at = null;
        end if;
    end loop;
    return (select extract(epoch from min(d.due) - revenant.now())::double precision from unnest(dues) as d (due));
end
$$;
