-- Promise: ends the step that a token holds with that answer, if and only if you commit; the same answer once more does nothing, and RV002 is raised where the claim does not hold any more.
-- Locks: the step's row; the instance-wide NOTIFY lock during your commit.
create or replace function revenant.end_step_v1(held uuid, answer jsonb) returns void language plpgsql volatile as $$
declare
    task revenant.run_tasks;
    place smallint := get_byte(uuid_send(held), 15);
    said bytea := sha256(convert_to(answer::text, 'UTF8'));
begin
    select t.* into task from revenant.run_tasks t where t.token = held for update;
    if not found then
        -- In a later snapshot: whoever said it at the same moment has committed by now.
        perform 1 from revenant.step_answers a where a.bucket = place and a.token = held and a.answer = said;
        if not found then
            perform revenant.held_step_v1(held);
        end if;
        return;
    end if;
    delete from revenant.run_tasks t where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
    insert into revenant.step_answers (bucket, token, answer) values (place, held, said);
    perform revenant.cast(
        task.kind, task.key, 'step',
        (jsonb_build_object('run', task.run, 'op', task.op, 'attempt', task.attempt) || answer)::json
    );
end
$$;
