-- Promise: gives a view the owner that it had.
-- Locks: the view, ACCESS EXCLUSIVE.
alter view revenant_state.%(view)s owner to %(owner)s;
