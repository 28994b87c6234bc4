"""Our server answers as upstream did: one test for each recorded case."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from .differences import INTENDED
from .player import Outcome
from .recording import VARIANTS, load_cases
from .serving import play_variant
from .variants import Identities

TIMED = {case.id for variant in VARIANTS for case in load_cases(variant) if case.is_timed}
CASES = [(variant, case.id) for variant in VARIANTS for case in load_cases(variant)]

# The first test plays everything; the others look at what came out.
pytestmark = pytest.mark.timeout(300)

OutcomeOf = Callable[[str, str], Outcome]


@pytest.fixture(scope="module")
def outcome_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> OutcomeOf:
    """The outcome of a case. All that were chosen for this run are played once, in file order, the
    variants beside each other. One that waits, and differs, is played once more on its own: on a
    busy machine time may have run away from it.
    """
    chosen: dict[str, list[str]] = {}
    for item in request.session.items:
        if item.nodeid.startswith(request.node.nodeid) and hasattr(item, "callspec"):
            variant, case = item.callspec.params["variant"], item.callspec.params["case"]
            chosen.setdefault(variant, []).append(case)
    root = tmp_path_factory.mktemp("conformance")
    identities = Identities.issue(root / "pki")
    with ThreadPoolExecutor(len(VARIANTS)) as pool:
        played = {
            variant: pool.submit(play_variant, variant, cases, root / variant, identities)
            for variant, cases in chosen.items()
        }

    def outcome(variant: str, case: str) -> Outcome:
        found = played[variant].result()[case]
        if case in TIMED and _unexpected(case, found):
            found = play_variant(variant, [case], root / f"{variant} {case}", identities)[case]
        return found

    return outcome


@pytest.mark.parametrize(("variant", "case"), CASES, ids=[case for _, case in CASES])
def test_answers_as_recorded(variant: str, case: str, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(variant, case)
    unexpected = _unexpected(case, outcome)
    assert not unexpected, "\n".join(unexpected)
    equal = [number for name, number in INTENDED if name == case and outcome[number] is None]
    assert not equal, f"steps {equal} differ no more: take them out of INTENDED"


def _unexpected(case: str, outcome: Outcome) -> list[str]:
    """What differs and is not meant to."""
    found = ((number, said) for number, said in outcome.items() if said)
    return [f"step {n}: {said}" for n, said in found if (case, n) not in INTENDED]


def test_the_recordings_are_complete() -> None:
    assert len(CASES) == len({case for _, case in CASES}) == 349


def test_the_intended_differences_name_steps_that_exist() -> None:
    steps = {case.id: len(case.steps) for variant in VARIANTS for case in load_cases(variant)}
    assert not [key for key in INTENDED if key[1] >= steps.get(key[0], 0)]
