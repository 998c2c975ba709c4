-- Promise: inside a turn, puts the messages that its handlers cast into their mailboxes; returns wake-up payloads.
-- Locks: none that anybody waits for.
select revenant.send_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(origin)s::text[], %(digest)s::bytea[]
);
