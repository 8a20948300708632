"""WeChat, its users and two processes that answer for one account: one schedule, and what must hold after it."""

import re
from typing import Any

from baton import EPOCH, BatonClock, BatonSpare, FailingStore, SharedStore, Stage, nothing

from wx_mp_svr.config import Settings
from wx_mp_svr.delivery.arrivals import Arrivals
from wx_mp_svr.delivery.ledger import Ledger
from wx_mp_svr.delivery.links import Links
from wx_mp_svr.delivery.rules import Times
from wx_mp_svr.delivery.runs import Runs
from wx_mp_svr.delivery.texts import Texts
from wx_mp_svr.handling.handlers import Handlers
from wx_mp_svr.messages import read_msg
from wx_mp_svr.store.guarded import GuardedStore
from wx_mp_svr.store.late import LateStore
from wx_mp_svr.store.place import Place
from wx_mp_svr.testing.judge import split_links
from wx_mp_svr.testing.packets import read_xml

DEADLINE = 5.0
SENTENCE = "这是第{}句，不长也不短，说给微信那边的人听。"
ACCOUNT = "gh_1"
TOLD_SECONDS = 1.0
LOST = "刚才的消息没有处理完"
BUSY = "现在有点忙，请稍后再发一次。"


class Locks:
    """What the locked files of a machine tell: who lives."""

    def __init__(self) -> None:
        self.clocks: dict[str, BatonClock] = {}

    def take(self, name: str) -> int:
        return 0

    def give_up(self, name: str, file: int) -> None:
        pass

    def is_held(self, name: str) -> bool | None:
        clock = self.clocks.get(name)
        return None if clock is None else not clock.dead


class Process:
    """One server process."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.clock = BatonClock(world.stage, skew=world.stage.random.choice([0.0, 0.0, 0.4, 11.0, -12.0]))
        settings = Settings(token="Simulated1", max_held=world.max_held, max_jobs=world.max_jobs)
        spare: Any = world.spare
        bare: Any = FailingStore(world.store, self.clock, lambda: world.fault_of(self))
        store = GuardedStore(LateStore(bare), self.clock, spare)
        ledger = Ledger(store, self.clock, keep_seconds=600, keep_answers=86400)
        links = Links(settings.fetch_words)
        texts = Texts(settings, ledger, links, self.clock)
        handlers = Handlers()
        handlers.give("on_message", lambda req: world.handle(self, req))
        locks: Any = world.locks
        self.runs = Runs(
            settings,
            store,
            bare,
            ledger,
            texts,
            handlers,
            times=Times(),
            place=Place(locks, alone=True),
            context=nothing,
            strict=lambda: False,
            failed=lambda req, exc: None,
            clock=self.clock,
        )
        self._note_claims(world)
        store.at_turn(self.runs.claim_again)
        self.runs.alive._file = 0
        world.locks.clocks[self.runs.alive.process] = self.clock
        self.arrivals = Arrivals(
            settings,
            store,
            ledger,
            texts,
            links,
            self.runs,
            times=Times(),
            clock=self.clock,
            fresh=world.stage.time > 0,
        )
        store.at_turn(self.arrivals.turned)

    def _note_claims(self, world: "World") -> None:
        claim, start = self.runs.claim, self.runs.start
        claimed: dict[str, float] = {}

        def noting_claim(push: str, number: int) -> bool:
            won = claim(push, number)
            claimed[push] = world.stage.time
            return won

        def noting_start(push: str, req: Any, *args: Any, **more: Any) -> Any:
            world.claims.setdefault(req.content, []).append(claimed.get(push, world.stage.time))
            return start(push, req, *args, **more)

        runs: Any = self.runs
        runs.claim, runs.start = noting_claim, noting_start


class World:
    """One schedule.

    Args:
        seed: Whence everything comes.
    """

    def __init__(self, seed: int) -> None:
        self.stage = Stage(seed)
        dice = self.stage.random
        self.wechat = BatonClock(self.stage)
        self.store = SharedStore(clock=lambda: self.stage.time)
        self.locks = Locks()
        self.max_held = dice.choice([1, 2, 240])
        self.max_jobs = dice.choice([2, 64])
        self.runs: dict[str, list[float]] = {}  # by what was said, when the handler ran
        self.claims: dict[str, list[float]] = {}  # by what was said, when somebody claimed it: it may run later
        self.counts: dict[str, int] = {}  # by user, how often the handler has counted in the session
        self.counted: dict[str, list[int]] = {}  # and what the user was told
        self.deaths = 0
        self.notices = 0
        self.violations: list[str] = []
        self.spare = BatonSpare(self.stage)
        self.fault, self.struck = "", ""  # and who has it; "" for all
        self.forgot: list[float] = []  # when the store lost everything
        self.processes = [Process(self, f"P{n}") for n in (1, 2)]
        self.deadly = dice.random() < 0.4
        self.faulty = dice.random() < 0.5
        self.one_user = dice.random() < 0.2  # who writes from all the places at once

    def fault_of(self, process: Process) -> str:
        """What is wrong with the store, as this process sees it."""
        return self.fault if self.struck in ("", process.name) else ""

    # -- the bot -----------------------------------------------------------------------------------------------------

    def handle(self, process: Process, req: Any) -> Any:
        words = req.content
        self.runs.setdefault(words, []).append(self.stage.time)
        self.stage.tell(f"{process.name} runs {words!r}")
        kind, _, rest = words.partition(" ")
        if kind == "stream":
            return self._stream(process, *rest.split()[:2])
        if kind == "count":
            return self._count(process, req, float(rest.split()[0]))
        process.clock.sleep(float(rest.split()[0]))
        return whole(words)

    def _stream(self, process: Process, pieces: str, pause: str) -> Any:
        for n in range(int(pieces)):
            process.clock.sleep(float(pause))
            yield SENTENCE.format(n)

    def _count(self, process: Process, req: Any, seconds: float) -> str:
        self.counts[req.openid] = self.counts.get(req.openid, 0) + 1
        number = req.session.get("n", 0) + 1
        process.clock.sleep(seconds)
        req.session["n"] = number
        return f"{number}"

    # -- WeChat and its users ----------------------------------------------------------------------------------------

    def play(self) -> None:
        """Let everything happen; afterwards `violations` says what must not have."""
        dice = self.stage.random
        self.users = dice.randint(1, 4)
        for number in range(self.users):
            self.stage.start(lambda number=number: self._user(number), f"user {number}", None, foreground=True)
        self.stage.start(self._last_of_all, "the end", None, foreground=True)
        if self.deadly:
            self.stage.start(self._reaper, "reaper", None, foreground=False)
        if self.faulty:
            self.stage.start(self._breaker, "breaker", None, foreground=False)
        self.stage.run()
        self._check()

    def _last_of_all(self) -> None:
        """Wait until the tries on which WeChat has hung up are over, too."""
        while self.users:
            self.wechat.sleep(1.0)
        self.wechat.sleep(10.0)

    def _reaper(self) -> None:
        dice = self.stage.random
        for _ in range(dice.randint(1, 2)):
            self.wechat.sleep(dice.choice([0.05, 1.0, 3.0, 6.0, 11.0, 20.0]) + dice.random())
            place = dice.randrange(2)
            victim = self.processes[place]
            self.stage.tell(f"{victim.name} dies")
            self.deaths += 1
            self.stage.kill(victim.clock)
            for line in list(self.lines):
                if line["process"] is victim:
                    line["reset"] = True
                    line["over"].set()
            self.processes[place] = Process(self, f"{victim.name}'")

    def _breaker(self) -> None:
        """Let the store fail in one way or another, for a while, for one process or for all."""
        dice = self.stage.random
        for _ in range(dice.randint(1, 3)):
            self.wechat.sleep(dice.choice([0.05, 1.0, 3.0, 6.0, 11.0, 20.0]) + dice.random())
            fault = dice.choice(["down", "full", "deaf", "slow", "forgetful"])
            self.struck = dice.choice(["", "", *(process.name for process in self.processes)])
            self.stage.tell(f"the store is {fault} for {self.struck or 'all'}")
            if fault == "forgetful":
                self.store.delete(*(key for key, _, _ in self.store.items()))
                self.forgot.append(self.stage.time)
                continue
            self.fault = fault
            self.wechat.sleep(dice.choice([0.5, 0.8, 3.0, 10.0, 25.0]))
            self.fault = ""
            self.stage.tell("the store is well")

    lines: list[dict[str, Any]]

    def _user(self, number: int) -> None:
        self._talk(number)
        self.users -= 1

    def _talk(self, number: int) -> None:
        dice = self.stage.random
        self.wechat.sleep(2 + dice.random() * 3)
        for message in range(dice.randint(1, 2)):
            seconds = dice.choice([0.01, 0.5, 2, 4.4, 4.9, 6, 9.8, 12, 14.4, 20, 40])
            kind = dice.choice(
                [f"slow {seconds}", f"stream {dice.choice([3, 40, 90])} {dice.choice([0.01, 0.3, 1.1])}"]
            )
            if dice.random() < 0.3:
                kind = f"count {min(seconds, 2.0)}"
            words = f"{kind} u{number}m{message}"
            openid = "o" if self.one_user else f"o{number}"
            shown = self._push(openid, words, "", 1000 + 10 * number + message)
            read = self._read_all(openid, shown)
            if read is None:
                continue
            if kind.startswith("count"):
                self._hear_number(openid, words, read)
                continue
            expected = whole(words)
            # Of an answer of which a page is out the handler is not run again: what there is, and that the rest is lost.
            before, lost, _ = read.partition(LOST)
            cut_short = bool(lost) and self.deaths > 0 and _plain(expected).startswith(_plain(before))
            if _plain(read) != _plain(expected) and not cut_short and not self._may_differ(words):
                self.violations.append(f"{words!r} was answered {_differs(read, expected)}")

    def _hear_number(self, openid: str, words: str, read: str) -> None:
        if _plain(read) == BUSY:  # the store was down for longer than a session waits
            self.counts[openid] -= 1
        elif read.isdigit():
            self.counted.setdefault(openid, []).append(int(read))
        elif not self._may_differ(words) and not (self.deaths and LOST in read):
            self.violations.append(f"{words!r} was answered {read!r}")

    def _read_all(self, openid: str, shown: str | None) -> str | None:
        """Tap until there is nothing more to tap; None when the user has seen the fault notice."""
        pages = []
        for tap in range(300):
            if shown is None:
                return None
            links = [part for part in split_links(shown) if not isinstance(part, str) and part.words]
            links = [link for link in links if link.label in ("查看回复", "下一页")]
            body = shown.split("\n\n您之前的问题有回复了：")[0]
            wanted = [link for link in links if "您之前的问题有回复了" not in shown.split(link.href)[0]]
            if not body.startswith("这个问题需要多想一会儿"):
                pages.append(re.sub(r'\n\n<a href="weixin:.*', "", body, flags=re.DOTALL))
            if not wanted:
                return "".join(page for page in pages if page != "（全文完）")
            self.wechat.sleep(self.stage.random.choice([0.5, 3.0, 30.0]))
            words, menu_id, msg_id = wanted[-1].words, wanted[-1].menu_id, 5000 + tap + 1000 * int(self.stage.time)
            for again in range(self.stage.random.choice([0, 0, 1, 2])):  # nothing moved at once
                self._tap_beside(openid, words, menu_id, msg_id + 500 + again)
            shown = self._push(openid, words, menu_id, msg_id)
        self.violations.append(f"{openid} taps for ever")
        return None

    def _tap_beside(self, openid: str, words: str, menu_id: str, msg_id: int) -> None:
        """Tap once more at the same moment: another message, and both may find the same run lost."""

        def tap() -> None:
            self._push(openid, words, menu_id, msg_id)
            self.users -= 1

        self.users += 1
        self.stage.start(tap, f"{openid} taps again", None, foreground=True)

    def _push(self, openid: str, words: str, menu_id: str, msg_id: int) -> str | None:
        """Push a text as WeChat does; return what the user sees, None for the fault notice."""
        dice = self.stage.random
        timestamp = int(EPOCH + self.stage.time)
        fields = {"ToUserName": ACCOUNT, "FromUserName": openid, "CreateTime": str(timestamp), "MsgType": "text"}
        fields |= {"Content": words, "MsgId": str(msg_id), **({"bizmsgmenuid": menu_id} if menu_id else {})}
        unheard = 0
        for number in (1, 2, 3):
            begun = self.stage.time
            process = dice.choice(self.processes)
            if number == 1 and dice.random() < 0.05:
                self.stage.tell(f"try {number} of {words!r} never arrives")
                self.wechat.sleep(DEADLINE)
                continue
            line: dict[str, Any] = {"process": process, "over": self.wechat.signal(), "reset": False, "xml": None}
            self.lines.append(line)

            def serve(line: dict[str, Any] = line, process: Process = process) -> None:
                outcome = process.arrivals.answer(read_msg(fields), b"", timestamp=timestamp)
                line["xml"] = outcome.xml
                line["how"] = outcome.how
                line["over"].set()

            process.clock.start(serve, f"{process.name} serves {words}")
            line["over"].wait(DEADLINE)
            self.lines.remove(line)
            if line["reset"]:
                unheard += 1
                self.stage.tell(f"try {number} of {words!r}: reset")
                self.wechat.sleep(0.01)
                continue
            if line["xml"] is not None and self.stage.time - begun <= DEADLINE + 0.001:
                self.stage.tell(f"try {number} of {words!r} at {process.name}: {line['how']}")
                return str(read_xml(line["xml"]).get("Content", "")) if line["xml"] else ""
            self.stage.tell(f"try {number} of {words!r} at {process.name}: hung up")
        self.stage.tell(f"{openid} sees the fault notice for {words!r}")
        self.notices += 1
        if not unheard:
            self.violations.append(f"a fault notice for {words!r}, although every try was heard")
        return None

    # -- what must hold ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        for words, runs in self.runs.items():
            again = [time for time in self.claims.get(words, [])[1:] if not self._just_lost(time)]
            if len(runs) > 1 and len(again) > bool(self.forgot) + self.deaths:
                self.violations.append(f"{words!r} ran {len(runs)} times, and {self.deaths} died")
        twice = any(words.startswith("count") and len(runs) > 1 for words, runs in self.runs.items())
        if not (self.deaths or self.forgot or twice):
            for openid, numbers in self.counted.items():
                if len(set(numbers)) < len(numbers) or max(numbers) > self.counts[openid]:
                    self.violations.append(f"{openid} counted {numbers} of {self.counts[openid]}")
        for process in self.processes:
            if process.arrivals._house._held or process.arrivals._house._short:
                self.violations.append(f"{process.name} still holds places")

    def _may_differ(self, words: str) -> bool:
        """Whether an answer may be lost, or may have been written twice."""
        return bool(self.forgot) or len(self.runs.get(words, ())) > 1

    def _just_lost(self, time: float) -> bool:
        """Whether other processes may not know yet that the store is down or empty: they find out within a second."""
        return any(0.0 <= time - since <= TOLD_SECONDS for since in [*self.spare.fell, *self.forgot])


def whole(words: str) -> str:
    """What a handler says to these words, whole."""
    kind, *rest = words.split()
    if kind == "stream":
        return "".join(SENTENCE.format(n) for n in range(int(rest[0])))
    return f"慢慢答了 {words}"


def _differs(read: str, expected: str) -> str:
    """Show the place where two texts part."""
    read, expected = _plain(read), _plain(expected)
    same = next(
        (n for n, (a, b) in enumerate(zip(read, expected, strict=False)) if a != b), min(len(read), len(expected))
    )
    return f"{read[same - 20 : same + 40]!r} and not {expected[same - 20 : same + 40]!r} at {same} of {len(expected)}"


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text)
