-- Promise: records the digest of the functions that are in the database now, as number 0.
-- Locks: revenant.migrations, row exclusive, and its row 0.
insert into revenant.migrations (number, name, checksum, compatible_from)
values (0, 'functions', %(digest)s, 0)
on conflict (number) do update set checksum = excluded.checksum, applied_at = excluded.applied_at;
