-- Promise: removes what a handler has left on its session: temporary tables, prepared statements, advisory locks, LISTEN.
-- Locks: none new but those of dropped temporary tables; gives up the session's advisory locks.
create or replace function revenant.restore_session_v1() returns void language plpgsql volatile as $$
declare
    prepared name;
begin
    unlisten *;
    discard temp;
    perform pg_advisory_unlock_all();
    -- Those that psycopg has prepared, by the protocol, it counts on.
    for prepared in select p.name from pg_prepared_statements p where p.from_sql loop
        execute format('deallocate %I', prepared);
    end loop;
end
$$;
