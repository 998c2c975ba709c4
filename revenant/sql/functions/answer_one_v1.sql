-- Promise: as answer_v1, for one entity and one notification; returns whether this worker still owns it.
-- Locks: those of answer_v1.
create or replace function revenant.answer_one_v1(
    worker uuid, bucket smallint, kind text, key text, fence bigint, channel text, payload text
) returns boolean language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    if (
        select r.owner = answer_one_v1.worker and r.fence = answer_one_v1.fence from revenant.residents r
        where r.bucket = answer_one_v1.bucket and r.kind = answer_one_v1.kind and r.key = answer_one_v1.key
        limit 1
    ) is not true then
        return false;
    end if;
    perform pg_notify(channel, payload);
    return true;
end
$$;
