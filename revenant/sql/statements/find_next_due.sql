-- Promise: when the next message, reminder or schedule becomes due, after now and up to a moment; null where none does.
-- Locks: none.
select min(due)
from (
    select s.due from revenant.scheduled s where s.kind = any (%(kinds)s::text[])
    union all
    select r.due from revenant.reminders r
    union all
    select d.due from revenant.schedules d where d.name = any (%(schedules)s::text[])
) as later
where due > revenant.now() and due <= %(until)s::timestamptz;
