-- Promise: the committed states of one bucket whose keys are in a range, in the order of their keys.
-- Locks: none.
select key, state::text
from revenant.entities
where bucket = %(bucket)s and kind = %(kind)s and key >= %(first)s and key < %(end)s
order by key;
