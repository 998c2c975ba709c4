-- Promise: the message did its worker no harm: removes its note, unless another worker has noted it since.
-- Locks: the message's row in suspects.
delete from revenant.suspects
where bucket = %(bucket)s::smallint and id = %(id)s::uuid and worker = %(worker)s::uuid;
