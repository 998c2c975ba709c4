-- Promise: runs are listed by an index that no planner can take for the way to one run; no table is rewritten.
-- Locks: SHARE on run_heads while the index is built, then ACCESS EXCLUSIVE for as long as a catalogue entry takes.

-- Of bucket, kind and key no other index but the primary key has any, or a plan that was made while there were few runs
-- goes through the whole of it for each run. So this one is led by what people call a workflow, which is not kind itself.
create index run_heads_workflow on revenant.run_heads (substr(kind, 5), started_at);
drop index revenant.run_heads_started;
