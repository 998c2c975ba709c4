-- Promise: for each kind, how many messages wait for a worker: in mailboxes, or scheduled and due.
-- Locks: none.
select kind, count(*)
from (
    select kind from revenant.messages
    union all
    select kind from revenant.scheduled where due <= revenant.now()
) as waiting
group by kind
order by kind;
