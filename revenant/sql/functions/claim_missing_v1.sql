-- Promise: claims an entity that has no row yet, if it has messages: 'claimed', 'locked' by another turn, or 'empty'.
-- Locks: an advisory lock of the transaction for that entity, tried and never waited for.
create or replace function revenant.claim_missing_v1(
    wanted_bucket smallint, wanted_kind text, wanted_key text
) returns text language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    perform from revenant.entities e
    where e.bucket = wanted_bucket and e.kind = wanted_kind and e.key = wanted_key;
    if found then
        return 'locked';
    end if;
    perform from revenant.messages m
    where m.bucket = wanted_bucket and m.kind = wanted_kind and m.key = wanted_key limit 1;
    if not found then
        return 'empty';
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended(wanted_kind || '/' || wanted_key, 7)) then
        return 'locked';
    end if;
    -- The lock may be ours only because its last holder has just committed the row: look again.
    perform from revenant.entities e
    where e.bucket = wanted_bucket and e.kind = wanted_kind and e.key = wanted_key;
    return case when found then 'locked' else 'claimed' end;
end
$$;
