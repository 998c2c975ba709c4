-- Promise: what kept workers from becoming the owner of an entity is gone with the commit.
-- Locks: the entity's row of residents, which is held.
delete from revenant.residents r
where r.bucket = %(bucket)s and r.kind = %(kind)s and r.key = %(key)s and r.owner = %(hand)s::uuid;
