-- Promise: ends a claimed step with its result, if and only if you commit; raises RV002 where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.complete_step(token uuid, result jsonb default 'null')
returns void language plpgsql volatile as $$
declare
    task revenant.run_tasks := revenant.held_step_v1(complete_step.token);
begin
    delete from revenant.run_tasks t where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
    perform revenant.cast(task.kind, task.key, 'step', json_build_object(
        'run', task.run, 'op', task.op, 'attempt', task.attempt, 'status', 'ok', 'result', coalesce(result, 'null')
    ));
end
$$;
