-- Promise: notes that this worker is about to handle a message; returns how many died while they handled it.
-- Locks: those of note_suspect_v2.
select revenant.note_suspect_v2(
    %(worker)s::uuid, %(bucket)s::smallint, %(kind)s, %(key)s, %(seq)s::bigint, %(id)s::uuid
);
