-- Promise: inside the transaction of an append, removes and writes the tasks that wait for somebody outside.
-- Locks: those of write_tasks_v1.
select revenant.write_tasks_v1(
    %(gone_buckets)s::smallint[], %(gone_runs)s::uuid[], %(gone_ops)s::integer[],
    %(buckets)s::smallint[], %(runs)s::uuid[], %(ops)s::integer[], %(kinds)s::text[], %(keys)s::text[],
    %(types)s::text[], %(names)s::text[], %(attempts)s::integer[], %(assignees)s::text[], %(inputs)s::text[],
    %(dues)s::timestamptz[], %(idempotencies)s::text[]
);
