"""The benchmarks measure what they say: every candidate answers, and no hostile body is refused for its size alone."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent / "bench"))

import hostile
import pushes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # other people's libraries
def test_every_candidate_gives_the_same_answers():
    """A candidate that skipped its work would look cheap."""
    import cost

    logging.getLogger("wx_mp_svr").addHandler(logging.NullHandler())  # else, at exit: Redis is gone
    with cost.everyone() as everybody:
        cost.Rounds(everybody, messages=1).check()


@pytest.mark.parametrize(("size", "sealed"), [(48_000, True), (65_000, False)])
def test_hostile_bodies_are_as_large_as_is_allowed(size, sealed):
    sender = pushes.Sender("safe" if sealed else "plain")
    sizes = {name: len(sender.seal(make(1)).body) for name, make in hostile.bodies(size)}
    assert max(sizes.values()) <= 64 * 1024
    assert min(sizes.values()) > 10_000
