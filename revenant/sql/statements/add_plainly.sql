-- Promise: what an application without Revenant would do: one counter changed, a commit of its own, the new value back.
-- Locks: that row.
update {schema}.counters set value = value + %(amount)s, version = version + 1
where key = %(key)s
returning value;
