"""The one way in which tests wait for what must come."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
PATIENCE = 20.0  # seconds


def until(condition: Callable[[], T], otherwise: Callable[[], str] = str, seconds: float = PATIENCE) -> T:
    """Look again and again, and return what *condition* returned when it was true.

    Args:
        otherwise: What to say when it does not come: a log, most of the time.
        seconds: How long it may take.
    """
    end = time.monotonic() + seconds
    while not (came := condition()):
        if time.monotonic() > end:
            pytest.fail(f"it did not come within {seconds:g} s\n{otherwise()}")
        time.sleep(0.01)
    return came
