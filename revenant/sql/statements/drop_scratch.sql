-- Promise: leaves nothing of the benchmark's plain table.
-- Locks: that schema's own relations, exclusively.
drop schema {schema} cascade;
