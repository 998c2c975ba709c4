-- Promise: ends a claimed step's attempt as failed, if and only if you commit; the same once more does nothing; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.fail_step(
    token uuid, error text, retryable boolean default true, type text default 'ExternalFailure'
) returns void language plpgsql volatile as $$
begin
    perform revenant.end_step_v1(token, jsonb_build_object(
        -- What is null is not known: it is as when it is left out.
        'status', 'error', 'retryable', coalesce(retryable, true),
        'error', jsonb_build_object(
            'error', 'RunFailed', 'type', coalesce(fail_step.type, 'ExternalFailure'),
            'message', left(coalesce(fail_step.error, 'it was not said why'), 65536)
        )
    ));
end
$$;
