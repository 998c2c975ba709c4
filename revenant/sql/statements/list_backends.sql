-- Promise: the server's processes of our connections to this database, each with the name of what it is for.
-- Locks: none.
select pid, substr(application_name, length(%(prefix)s) + 1)
from pg_stat_activity
where datname = current_database() and starts_with(application_name, %(prefix)s);
