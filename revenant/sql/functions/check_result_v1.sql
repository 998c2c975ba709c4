-- Promise: returns where a history can hold that result of a step, and read it again; else raises 22023, which says why.
-- Locks: none.
create or replace function revenant.check_result_v1(result jsonb, written text) returns void language plpgsql immutable as $$
begin
    -- A cheap look at the text first: only what is long is walked.
    if octet_length(written) < 255 then
        return;
    elsif result @? 'strict $.**{150}' then
        raise exception 'the result is nested deeper than 150 levels; nothing was changed, and the claim holds'
            using errcode = '22023', hint = 'Return it flatter, or as text.';
    elsif written ~ '[0-9]{255}'
        and result @? 'strict $.** ? (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)'
    then
        raise exception 'the result holds a number over 1.8e308; nothing was changed, and the claim holds'
            using errcode = '22023', hint = 'Return it as text.';
    end if;
end
$$;
