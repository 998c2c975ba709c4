"""Notices: the jobs that tell passengers, as procrastinate runs them."""

from __future__ import annotations

import logging

import procrastinate

log = logging.getLogger("revenant.demo")
jobs = procrastinate.App(connector=procrastinate.PsycopgConnector())


@jobs.task(name="revenant.demo.notify")
async def notify(claim: str, paid: int) -> None:
    """Tell the passengers of a claim what they get; stands for a mail."""
    log.info("The passengers of %s get %d euros each", claim, paid)
