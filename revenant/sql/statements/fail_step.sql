-- Promise: ends the attempt of a claimed step as failed.
-- Locks: those of fail_step.
select revenant.fail_step(%(token)s::uuid, %(error)s, %(retryable)s, %(type)s);
