-- Promise: says what of the schema is there: the record of migrations, procrastinate's, the names of our functions.
-- Locks: none beyond the catalogues'.
select
    pg_is_in_recovery() as standby,
    to_regclass('revenant.migrations') is not null as recorded,
    to_regclass('procrastinate_jobs') is not null as procrastinate,
    array(
        select proname::text from pg_catalog.pg_proc where pronamespace = to_regnamespace('revenant')
    ) as functions;
