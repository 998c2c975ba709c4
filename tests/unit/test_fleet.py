"""Who goes first: every worker of the fleet comes to the same answer, and one that leaves takes only its own share."""

from __future__ import annotations

import itertools

from revenant.worker.fleet import Fleet, Member

KINDS = {"Account": {"vsn": 1, "handlers": ["deposit"]}}
NAMES = ["one", "two", "three"]


def fleets(members: list[Member]) -> dict[str, Fleet]:
    made = {member.id: Fleet(own_id=member.id) for member in members}
    for order, fleet in zip(itertools.cycle(itertools.permutations(members)), made.values(), strict=False):
        fleet.update(order)
    return made


def owners(members: list[Member]) -> list[str]:
    """Return who goes first for each bucket; there must be exactly one."""
    found = fleets(members)
    owned = [[name for name, fleet in found.items() if fleet.goes_first("Account", bucket)] for bucket in range(256)]
    assert all(len(names) == 1 for names in owned)
    return [names[0] for names in owned]


def test_exactly_one_worker_goes_first_for_each_bucket_and_each_has_a_share() -> None:
    owned = owners([Member(name, KINDS, False, True) for name in NAMES])
    assert all(owned.count(name) > 40 for name in NAMES)


def test_a_worker_that_leaves_moves_only_its_own_buckets() -> None:
    before = owners([Member(name, KINDS, False, True) for name in NAMES])
    after = owners([Member(name, KINDS, False, True) for name in NAMES[:2]])
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "three")


def test_a_draining_worker_and_one_without_the_kind_go_first_for_nothing() -> None:
    members = [Member("one", KINDS, True, True), Member("two", {}, False, True), Member("three", KINDS, False, True)]
    found = fleets(members)
    assert [sum(found[name].goes_first("Account", bucket) for bucket in range(256)) for name in NAMES] == [0, 0, 256]


def test_news_of_the_fleet_change_who_goes_first() -> None:
    fleet = Fleet(own_id="one")
    assert fleet.goes_first("Account", 1), "a worker that knows of nobody does everything"
    fleet.update([Member("one", KINDS, True, True), Member("two", KINDS, False, True)])
    assert not fleet.goes_first("Account", 1)


def test_a_handler_is_served_elsewhere_if_and_only_if_another_live_worker_has_it() -> None:
    fleet = Fleet(own_id="one")
    fleet.update([Member("one", KINDS, False, True), Member("two", {"Account": {"handlers": ["stamp"]}}, False, True)])
    assert fleet.served_elsewhere("Account", "stamp")
    assert not fleet.served_elsewhere("Account", "deposit")
    assert not fleet.served_elsewhere("Parcel", "stamp")
