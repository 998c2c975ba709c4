-- Promise: removes dead letters for good; returns the ids of those that were there.
-- Locks: the dead letters' rows, in the order found.
delete from revenant.dead d
using unnest(%(ids)s::uuid[]) as wanted (id)
where d.bucket = get_byte(uuid_send(wanted.id), 15)::smallint and d.id = wanted.id
returning d.id::text;
