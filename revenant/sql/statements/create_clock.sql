-- Promise: in a test's database, there is a clock that stands still; returns its time. Given no time, it keeps its own, or begins now.
-- Locks: the clock's row.
begin;
create schema if not exists revenant_testing;
create table if not exists revenant_testing.clock (
    -- One row at most.
    one boolean primary key default true check (one),
    moment timestamptz not null
);
insert into revenant_testing.clock as c (moment)
values (coalesce(%(moment)s::timestamptz, clock_timestamp()))
on conflict (one) do update set moment = coalesce(%(moment)s::timestamptz, c.moment);
commit;
select moment from revenant_testing.clock;
