-- Promise: finds out whether the functions differ from those in the database; newer ones are left alone.
-- Locks: revenant.migrations, access share.
select
    coalesce(max(number), 0) <= %(number)s
    and coalesce(max(checksum) filter (where number = 0), '') <> %(digest)s as pending
from revenant.migrations \gset
