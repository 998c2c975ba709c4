-- Promise: finds out whether a migration is still to be applied, and ends the script if an applied one was edited.
-- Locks: revenant.migrations, access share.
select
    count(*) = 0 as pending, coalesce(bool_or(checksum <> %(checksum)s), false) as edited
from revenant.migrations where number = %(number)s \gset
\if :edited
    do $$ begin
        raise exception 'a migration was edited after it was applied'
            using hint = 'Restore its file, and write the change as a new migration.';
    end $$;
\endif
