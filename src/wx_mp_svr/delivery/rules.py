"""What one try of WeChat's does next: a table, and the first row that holds decides.

A scene in, a step out; whoever drives a try looks, asks here, does the step and asks again. Pure: no clock, no store.

WeChat waits 5 seconds for each try, counted from its own start, and pushes three times; what answers the third still
reaches the user.
"""

from collections.abc import Callable
from enum import Enum
from typing import Literal, NamedTuple

WECHAT_SECONDS = 5.0  # that WeChat waits
BLINK_SECONDS = 0.1  # in a full house: most handlers are done by then, and nobody waits long for the thread


class PageState(Enum):
    """How far the page is that a try waits for."""

    NONE = "nothing of it is there"
    GROWING = "a part of it is there"
    READY = "it is there"


class RunState(Enum):
    """What is known of the run that writes it."""

    FREE = "nobody has claimed it"
    ALIVE = "its process lives"
    LOST = "its process is gone"
    SPENT = "free or lost, and not to be run again"


class Patience(Enum):
    """How long a try may be kept."""

    BLINK = "for a blink: the house is full"
    SHORT = "for a short look: the house is full, but few take one"
    HOLD = "within its 5 seconds: nobody else would serve the others, or too many tries have failed"
    FULL = "beyond its 5 seconds, so that WeChat pushes again"


class Act(Enum):
    """What to do."""

    SEND = "the page"
    CLAIM = "claim it, run the handler, and look again"
    END = "write as the last page that nothing more will come, and look again"
    WAIT = "for the page, until a time of the try"
    HANG_UP = "WeChat has hung up; it pushes again"
    ACK = "acknowledge"
    PART = "the part that is there, with a link to the rest"
    PROMISE = "say nothing, but note that the answer is to come"
    LINK = "the slow text, with a link to where the answer will be"


class Scene(NamedTuple):
    """What is known about one try at one instant.

    Attributes:
        elapsed: Seconds since this try came.
        number: Which of WeChat's tries it is, from 1.
        page: How far its page is.
        run: Who writes it.
        answerable: Whether the user would see an answer.
        slow_text: Whether there is a text for answers that take long.
        patience: How long it may be kept.
        backlog: Seconds that it had waited before it came; WeChat counts them.
    """

    elapsed: float
    number: int
    page: PageState
    run: RunState
    answerable: Literal["yes", "no", "?"]
    slow_text: bool
    patience: Patience
    backlog: float = 0.0


class Times(NamedTuple):
    """When a try changes its mind, in seconds from its beginning; and how often WeChat tries."""

    held_after: float = 1.0
    hold: float = 4.3
    hang_up: float = 5.2
    tries: int = 3


class Step(NamedTuple):
    """What to do; of a wait, until when, in seconds since the try began."""

    act: Act
    until: float = 0.0


class Row(NamedTuple):
    """One rule; its step may depend on how long a try has waited in a backlog."""

    about: str
    holds: Callable[[Scene], bool]
    step: Callable[[Scene], Step]


_KEPT = (Patience.HOLD, Patience.FULL)


def _do(act: Act) -> Callable[[Scene], Step]:
    step = Step(act)
    return lambda scene: step


def _wait(until: Callable[[Scene], float]) -> Callable[[Scene], Step]:
    return lambda scene: Step(Act.WAIT, until(scene))


class Rules:
    """The table for one account.

    Args:
        times: Of one try.
    """

    def __init__(self, times: Times) -> None:
        def last(s: Scene) -> bool:
            return s.number >= times.tries or s.answerable == "no"

        def blink(s: Scene) -> float:
            return BLINK_SECONDS

        def held_after(s: Scene) -> float:
            return times.held_after

        def hold(s: Scene) -> float:
            return max(times.held_after, times.hold - s.backlog)

        def hang_up(s: Scene) -> float:
            # Whatever it waited before: an early error would cost the user a try.
            return max(WECHAT_SECONDS, times.hang_up - s.backlog)

        none, growing, ready = PageState.NONE, PageState.GROWING, PageState.READY
        self.rows = (
            Row("the answer is there", lambda s: s.page is ready and s.elapsed < hold(s), _do(Act.SEND)),
            Row(
                "nobody runs it, or its process is gone",
                lambda s: s.page is none and s.run in (RunState.FREE, RunState.LOST),
                _do(Act.CLAIM),
            ),
            Row(
                "it will not come any more",
                lambda s: s.page is not ready and s.run is not RunState.ALIVE,
                _do(Act.END),
            ),
            Row(
                "a blink",
                lambda s: s.patience is Patience.BLINK and s.elapsed < BLINK_SECONDS,
                _wait(blink),
            ),
            Row(
                "a short look",
                lambda s: s.patience is not Patience.BLINK and s.elapsed < times.held_after,
                _wait(held_after),
            ),
            Row(
                "within one try",
                lambda s: s.patience in _KEPT and s.elapsed < hold(s),
                _wait(hold),
            ),
            # What gets ready from now on goes out with the next try.
            Row(
                "not the last try",
                lambda s: s.patience is Patience.FULL and not last(s) and s.elapsed < hang_up(s),
                _wait(hang_up),
            ),
            Row("WeChat has hung up", lambda s: s.patience is Patience.FULL and not last(s), _do(Act.HANG_UP)),
            Row("nobody would see it", lambda s: s.answerable == "no", _do(Act.ACK)),
            Row("what there is so far", lambda s: s.page is growing and s.answerable == "yes", _do(Act.PART)),
            Row("just in time", lambda s: s.page is ready, _do(Act.SEND)),
            Row(
                "nothing to say, or an event of unknown kind",
                lambda s: not s.slow_text or s.answerable == "?",
                _do(Act.PROMISE),
            ),
            Row("otherwise", lambda s: True, _do(Act.LINK)),
        )

    def next_step(self, scene: Scene) -> Step:
        """Return what to do next: the step of the first row that holds."""
        return next(row.step(scene) for row in self.rows if row.holds(scene))
