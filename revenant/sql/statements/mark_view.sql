-- Promise: says on a view whose it is, and of which shape.
-- Locks: the view.
comment on view revenant_state.%(view)s is %(mark)s;
