"""Plants one fault after the other and plays until the simulation finds it: ``python tests/simulation/planted.py``.

Prints a row for each: the fault, and how many schedules it took. Exits with 1 if one is not found within 2,000.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from run import play

from wx_mp_svr.delivery.answer import Answer
from wx_mp_svr.delivery.house import House
from wx_mp_svr.delivery.ledger import Ledger, Page
from wx_mp_svr.delivery.rules import Act, Rules
from wx_mp_svr.delivery.tries import Outcome, Tries
from wx_mp_svr.handling.sessions import Sessions
from wx_mp_svr.store.alive import Alive
from wx_mp_svr.store.guarded import GuardedStore

MAX_SEEDS = 2000


@contextmanager
def planted(owner: type, name: str, fault: Any) -> Iterator[None]:
    """Put *fault* in the place of a method for a while."""
    before = owner.__dict__[name]
    setattr(owner, name, fault)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _look_then_promise(self: Tries, this: Any, act: Act) -> Outcome:
    page = self._ledger.page(this.asked, this.page)
    if page is not None:
        return Outcome(page.xml, "reply", this.number)
    number = self._ledger.promise(this.asked, this.req.openid, this.req.raw)
    return Outcome(self._texts.slow(this.req, this.asked, number, this.page), "slow", this.number)


def _get_then_set(self: Ledger, push: str, number: int, owner: str) -> bool:
    key = f"2:{push}:run:{number}"
    if self._store.get(key) is not None:
        return False
    self._store.set(key, owner, 600)
    return True


def _write_over(self: Ledger, push: str, number: int, page: Page, *, behind_link: bool) -> Page:
    self._store.set(f"2:{push}:page:{number}", tuple(page), 600)
    return page


def _believe_the_own_cut(self: Ledger, push: str, number: int, page: Page, *, behind_link: bool) -> Page:
    self._store.add(f"2:{push}:page:{number}", tuple(page), 600)
    return page


def _run_unclaimed(self: Tries, this: Any, claim: Any) -> None:
    this.answer = self._runs.start(this.asked, this.message, claim.number + 1, this.arrived, here=False)


_begin_rules = Rules.__init__


def _one_try_more(self: Rules, times: Any) -> None:
    _begin_rules(self, times._replace(tries=times.tries + 1))


def _cut_and_say_again(self: Answer, number: int) -> Page | None:
    with self._lock:
        if number == self._page and not self.over:
            page = self._texts.page_so_far(self.push, self.req, number, self._text[self._position :])
            position = self._position
            if page is not None:
                self._put(page)
                self._position = position
        return self._pages.get(number)


def _no_turn(self: Sessions, key: str, mine: str, turn: Any, until: float) -> Iterator[None]:
    yield from ()


FAULTS: dict[str, tuple[type, str, Any]] = {
    "a try looks before it promises": (Tries, "_promise", _look_then_promise),
    "a claim is a look and a write": (Ledger, "claim", _get_then_set),
    "a page is written over": (Ledger, "write_page", _write_over),
    "a run believes its own cut": (Ledger, "write_page", _believe_the_own_cut),
    "what was cut is said again": (Answer, "page_so_far", _cut_and_say_again),
    "a lost push is run without a claim": (Tries, "_run_again", _run_unclaimed),
    "a living process counts as dead": (Alive, "is_lost", lambda self, process: process != self.process),
    "the last try hangs up": (Rules, "__init__", _one_try_more),
    "a place in the house is not given back": (House, "leave", lambda self, patience: None),
    "two answers of a user have one number": (Ledger, "_next_number", lambda self, user: 1),
    "not found is expired while the store is down": (Ledger, "may_come", lambda self, number: False),
    "what the spare holds is not copied back": (GuardedStore, "_copy", lambda self, copied: 0),
    "two hold one session": (Sessions, "lock", _no_turn),
}


def main() -> None:
    """Plant them one by one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="faults whose name has this in it")
    options = parser.parse_args()
    logging.getLogger("wx_mp_svr").addHandler(logging.NullHandler())
    logging.getLogger("wx_mp_svr").propagate = False
    missed = 0
    print("| fault | found after | as |\n|---|---|---|")
    for name, (owner, method, fault) in FAULTS.items():
        if options.only and options.only not in name:
            continue
        with planted(owner, method, fault):
            for seed in range(MAX_SEEDS):
                violations = play(seed).violations
                if violations:
                    print(f"| {name} | {seed + 1} | {violations[0][:90]} |", flush=True)
                    break
            else:
                missed += 1
                print(f"| {name} | not in {MAX_SEEDS} | |", flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
