"""Part "body": CPU time over the size of the body, and of bodies that are made to be expensive."""

import statistics
from dataclasses import replace
from itertools import pairwise

import candidates
import hostile
from pushes import Push, Sender, WsgiApp, check, send
from tables import mark, quartiles, table

from wx_mp_svr.testing.packets import new_msg_id

LIMIT = 64 * 1024
SIZES = (1, 4, 16, 63)  # KB posted
GROWTH = 1.5  # of the price of a further KB, from one step to the next
HOSTILE_GOAL = 5.0  # milliseconds
SLOW = 0.3  # seconds; not measured again and again
SHOWN = 12

TEXTS = {
    "Chinese": "请问明天上午去机场的大巴几点发车？",
    "ASCII": "When does the bus to the airport leave? ",
    "tags": "<b>x</b> &amp; ",
    "]]>": "x]]>y",
}


def run(rounds: int) -> str:
    """Measure, and return the tables."""
    return sizes(rounds * 10) + "\n" + hostiles(rounds)


def _short(req: object) -> str:
    return "ok"


# -- sizes -------------------------------------------------------------------------------------------------------------


def sizes(rounds: int) -> str:
    """Measure texts of several sizes, in turn."""
    rows = []
    for mode in ("safe", "plain"):
        app, sender = candidates.ours(mode, handler=_short), Sender(mode)
        for name, text in TEXTS.items():
            contents = {size: _content(sender, text, size * 1024) for size in SIZES}
            check(app, replace(sender.text(contents[1]), expected="ok"), mode)
            micros: dict[int, list[float]] = {size: [] for size in SIZES}
            for _ in range(rounds):
                for size, content in contents.items():
                    sent = send(app, [sender.text(content) for _ in range(5)])
                    micros[size].append(sent.cpu * 1e6)
            rows.append([f"{mode}, {name}", *_row({size: quartiles(figures)[1] for size, figures in micros.items()})])
    head = ["text", *(f"{size} KB" for size in SIZES), *(f"per KB {a}-{b}" for a, b in _steps()), "growth", "goal"]
    return f"Posted bodies of several sizes: CPU µs, {rounds} rounds of 5.\n\n" + table(head, rows)


def _content(sender: Sender, text: str, size: int) -> str:
    """Return a text with which the body has about this size."""
    bare = len(sender.text("").body)
    factor = (len(sender.text(text * 100).body) - bare) / 100
    return text * max(1, int((size - bare) / factor))


def _steps() -> list[tuple[int, int]]:
    return list(pairwise(SIZES))


def _row(micros: dict[int, float]) -> list[str]:
    slopes = [(micros[b] - micros[a]) / (b - a) for a, b in _steps()]
    growth = slopes[-1] / slopes[-2]
    figures = [f"{micros[size]:.0f}" for size in SIZES] + [f"{slope:.2f}" for slope in slopes]
    return [*figures, mark(growth, GROWTH), f"{GROWTH:.2f}"]


# -- hostile bodies ----------------------------------------------------------------------------------------------------


def hostiles(rounds: int) -> str:
    """Measure every hostile body in every way that it may come."""
    safe, plain = candidates.ours("safe", handler=_short), candidates.ours("plain", handler=_short)
    ways = {
        "sealed": (safe, _sealed, int(LIMIT * 0.74)),
        "unsigned, safe": (safe, _unsigned, LIMIT - 100),
        "unsigned, plain": (plain, _unsigned, LIMIT - 100),
        "signed, plain": (plain, _signed, LIMIT - 100),
    }
    found: dict[str, dict[str, float]] = {}
    for way, (app, push_of, size) in ways.items():
        for name, make in hostile.bodies(size):
            pushes = [push_of(make(new_msg_id())) for _ in range(rounds + 1)]
            found.setdefault(name, {})[way] = 1000 * _median(app, pushes, f"{name}, {way}")
    order = sorted(found, key=lambda name: -max(found[name].values()))
    over = [name for name in order if max(found[name].values()) > HOSTILE_GOAL]
    rows = [
        [name, *(mark(found[name][way], HOSTILE_GOAL, tolerance=1.0) for way in ways), f"{HOSTILE_GOAL:.0f}"]
        for name in order[: max(SHOWN, len(over))]
    ]
    title = (
        f"Hostile bodies of {LIMIT // 1024} KB, CPU ms, medians of {rounds}: the worst {len(rows)} of {len(found)}, "
        f"{len(over)} over the goal.\n\n"
    )
    return title + table(["body", *ways, "goal"], rows)


def _median(app: WsgiApp, pushes: list[Push], what: str) -> float:
    seconds = []
    for push in pushes:
        sent = send(app, [push])
        if not sent.statuses <= {"200 OK", "403 FORBIDDEN"}:
            raise SystemExit(f"{what}: answered {sent.statuses}")
        seconds.append(sent.cpu)
        if sent.cpu > SLOW:
            return sent.cpu
    return statistics.median(seconds[1:])


_senders = {mode: Sender(mode) for mode in ("safe", "plain")}


def _sealed(xml: bytes) -> Push:
    return _senders["safe"].seal(xml)


def _signed(xml: bytes) -> Push:
    return Push(_senders["plain"].text("").query, xml)


def _unsigned(xml: bytes) -> Push:
    return Push(_senders["safe"].text("").query.replace("signature=", "signature=0"), xml)
