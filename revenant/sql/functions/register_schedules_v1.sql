-- Promise: says that this worker's application has these schedules; returns those whose current definition is its own.
-- Locks: the rows of schedules that it changes, in the order given; forgotten ones SKIP LOCKED.
create or replace function revenant.register_schedules_v1(
    names text[], digests bytea[], dues timestamptz[],
    everys double precision[], crons text[], timezones text[], misseds text[],
    buckets smallint[], kinds text[], keys text[], handlers text[], args text[]
) returns table (name text, due timestamptz) language plpgsql volatile as $$
declare
    moment timestamptz := revenant.now();
    fresh timestamptz := moment - make_interval(secs => 30);
    gone timestamptz := moment - make_interval(secs => 120);
    held revenant.schedules;
begin
    for i in 1 .. cardinality(names) loop
        insert into revenant.schedules (
            name, digest, due, every, cron, timezone, missed, bucket, kind, key, handler, args, since, seen_at
        ) values (
            names[i], digests[i], dues[i], everys[i], crons[i], timezones[i], misseds[i],
            buckets[i], kinds[i], keys[i], handlers[i], register_schedules_v1.args[i]::json, moment, moment
        )
        on conflict on constraint schedules_pkey do nothing;
        continue when found;
        -- Looked at without a lock first: as a rule there is nothing to change.
        select s.* into held from revenant.schedules s where s.name = names[i];
        continue when held.digest = digests[i] and held.seen_at > fresh;
        continue when held.digest <> digests[i] and held.seen_at > gone and digests[i] = any (held.former);
        select s.* into held from revenant.schedules s where s.name = names[i] for update;
        if held.digest = digests[i] then
            update revenant.schedules s set seen_at = moment where s.name = names[i];
        elsif held.seen_at <= gone or digests[i] <> all (held.former) then
            -- A definition that is new takes the name over. One that was current before, as an old worker that is
            -- started again brings it, does so only once nobody has the newer one any more.
            if held.seen_at <= gone then
                held.former := array_remove(held.former, digests[i]);
            else
                held.former := (held.digest || held.former)[1:50];
            end if;
            update revenant.schedules s
            set digest = digests[i], every = everys[i], cron = crons[i], timezone = timezones[i],
                missed = misseds[i], bucket = buckets[i], kind = kinds[i], key = keys[i], handler = handlers[i],
                args = register_schedules_v1.args[i]::json, former = held.former, since = moment, seen_at = moment,
                -- Where the times are the same the due time stays: an occurrence of these moments is not lost.
                due = case
                    when (s.every, s.cron, s.timezone) is not distinct from (everys[i], crons[i], timezones[i])
                    then s.due else dues[i]
                end
            where s.name = names[i];
        end if;
    end loop;
    delete from revenant.schedules s
    where s.ctid = any (array(
        select o.ctid from revenant.schedules o where o.seen_at < moment - make_interval(days => 1)
        for update skip locked
    ));
    return query
    select s.name, s.due from revenant.schedules s
    join unnest(names, digests) as own (name, digest) on s.name = own.name and s.digest = own.digest;
end
$$;
