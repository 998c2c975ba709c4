-- Promise: the messages that wait for one entity, in their order, from behind a number on.
-- Locks: none.
select
    m.seq, m.id::text, m.handler, m.args,
    case
        when m.origin is null then 'cast' when starts_with(m.origin, 'revenant_run ') then 'call by a run' else 'call'
    end as sent_as,
    m.attempts, m.sent_at
from revenant.messages m
where m.bucket = %(bucket)s and m.kind = %(kind)s and m.key = %(key)s and m.seq > %(after)s
order by m.seq
limit %(page)s;
