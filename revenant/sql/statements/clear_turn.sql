-- Promise: the lane's turn did its worker no harm: removes its note.
-- Locks: the lane's note.
delete from revenant.notes where worker = %(worker)s::uuid and lane = %(lane)s;
