-- Promise: ends the script where a newer release has migrated this database to a schema that this one does not suit.
-- Locks: revenant.migrations, access share.
select exists (select from revenant.migrations where compatible_from > %(number)s) as newer \gset
\if :newer
    do $$ begin
        raise exception 'the schema belongs to a newer release, and no longer suits this one'
            using hint = 'Deploy the newer release here; there is no way back for the schema.';
    end $$;
\endif
select coalesce(max(number), 0) > %(number)s as ahead from revenant.migrations \gset
