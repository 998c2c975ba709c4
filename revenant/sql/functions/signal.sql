-- Promise: signals a run from plain SQL or a trigger, if and only if you commit; those of one signal_id count once.
-- Locks: the instance-wide NOTIFY lock during your commit.
create or replace function revenant.signal(
    workflow text, id text, name text, payload json default 'null', signal_id text default null
) returns uuid language plpgsql volatile as $$
begin
    perform revenant.check_run_v1(workflow, signal.id);
    if (name <> '') is not true or signal_id = '' then
        raise exception 'a signal needs a name, and an id or none, but no empty ones; nothing was sent'
            using errcode = '22023', hint = 'Name the signal that the run waits for; those of one signal_id count once.';
    end if;
    return revenant.cast(
        'run:' || workflow, signal.id, 'signal', json_build_object('name', name, 'payload', payload, 'id', signal_id)
    );
end
$$;
