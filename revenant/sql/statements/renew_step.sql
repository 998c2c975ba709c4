-- Promise: holds a claimed step longer.
-- Locks: those of renew_step.
select revenant.renew_step(%(token)s::uuid, %(seconds)s);
