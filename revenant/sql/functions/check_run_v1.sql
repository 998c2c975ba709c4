-- Promise: returns where there can be a run of that workflow and id; else raises 22023, which says what is wrong and what to do.
-- Locks: none.
create or replace function revenant.check_run_v1(workflow text, id text) returns void language plpgsql immutable as $$
begin
    if (octet_length(workflow) between 1 and 124) is not true then
        raise exception 'the name of a workflow is text of 1 to 124 bytes, and % is none; nothing was sent',
            quote_nullable(left(workflow, 40))
            using errcode = '22023', hint = 'Name the workflow, as `revenant run ls` shows it.';
    elsif (octet_length(id) between 1 and 512) is not true then
        raise exception 'the id of a run is text of 1 to 512 bytes, and % is none; nothing was sent', quote_nullable(left(id, 40))
            using errcode = '22023', hint = 'Give each run an id of its own; of a longer text, take a hash.';
    end if;
end
$$;
