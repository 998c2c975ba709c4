-- Promise: records one applied migration, once and for ever.
-- Locks: revenant.migrations, row exclusive.
insert into revenant.migrations (number, name, checksum, compatible_from)
values (%(number)s, %(name)s, %(checksum)s, %(compatible_from)s);
