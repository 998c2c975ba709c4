-- Promise: the clock that decides due times; tests may set it with revenant.fake_now while revenant.testing is on.
-- Locks: none.
create or replace function revenant.now() returns timestamptz language sql volatile parallel safe as $$
    select case
        when current_setting('revenant.testing', true) = 'on'
            then coalesce(nullif(current_setting('revenant.fake_now', true), '')::timestamptz, clock_timestamp())
        else clock_timestamp()
    end
$$;
