"""Chance that can be repeated."""

from __future__ import annotations

import os
import random
import sys
import time


def seeded() -> random.Random:
    """A source of chance whose seed is printed, and taken from REVENANT_TEST_SEED to repeat a run."""
    seed = int(os.environ.get("REVENANT_TEST_SEED") or time.time_ns() % 1_000_000)
    sys.stdout.write(f"seed {seed}: repeat with REVENANT_TEST_SEED={seed}\n")
    return random.Random(seed)
