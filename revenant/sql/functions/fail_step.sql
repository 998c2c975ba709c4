-- Promise: ends a claimed step's attempt as failed, if and only if you commit; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.fail_step(
    token uuid, error text, retryable boolean default true, type text default 'ExternalFailure'
) returns void language plpgsql volatile as $$
declare
    task revenant.run_tasks := revenant.held_step_v1(fail_step.token);
begin
    delete from revenant.run_tasks t where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
    perform revenant.cast(task.kind, task.key, 'step', json_build_object(
        'run', task.run, 'op', task.op, 'attempt', task.attempt, 'status', 'error', 'retryable', retryable,
        'error', json_build_object('error', 'RunFailed', 'type', fail_step.type, 'message', fail_step.error)
    ));
end
$$;
