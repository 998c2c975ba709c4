-- Promise: ends a claimed step with its result, if and only if you commit; the same result once more does nothing; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.complete_step(token uuid, result jsonb default 'null')
returns void language plpgsql volatile as $$
begin
    perform revenant.check_result_v1(result, result::text);
    perform revenant.end_step_v1(token, jsonb_build_object('status', 'ok', 'result', coalesce(result, 'null')));
end
$$;
