"""Part "cost": the CPU time of one message, in one process, as a ratio to an empty Flask POST view.

In each round every candidate answers fresh messages, in an order that changes, and the empty view answers as many before
and after each of them: that is what a ratio is to. What else the machine does is then in both.
"""

import gc
import os
import random
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import candidates
import servers
from pushes import AnswerError, Push, Sender, WsgiApp, check, check_answer, send
from tables import mark, quartiles, table

EMPTY, WECHATPY, WEROBOT = "empty Flask view", "wechatpy's view", "WeRoBot's view"
SQLITE_GOAL, SQLITE_AIM = 60, 35  # microseconds over memory
OTHERS_GOAL = 0.40  # of the others' cost
COMPARED = ("alone, memory: safe", "alone, memory: plain")


@dataclass(frozen=True)
class Candidate:
    """One row of the table.

    Attributes:
        name: What is shown.
        app: What answers.
        mode: "safe" or "plain".
        mixed: Whether it gets messages of all kinds.
        goal: The ratio to the empty view that it should not exceed.
        checked: Whether its answers are looked at.
    """

    name: str
    app: WsgiApp
    mode: str = "safe"
    mixed: bool = False
    goal: float | None = None
    checked: bool = True


@contextmanager
def everyone() -> Iterator[list[Candidate]]:
    """Give all candidates, with the servers and files that their stores need."""
    with tempfile.TemporaryDirectory(prefix="wx-mp-bench-") as name, servers.redis(Path(name)) as redis:
        ours, pool = candidates.ours, candidates.EchoInPool
        sqlite = [f"sqlite:{name}/{which}.sqlite3" for which in ("alone", "mounted")]
        yield [
            Candidate("the harness alone", candidates.nothing, checked=False),
            Candidate(EMPTY, candidates.empty(), checked=False),
            Candidate("alone, SQLite: safe", ours("safe", store=sqlite[0]), goal=2.6),
            Candidate("alone, memory: safe", ours("safe"), goal=1.3),
            Candidate("alone, memory: plain", ours("plain"), "plain", goal=0.8),
            Candidate("alone, memory: safe, all kinds", ours("safe"), mixed=True),
            Candidate("alone, memory: plain, all kinds", ours("plain"), "plain", mixed=True),
            Candidate("alone, memory: safe, in the pool", ours("safe", handler=pool()), goal=2.0),
            Candidate("alone, memory: safe, async def", ours("safe", handler=candidates.echo_async), goal=2.4),
            Candidate("alone, Redis: safe", ours("safe", store=redis.url)),
            Candidate("mounted, SQLite: safe", ours("safe", mounted=True, store=sqlite[1])),
            Candidate("mounted, memory: safe", ours("safe", mounted=True), goal=1.4),
            Candidate("mounted, memory: plain", ours("plain", mounted=True), "plain"),
            Candidate("mounted, memory: safe, as a view", ours("safe", mounted=True, hooks=True), goal=2.9),
            Candidate("mounted, Redis: safe", ours("safe", mounted=True, store=redis.url)),
            Candidate(f"{WECHATPY}: safe", candidates.wechatpy("safe")),
            Candidate(f"{WECHATPY}: plain", candidates.wechatpy("plain"), "plain"),
            Candidate(f"{WEROBOT}: safe", candidates.werobot("safe")),
            Candidate(f"{WEROBOT}: plain", candidates.werobot("plain"), "plain"),
        ]


@contextmanager
def one_core() -> Iterator[None]:
    """Keep to one core, as the threads of one interpreter do that take turns; whose caches are cold is not measured.

    Threads that are started meanwhile keep to it, too. Redis, which is started before, may have another.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Times:
    """What the rounds have shown for one candidate, a figure for each.

    Attributes:
        micros: Microseconds of CPU for a message.
        ratios: The same, as a ratio to the empty view beside it.
    """

    micros: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


class Rounds:
    """Sends fresh messages to all candidates, round after round.

    Args:
        everybody: Who takes part.
        messages: For each of them in a round.
    """

    def __init__(self, everybody: list[Candidate], messages: int) -> None:
        self._everybody = everybody
        self._messages = messages
        self._senders = {mode: Sender(mode) for mode in ("safe", "plain")}
        self._empty = candidates.empty()
        self._for_empty = self._senders["safe"].texts(messages)  # it does not look at them

    def check(self) -> None:
        """See that every candidate does what it is measured for.

        Raises:
            AnswerError: One does not.
        """
        for candidate in self._everybody:
            for push in self._pushes(candidate, 26) if candidate.checked else []:
                try:
                    check(candidate.app, push, candidate.mode)
                except AnswerError as exc:
                    raise AnswerError(f"{candidate.name}: {exc}") from exc

    def run(self, rounds: int) -> dict[str, Times]:
        """Measure; the first round only warms up."""
        self._round()
        times = {candidate.name: Times() for candidate in self._everybody}
        for _ in range(rounds):
            for name, (micros, ratio) in self._round().items():
                times[name].micros.append(micros)
                times[name].ratios.append(ratio)
        return times

    def _round(self) -> dict[str, tuple[float, float]]:
        found = {}
        before = self._measure_empty()
        for candidate in random.sample(self._everybody, len(self._everybody)):
            pushes = self._pushes(candidate, self._messages)
            gc.collect()
            sent = send(candidate.app, pushes)
            if candidate.checked:
                check_answer(sent, pushes[-1], candidate.mode)
            after = self._measure_empty()
            found[candidate.name] = (sent.cpu * 1e6, 2 * sent.cpu / (before + after))
            before = after
        return found

    def _measure_empty(self) -> float:
        return send(self._empty, self._for_empty).cpu

    def _pushes(self, candidate: Candidate, count: int) -> list[Push]:
        sender = self._senders[candidate.mode]
        return sender.mixed(count) if candidate.mixed else sender.texts(count)


def run(rounds: int, messages: int) -> str:
    """Measure, and return the tables."""
    with everyone() as everybody, one_core():
        measure = Rounds(everybody, messages)
        measure.check()
        gc.collect()
        gc.freeze()  # else each collection would look at all modules again
        times = measure.run(rounds)
        gc.unfreeze()
    sizes = [round(statistics.mean(len(push.body) for push in Sender(mode).texts(20))) for mode in ("safe", "plain")]
    title = (
        f"CPU time of a message: {rounds} rounds of {messages} fresh messages for each; posted are {sizes[0]} bytes "
        f"(safe), {sizes[1]} (plain).\n\n"
    )
    return title + costs(everybody, times) + "\n" + stores(times)


def costs(everybody: list[Candidate], times: dict[str, Times]) -> str:
    """Write the main table."""
    rows = []
    for candidate in everybody:
        own = times[candidate.name]
        low, middle, high = quartiles(own.ratios)
        compared = candidate.name in COMPARED
        others = []
        for other in (WECHATPY, WEROBOT):
            pairs = zip(own.ratios, times[f"{other}: {candidate.mode}"].ratios, strict=True)
            others.append(mark(quartiles([our / their for our, their in pairs])[1], OTHERS_GOAL if compared else None))
        goals = [f"{candidate.goal:.2f}"] if candidate.goal else []
        goals += [f"{OTHERS_GOAL:.2f} of others"] if compared else []
        spread = f"{low:.2f} - {high:.2f}"
        micros = f"{quartiles(own.micros)[1]:.1f}"
        rows.append([candidate.name, micros, mark(middle, candidate.goal), spread, *others, ", ".join(goals)])
    return table(["one message", "CPU µs", "x empty", "quartiles", "x wechatpy", "x WeRoBot", "goal"], rows)


def stores(times: dict[str, Times]) -> str:
    """Write what the other stores cost over memory."""
    rows = []
    for place in ("alone", "mounted"):
        for store in ("SQLite", "Redis"):
            pairs = zip(times[f"{place}, {store}: safe"].micros, times[f"{place}, memory: safe"].micros, strict=True)
            low, middle, high = quartiles([there - here for there, here in pairs])
            goal = SQLITE_GOAL if store == "SQLite" and place == "alone" else None
            said = f"{goal}, aim {SQLITE_AIM}" if goal else ""
            rows.append([f"{place}: {store}", mark(middle, goal, 1), f"{low:.1f} - {high:.1f}", said])
    return table(["over memory, in this process", "CPU µs", "quartiles", "goal"], rows)
