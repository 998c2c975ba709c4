-- Promise: finds out whether procrastinate's tables are still to be made; existing ones are left alone.
-- Locks: none.
select to_regclass('procrastinate_jobs') is null as pending \gset
