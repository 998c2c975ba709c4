-- Promise: as schedule_batch_v1; returns the seconds until the earliest of these messages is due, 0 on a retry.
-- Locks: the batch's row in sends (a retry waits for its first try).
create or replace function revenant.schedule_batch_v2(
    batch uuid, buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[],
    digests bytea[], attempts smallint[], delays double precision[], dues timestamptz[]
) returns double precision language plpgsql volatile as $$
begin
    insert into revenant.sends (id) values (batch) on conflict do nothing;
    if not found then
        return 0;
    end if;
    return revenant.schedule_v2(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues);
end
$$;
