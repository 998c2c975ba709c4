-- Promise: starts a run of a workflow from plain SQL or a trigger, if and only if you commit; one of that id that is there stays as it is.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.start(workflow text, id text, input json default 'null')
returns uuid language plpgsql volatile as $$
begin
    perform revenant.check_run_v1(workflow, start.id);
    return revenant.cast('run:' || workflow, start.id, 'start', json_build_object('input', input));
end
$$;
