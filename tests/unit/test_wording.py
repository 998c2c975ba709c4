"""Messages about what is somebody else's: exceptions without a text, names with a vowel, sizes of plurals."""

from __future__ import annotations

import pytest

from revenant.codec import ANYTHING, dump
from revenant.errors import TooLarge
from revenant.queue.failures import error_of
from revenant.wording import a, raised
from revenant.workflows.flow import Flow
from revenant.workflows.operation import Misfit
from revenant.workflows.results import outcome_of
from revenant.workflows.workflow import workflow
from tests.dry import DryRun


def test_an_exception_without_a_text_leaves_no_colon_behind() -> None:
    told = {"error": "HandlerError", "type": "MemoryError", "message": "", "where": "Account('a').fill"}
    assert str(error_of(told)).startswith("Account('a').fill raised MemoryError. The state is as it was")
    assert str(error_of({**told, "message": "no room"})).startswith("Account('a').fill raised MemoryError: no room. ")
    assert raised("MemoryError", " ") == "MemoryError"


def test_a_run_that_failed_without_a_text_is_told_so_without_a_colon() -> None:
    @workflow
    async def ends(flow: Flow) -> None:
        raise MemoryError

    run = DryRun(ends)
    _, told = outcome_of("run:ends", "r", run.last())
    assert told["message"] == "Run 'r' of ends failed: MemoryError. `revenant run show` has its history."


@pytest.mark.parametrize(("name", "said"), [("evil", "an evil"), ("OSError", "an OSError"), ("KeyError", "a KeyError")])
def test_a_name_has_the_article_that_it_is_spoken_with(name: str, said: str) -> None:
    assert a(name) == said


def test_what_is_too_large_is_told_of_many_as_of_one() -> None:
    with pytest.raises(TooLarge, match=r"^The arguments of x as JSON: 22 bytes, and the limit is 9\. Nothing"):
        dump(ANYTHING, "x" * 20, what="The arguments of x", limit=9)


def test_a_payload_of_the_wrong_shape_changed_nothing_and_says_so_but_a_codes_refusal_is_its_own() -> None:
    assert Misfit("InvalidArguments", "Input should be a valid string").told == (
        "Input should be a valid string. Nothing was changed; send what has the shape that the run's code asks for."
    )
    assert Misfit("UpdateRefused", "nobody delivers there").told == "nobody delivers there"
