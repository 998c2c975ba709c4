-- Promise: the clock that decides due times; tests may set it with revenant.fake_now while revenant.testing is on.
-- Locks: none.
create or replace function revenant.now() returns timestamptz language plpgsql volatile parallel safe as $$
begin
    -- Not in SQL: that would be parsed and planned anew by every statement that asks.
    if current_setting('revenant.testing', true) = 'on' then
        return coalesce(nullif(current_setting('revenant.fake_now', true), '')::timestamptz, clock_timestamp());
    end if;
    return clock_timestamp();
end
$$;
