-- Promise: ends a claimed step with its result.
-- Locks: those of complete_step.
select revenant.complete_step(%(token)s::uuid, %(result)s::jsonb);
