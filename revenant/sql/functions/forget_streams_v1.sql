-- Promise: removes what these streams have besides their events: what waits for somebody, how far steps are, snapshots.
-- Locks: those rows, waited for 100 ms each; inside an append, which holds the heads of their runs.
create or replace function revenant.forget_streams_v1(buckets smallint[], runs uuid[]) returns void
language plpgsql volatile
-- Whoever ends a step does so in a transaction of their own, however long: the other runs of the append do not wait.
set lock_timeout = '100ms' as $$
begin
    for i in 1 .. cardinality(runs) loop
        perform revenant.erase_belongings_v1(buckets[i], runs[i]);
    end loop;
end
$$;
