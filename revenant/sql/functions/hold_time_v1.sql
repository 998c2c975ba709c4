-- Promise: for how long so many seconds hold a step; raises 22023 for what is no such time, and says what to do.
-- Locks: none.
create or replace function revenant.hold_time_v1(seconds double precision) returns interval language plpgsql immutable as $$
begin
    -- NaN is greater than any number.
    if (seconds > 0 and seconds <= 31622400) is not true then
        raise exception 'a step is held for more than 0 seconds and up to 31622400 (366 days), not for %; nothing was changed',
            coalesce(seconds::text, 'null')
            using errcode = '22023', hint = 'Hold it for as long as the work takes as a rule, and renew the claim while it goes on.';
    end if;
    return make_interval(secs => seconds);
end
$$;
