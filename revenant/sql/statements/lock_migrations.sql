-- Promise: makes migrators take turns. The key is fixed for ever: the ASCII letters REVENANT as one bigint.
-- Locks: the advisory lock 5928239340168760916, until the transaction ends; always taken first.
select pg_advisory_xact_lock(5928239340168760916);
