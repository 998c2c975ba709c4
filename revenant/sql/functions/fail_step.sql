-- Promise: ends a claimed step's attempt as failed, if and only if you commit; the same once more does nothing; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.fail_step(
    token uuid, error text, retryable boolean default true, type text default 'ExternalFailure'
) returns void language plpgsql volatile as $$
begin
    perform revenant.end_step_v1(token, jsonb_build_object(
        'status', 'error', 'retryable', retryable,
        'error', jsonb_build_object('error', 'RunFailed', 'type', fail_step.type, 'message', fail_step.error)
    ));
end
$$;
