"""What is known of each push, in the store: the only room that spells a push's keys.

    FREE -claim-> CLAIMED | QUEUED      QUEUED -start-> CLAIMED      CLAIMED -page-> GROWING -last page-> DONE
    beside it a promise:  NONE -a try ends without the answer-> PROMISED -DONE-> READY -tap or mention-> TAKEN

Several processes read and write at once, and a store has no transactions over keys. Each verb's docstring names the race
that it settles. Most go like this: one side writes first and then reads, the other side too, so that at least one of the
two sees what the other has written. Knows nothing of texts, tries or threads.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..clock import Clock
from ..store import Store, is_down

log = logging.getLogger("wx_mp_svr")

SCHEMA = "2"  # in front of every key: what another version wrote is not ours to read
MAX_RUNS = 4  # of one push: one for each of WeChat's tries, and one more
TURNED_SECONDS = 60.0  # tries that began before are over by then
FAR = 10_000  # no user has as many answers in a day
DAY_SECONDS = 86_400
SKEW_SECONDS = 60  # between the clocks of two machines, at most
COME_SECONDS = 900  # after which what was promised on another machine has come, or is lost
OFFERS_SECONDS = 1.0  # between two looks whether anybody has an offer


class Page(NamedTuple):
    """One page of an answer.

    Attributes:
        xml: The plain packet; "" acknowledges.
        chars: How much of the text is in it, so that whoever else cuts goes on behind it.
        more: Whether there is a next page.
    """

    xml: str
    chars: int = 0
    more: bool = False


class Claim(NamedTuple):
    """The latest run of a push; number 0 when nobody has claimed any.

    Attributes:
        number: Which run, from 1.
        owner: The process that has it, or the name of its place in a task queue.
    """

    number: int = 0
    owner: str = ""


class Promise(NamedTuple):
    """An answer that a user may come for.

    Attributes:
        number: The user's number for it.
        message: What it answers, by WeChat's names.
    """

    number: int
    message: Mapping[str, Any]


class Standing(NamedTuple):
    """What is known of a push, for one who waits for a page.

    Attributes:
        page: The page, None when it is not there.
        claim: The latest run.
        part: What the page holds so far, as its run has shown it; "" when it is not that far.
        promise: What a link leads to, None when there is none.
    """

    page: Page | None
    claim: Claim
    part: str
    promise: Promise | None


class Ledger:
    """The pushes of all accounts that share a store.

    Args:
        store: Where they are written.
        clock: For looking at offers once a second only.
        keep_seconds: How long a push is known: a copy that is sent again must be known or too old.
        keep_answers: How long an answer waits behind its link.
    """

    def __init__(self, store: Store, clock: Clock, *, keep_seconds: float, keep_answers: float) -> None:
        self._store = store
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._keep_answers = keep_answers
        self._offered = False  # whether any user has an offer
        self._look_at = -math.inf  # when to look for that again

    @property
    def blind(self) -> bool:
        """Whether the store is down: what is not found now may be there all the same."""
        return is_down(self._store)

    # -- runs --------------------------------------------------------------------------------------------------------

    def claim(self, push: str, number: int, owner: str) -> bool:
        """Claim run *number*. Of all copies of a push that come at once, one wins: the store's add is atomic."""
        return self._store.add(_run(push, number), owner, self._keep_seconds)

    def start(self, push: str, number: int, owner: str, is_lost: Callable[[str], bool]) -> bool:
        """Take a queued run over from the queue; false when it is done, taken over, or at work.

        A queue may deliver a job twice, or after a try has given it up for lost: only one may run it. When the worker that
        had started it died and the queue delivers it again, it is run again; of several that find this out one wins. From
        here on only its owner writes the claim.

        Args:
            push: Its key.
            number: Which run.
            owner: The worker's process.
            is_lost: Tells of a process whether it is gone.
        """
        here, next_run = _run(push, number), _run(push, number + 1)
        known = self._store.get_many([page_key(push, 1), here, next_run])
        if here not in known:
            log.error(
                "a job came of which this worker's store knows nothing; is WX_MP_STORE the same for server and worker? / "
                "任务的存放处里没有这条消息：网站和任务进程的 WX_MP_STORE 须相同"
            )
        if page_key(push, 1) in known or next_run in known:
            return False
        if not self._store.add(f"{here}:started", owner, self._keep_seconds):
            before = str(self._store.get(here))
            if not is_lost(before) or not self._store.add(f"{here}:started:{before}", owner, self._keep_seconds):
                return False
        self._store.set(here, owner, self._keep_seconds)
        return True

    def renew(self, claims: Sequence[tuple[str, int]], owner: str, *, all_of_them: bool) -> None:
        """Write the claims of runs that are at work again: those that a store has forgotten, or all of them.

        Only for runs of *owner* itself, so that no claim of another process is ever written over.
        """
        keys = [_run(push, number) for push, number in claims]
        known = {} if all_of_them else self._store.get_many(keys)
        forgotten = [key for key in keys if key not in known]
        for key in forgotten:
            self._store.set(key, owner, self._keep_seconds)
        if forgotten and not all_of_them and not self.blind:
            log.error(
                "the store has forgotten %d pushes that are at work here, and whatever else it held: was it emptied, or "
                "started without its data? / 存储里的数据丢了（被清空，或重启时没有保存）：等待中的回复也丢了",
                len(forgotten),
            )

    def look(self, push: str, number: int) -> Standing:
        """Return all that is known of page *number* of a push, from one moment."""
        page, part, promise = page_key(push, number), _part(push), _promise(push)
        runs = [_run(push, n) for n in range(1, MAX_RUNS + 1)]
        found = self._store.get_many([page, part, promise, *runs])
        claims = (Claim(n, str(found[run])) for n, run in enumerate(runs, 1) if run in found)
        return Standing(
            _as_page(found.get(page)),
            max(claims, default=Claim()),
            _as_part(found.get(part), number),
            _as_promise(found.get(promise)),
        )

    def count_try(self, push: str) -> int:
        """Count the copies of a push that came after the first."""
        return self._store.incr(f"{SCHEMA}:{push}:tries", self._keep_seconds)

    # -- pages -------------------------------------------------------------------------------------------------------

    def page(self, push: str, number: int) -> Page | None:
        """Return a page."""
        return _as_page(self._store.get(page_key(push, number)))

    def pages(self, which: Mapping[str, int]) -> dict[str, Page]:
        """Return one page of each push, of those that have it."""
        keys = {page_key(push, number): push for push, number in which.items()}
        found = {keys[key]: _as_page(record) for key, record in self._store.get_many(list(keys)).items()}
        return {push: page for push, page in found.items() if page is not None}

    def write_page(self, push: str, number: int, page: Page, *, behind_link: bool) -> Page:
        """Write a page unless it stands already; return the one that stands, so that all copies get the same.

        A run and the last try of another process may cut the same page at two places: whoever adds first is right.

        Args:
            push: Its key.
            number: The page's.
            page: What to write.
            behind_link: Whether users may come for it by a link; else it need outlive only WeChat's tries.
        """
        ttl = self._keep_answers if behind_link or page.more or number > 1 else self._keep_seconds
        # A bare tuple: the garbage collector would look at a named one for as long as a store in memory keeps it.
        if self._store.add(page_key(push, number), tuple(page), ttl):
            return page
        return self.page(push, number) or page

    def put_off(self, push: str, page: Page) -> bool:
        """Write the only page of an answer that comes before any try has given up, without waiting until it is written.

        Nobody else writes that page then, and copies of the push wait for it, or find it in this process. The price: if the
        process is killed (kill -9) within the second until it is written, a copy that WeChat still sends is run again; and
        a copy that meets a full house in another process within it gets a link, behind which the answer is for ten minutes.

        Returns:
            False where nothing can be put off, and `write_page` has to write it.
        """
        add_late = getattr(self._store, "add_late", None)  # stores in memory and guarded ones have it
        return add_late is not None and bool(add_late(page_key(push, 1), tuple(page), self._keep_seconds))

    def write_late(self) -> None:
        """Write what was put off."""
        write_late = getattr(self._store, "write_late", None)
        if write_late is not None:
            write_late()

    def keep_page(self, push: str, number: int, page: Page) -> None:
        """Let a page live as long as an answer behind a link: the promise was made while the page was being written."""
        self._store.set(page_key(push, number), tuple(page), self._keep_answers)

    def write_part(self, push: str, number: int, text: str) -> None:
        """Show other processes what the unfinished page holds; their last try may have to send it."""
        self._store.set(_part(push), {"page": number, "text": text}, self._keep_seconds)

    # -- promises ----------------------------------------------------------------------------------------------------

    def promise(self, push: str, user: str, message: Mapping[str, Any]) -> int:
        """Note that a try ends without the answer; return the number that its link shows.

        The caller looks for the page after this, and the run looks for a promise after it has written the page: either the
        try sees the page, or the run sees the promise.

        Args:
            push: Its key.
            user: Whose it is.
            message: By WeChat's names; a tap may have to run it again.
        """
        number = self.number_of(push, user)
        self._store.set(_promise(push), {"number": number, "message": dict(message)}, self._keep_answers)
        return number

    def promised(self, push: str) -> Promise | None:
        """Return the promise of an answer, None when there is none."""
        return _as_promise(self._store.get(_promise(push)))

    def number_of(self, push: str, user: str) -> int:
        """Return the user's number for the answer: one and the same, whichever process asks first.

        Two that ask at once both count up; the add of the second fails, and it takes the first one's number.
        """
        mine = f"{SCHEMA}:{push}:number"
        kept = _as_number(self._store.get(mine))
        if kept is not None:
            return kept
        ttl = self._keep_answers
        number = self._next_number(user)
        while not self._store.add(_number(user, number), push, ttl):  # the count ends sooner than its last number
            number = self._next_number(user)
        if self._store.add(mine, number, ttl):
            return number
        return _as_number(self._store.get(mine)) or number

    def _next_number(self, user: str) -> int:
        """Count up; while nobody knows how far the count was, from the second of the day on, which it does not reach."""
        count = self._store.incr(f"{SCHEMA}:{user}:numbers", self._keep_answers)
        if not self.blind:
            return count
        second = FAR + self._second()
        return second + self._store.incr(f"{SCHEMA}:{user}:numbers:{second}", TURNED_SECONDS) - 1

    def _second(self) -> int:
        return int(self._clock.wall()) % DAY_SECONDS

    def may_come(self, number: int) -> bool:
        """Whether an answer that cannot be found may be there all the same.

        The store is down, or was down lately for whoever promised it: perhaps another machine, and still is.
        """
        ago = self._second() - (number - FAR) + SKEW_SECONDS
        return self.blind or (number >= FAR and ago % DAY_SECONDS < COME_SECONDS)

    def find(self, user: str, number: int) -> str | None:
        """Return the push whose answer has that number, None when it is not this user's or was too long ago."""
        push = self._store.get(_number(user, number))
        return push if isinstance(push, str) else None

    def offer(self, user: str, number: int) -> None:
        """Note that a promised answer is ready, for the user's next reply to mention it."""
        self._store.set(f"{SCHEMA}:{user}:ready", number, self._keep_answers)
        self._store.set(f"{SCHEMA}:offers", 1, self._keep_answers)
        self._offered = True

    def take(self, user: str, number: int) -> bool:
        """Take an answer, by a tap or by its mention; true for the first only.

        Two replies may be about to mention it at once, and a tap may come between: the add decides.
        """
        return self._store.add(f"{_number(user, number)}:taken", 1, self._keep_answers)

    def has_offers(self) -> bool:
        """Whether any user has an offer, as far as this process knows: it is rare, and each reply would ask for one."""
        now = self._clock.now()
        if now >= self._look_at:  # once a second for all users
            self._look_at = now + OFFERS_SECONDS
            self._offered = self._store.get(f"{SCHEMA}:offers") is not None
        return self._offered

    @property
    def needs_no_look(self) -> bool:
        """Whether `has_offers` is false and known without a question to the store, which may block."""
        return not self._offered and self._clock.now() < self._look_at

    def offered(self, user: str) -> int | None:
        """Return the number of a ready answer that this user has neither fetched nor been told of."""
        return _as_number(self._store.get(f"{SCHEMA}:{user}:ready")) if self.has_offers() else None

    def take_offer(self, user: str, number: int) -> bool:
        """Take what `offered` returned, to mention it; false when it was taken meanwhile."""
        self._store.delete(f"{SCHEMA}:{user}:ready")
        return self.take(user, number)

    # -- which try it is ---------------------------------------------------------------------------------------------

    def turned(self, wall: float) -> None:
        """Note when a process began or died: tries that WeChat began before may have been lost."""
        self._store.set(f"{SCHEMA}:turned", wall, TURNED_SECONDS)

    def tell_normal(self, age: float) -> None:
        """Note the usual age of a first try, where a new process begins."""
        self._store.set(f"{SCHEMA}:normal", age, self._keep_answers)

    def told(self) -> tuple[float | None, float | None]:
        """Return what the two above were told last: when a process began or died, and the usual age of a first try."""
        found = self._store.get_many([f"{SCHEMA}:turned", f"{SCHEMA}:normal"])
        turned, normal = (found.get(f"{SCHEMA}:{name}") for name in ("turned", "normal"))
        return (
            turned if isinstance(turned, int | float) else None,
            normal if isinstance(normal, int | float) else None,
        )


def _run(push: str, number: int) -> str:
    return f"{SCHEMA}:{push}:run:{number}"


def page_key(push: str, number: int) -> str:
    """Return the key of a page, for those who watch for it."""
    return f"{SCHEMA}:{push}:page:{number}"


def _part(push: str) -> str:
    return f"{SCHEMA}:{push}:part"


def _promise(push: str) -> str:
    return f"{SCHEMA}:{push}:promise"


def _number(user: str, number: int) -> str:
    return f"{SCHEMA}:{user}:number:{number}"


def _as_page(record: Any) -> Page | None:
    """Read a page. What another program wrote there counts as missing."""
    match record:
        case [str(xml), int(chars), bool(more)]:
            return Page(xml, chars, more)
    return None


def _as_part(record: Any, number: int) -> str:
    match record:
        case {"page": page, "text": str(text)} if page == number:
            return text
    return ""


def _as_promise(record: Any) -> Promise | None:
    match record:
        case {"number": int(number), "message": dict(message)}:
            return Promise(number, message)
    return None


def _as_number(record: Any) -> int | None:
    return record if isinstance(record, int) else None
