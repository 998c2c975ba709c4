-- Promise: returns what was applied, in order; number 0 stands for the set of functions.
-- Locks: revenant.migrations, access share.
select number, name, checksum, compatible_from from revenant.migrations order by number;
