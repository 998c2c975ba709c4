-- Promise: the clock that decides due times; tests set it, for one connection or for all of a database, in testing mode.
-- Locks: none.
create or replace function revenant.now() returns timestamptz language plpgsql volatile parallel safe as $$
begin
    -- Not in SQL: that would be parsed and planned anew by every statement that asks.
    if current_setting('revenant.testing', true) = 'on' then
        return coalesce(nullif(current_setting('revenant.fake_now', true), '')::timestamptz, clock_timestamp());
    elsif current_setting('revenant.testing', true) = 'clock' then
        -- A table, so that all connections have the same time at once, whenever they were made.
        return (select c.moment from revenant_testing.clock c);
    end if;
    return clock_timestamp();
end
$$;
