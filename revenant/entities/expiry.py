"""Expiry: an entity that nobody sends to any more ends, by a message in its own mailbox."""

from __future__ import annotations

from pydantic_core import from_json

from revenant.entities.instance import Instance
from revenant.queue.records import Delivery


def is_still_idle(instance: Instance, delivery: Delivery) -> bool:
    """Whether nothing has reached the entity since it was found idle, and nothing waits for it."""
    found_at = from_json(delivery.args).get("version")
    alone = len(instance.claimed.deliveries) == 1
    return instance.definition.entity_idle_delete is not None and alone and instance.version == found_at
