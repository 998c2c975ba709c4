-- Promise: removes one bucket's entities, messages and dead letters of the keys of a range, all or none of them.
-- Locks: those entities' rows, then their messages' rows: the order of a turn.
delete from revenant.entities
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s;
delete from revenant.messages
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s;
delete from revenant.scheduled
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s;
delete from revenant.dead
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s;
