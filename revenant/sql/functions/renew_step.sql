-- Promise: holds a claimed step for so many seconds from now; raises RV002 where the claim does not hold any more.
-- Locks: the step's row.
create or replace function revenant.renew_step(token uuid, seconds double precision default 30)
returns timestamptz language plpgsql volatile as $$
declare
    task revenant.run_tasks := revenant.held_step_v1(renew_step.token);
    moment timestamptz := revenant.now() + revenant.hold_time_v1(seconds);
begin
    update revenant.run_tasks t set held_until = moment
    where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
    return moment;
end
$$;
