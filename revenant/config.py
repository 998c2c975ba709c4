"""Settings: what an operator may choose, each with its unit and its environment variable.

Values come from the constructor of `Revenant`, else from `REVENANT_*` variables, else from the defaults here.
"""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LONGEST_WAIT = 1e9
"""Seconds, about thirty years, that a setting or a time-out may say at most."""
MOST = 1000
"""Lanes, jobs or processes that one command may be told to run at most."""


class Settings(BaseSettings):
    """The settings of one process.

    Example:
        >>> Settings(call_timeout=2.0).call_timeout
        2.0
    """

    model_config = SettingsConfigDict(env_prefix="REVENANT_", frozen=True, extra="forbid", populate_by_name=True)

    database_url: str | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "REVENANT_DATABASE_URL")
    )
    """libpq URI or keyword string; `None` starts or joins the embedded server."""
    call_timeout: float = Field(default=5.0, gt=0, le=LONGEST_WAIT)
    """Seconds that a call waits for its reply, and a cast for its confirmation."""
    max_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """Bytes of JSON that one message's arguments, one result, or one entity's state may take."""
    reply_ttl: float = Field(default=3600.0, gt=0, le=LONGEST_WAIT)
    """Seconds that a reply which nobody has read is kept."""
    receipt_ttl: float = Field(default=86400.0, gt=0, le=LONGEST_WAIT)
    """Seconds that an idempotency key is remembered after its message was handled."""
    cast_attempts: int = Field(default=5, ge=1, le=1_000_000)
    """Times that a cast is tried before it becomes a dead letter."""
    cast_backoff: float = Field(default=1.0, gt=0, le=LONGEST_WAIT)
    """Seconds before a failed cast's second attempt; doubled for each further one, with jitter, up to an hour."""
    turn_budget: float = Field(default=0.02, gt=0, le=LONGEST_WAIT)
    """Seconds after which a turn stops taking further messages; what is left is claimed again."""
    handler_timeout: float = Field(default=10.0, gt=0, le=1e6)
    """Seconds that one handler may take before it is cancelled: it holds its entity, and a transaction, so long."""
    validate_state: bool = False
    """Whether each new state is read again as Postgres gives it back, and compared: as `revenant dev` does."""
    cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    """Bytes of strict entities' states, as JSON, that a worker keeps in memory instead of reading them again."""
    steps: int = Field(default=1000, ge=1, le=MOST)
    """Attempts of workflows' steps that one worker process runs at a time."""
    step_threads: int = Field(default=32, ge=1, le=MOST)
    """Threads per worker process in which steps run that are not `async def`."""
    cells: int = Field(default=3, ge=2, le=MOST)
    """Child processes in which a worker process runs, at most, attempts that were beside the deaths of workers."""
    lanes: int = Field(default=4, ge=1, le=MOST)
    """Connections per worker process that run turns."""
    jobs: int = Field(default=1, ge=0, le=MOST)
    """procrastinate jobs that one worker process runs at a time; 0 runs none."""
    processes: int = Field(default=0, ge=0, le=MOST)
    """Processes that one `revenant worker` keeps running, restarting what dies; 0: it serves by itself."""
    drain_timeout: float = Field(default=25.0, gt=0, le=LONGEST_WAIT)
    """Seconds that a stopping worker gives running turns and jobs."""
