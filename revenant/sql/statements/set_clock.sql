-- Promise: moves the clock of a test's database, for all of its connections at once.
-- Locks: the clock's row.
update revenant_testing.clock set moment = %(moment)s::timestamptz;
