-- Promise: stores one client's batch of messages for later exactly once, however often it is retried.
-- Locks: the batch's row in sends (a retry waits for its first try); the NOTIFY lock during its commit, if due soon.
create or replace function revenant.schedule_batch_v1(
    batch uuid, buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    digests bytea[], attempts smallint[], delays double precision[], dues timestamptz[]
) returns void language plpgsql volatile as $$
begin
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if found then
        -- For clients of before schedule_batch_v2: their workers looked twice a second, and these do not.
        perform pg_notify('revenant_due', due.seconds::text)
        from (
            select revenant.schedule_v2(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
        ) as due (seconds)
        where due.seconds < 5;
    end if;
end
$$;
