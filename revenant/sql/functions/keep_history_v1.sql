-- Promise: makes the partitions of today and the next three days, moves strays into theirs, and drops those past the longest keep.
-- Locks: an advisory lock, one caller at a time; history and its partitions for a moment, waited for 250 ms at most each.
create or replace function revenant.keep_history_v1() returns integer language plpgsql volatile
-- Only the owner of a table may give it partitions, or drop them; what happens here is decided by the tables alone.
security definer set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms' as $$
declare
    -- The clock that tests move is for those who could drop these tables themselves: others would, by a day to come.
    moment timestamptz := case
        when pg_has_role(session_user, current_user, 'usage') then revenant.now() else clock_timestamp()
    end;
    longest interval;
    today date := (moment at time zone 'UTC')::date;
    day date;
    first timestamptz;
    part text;
    done integer := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('revenant.history', 7)) then
        return 0;
    end if;
    for day in
        select distinct (r.at at time zone 'UTC')::date from revenant.history_rest r
        union
        select today + n from generate_series(0, 3) as n
        order by 1
    loop
        part := 'history_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('revenant.' || part) is not null;
        first := to_timestamp(extract(epoch from day));
        begin
            -- Attaching looks into the rest, which must not get more rows of that day meanwhile.
            lock table revenant.history_rest in access exclusive mode;
            execute format('create table revenant.%I (like revenant.history including constraints)', part);
            execute format(
                'with strays as (delete from revenant.history_rest where at >= %L and at < %L returning *) '
                'insert into revenant.%I select * from strays', first, first + make_interval(days => 1), part
            );
            execute format(
                'alter table revenant.history attach partition revenant.%I for values from (%L) to (%L)',
                part, first, first + make_interval(days => 1)
            );
            done := done + 1;
        exception when lock_not_available then
            -- Somebody reads for long: another round will do it.
            return done;
        end;
    end loop;
    select max(k.keep) into longest from revenant.history_kinds k;
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'revenant.history'::regclass and c.relname ~ '^history_\d{8}$'
            and to_timestamp(extract(epoch from to_date(substr(c.relname, 9), 'YYYYMMDD') + 1)) <= moment - longest
        order by c.relname
    loop
        begin
            execute format('drop table revenant.%I', part);
            done := done + 1;
        exception when lock_not_available then
            return done;
        end;
    end loop;
    return done;
end
$$;
