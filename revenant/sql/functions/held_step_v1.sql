-- Promise: the external step that a token holds, locked; raises RV002 where it does not hold one any more.
-- Locks: the step's row.
create or replace function revenant.held_step_v1(held uuid) returns revenant.run_tasks language plpgsql volatile as $$
declare
    task revenant.run_tasks;
begin
    select t.* into task from revenant.run_tasks t where t.token = held for update;
    if not found then
        raise exception 'the claim % does not hold any more; nothing was changed', held
            using errcode = 'RV002',
                hint = 'The step was answered, or claimed by somebody else after its time, or its run does not wait for it.';
    end if;
    return task;
end
$$;
