-- Promise: has a run end from plain SQL or a trigger, if and only if you commit, as run.cancel does.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.cancel_run(workflow text, id text, reason text default null)
returns uuid language plpgsql volatile as $$
begin
    perform revenant.check_run_v1(workflow, cancel_run.id);
    return revenant.cast('run:' || workflow, cancel_run.id, 'cancel', json_build_object('reason', reason));
end
$$;
