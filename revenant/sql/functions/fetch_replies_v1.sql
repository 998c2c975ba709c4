-- Promise: the replies of those ids that have one, by point look-ups.
-- Locks: none.
create or replace function revenant.fetch_replies_v1(ids uuid[])
returns table (id text, status text, version bigint, body text, digest bytea) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted uuid;
begin
    foreach wanted in array ids loop
        return query
        select r.id::text, r.status, r.version, r.body::text, r.digest from revenant.replies r
        where r.bucket = get_byte(uuid_send(wanted), 15)::smallint and r.id = wanted;
    end loop;
end
$$;
