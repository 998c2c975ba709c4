-- Promise: whatever this job took with it is forgotten.
-- Locks: the job's row in suspects.
delete from revenant.suspects
where bucket = get_byte(uuid_send(%(id)s::uuid), 15)::smallint and id = %(id)s::uuid;
