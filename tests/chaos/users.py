"""WeChat's users: each writes a message, taps until there is nothing more to tap, and notes what went wrong."""

import re
import time
from dataclasses import dataclass, field, fields

from machines import SENTENCE

from wx_mp_svr.testing import FakeWeChat, Result

EXPIRED = "过期"
BUSY = "现在有点忙"
LOST = "刚才的消息没有处理完"
SLOW = "这个问题需要多想一会儿"
TOLD_SECONDS = 1.0  # in which processes may not know yet that the store is down


@dataclass
class Seen:
    """What became of one experiment."""

    notices: list[str] = field(default_factory=list)
    expired: int = 0
    lost: int = 0
    busy: int = 0
    wrong: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    doubles: list[float] = field(default_factory=list)  # of a second run, how long after the strike
    quick: list[float] = field(default_factory=list)
    figures: str = ""  # of the server, at the end

    def __add__(self, other: "Seen") -> "Seen":
        """Take together what two clients have seen."""
        return Seen(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Seen)})

    @property
    def late_doubles(self) -> int:
        return len([seconds for seconds in self.doubles if not 0.0 <= seconds <= TOLD_SECONDS])

    @property
    def slowest(self) -> float:
        return sorted(self.quick)[max(0, int(len(self.quick) * 0.99) - 1)] if self.quick else 0.0


def whole(words: str) -> str:
    kind, *rest = words.split()
    if kind in ("stream", "tell"):
        return "".join(SENTENCE.format(n) for n in range(int(rest[0])))
    return "答：" + words


def plain(text: str) -> str:
    return re.sub(r"\s", "", text)


def told(words: str, result: Result) -> str:
    tries = (
        f"{attempt.started:.1f}+{attempt.elapsed:.1f} {attempt.error or attempt.status}" for attempt in result.tries
    )
    return f"{words!r} got the fault notice: {'; '.join(tries)}"


def count(wechat: FakeWeChat, words: str, openid: str, seen: Seen) -> None:
    """Write so many messages, one after the other; the bot counts them."""
    for number in range(1, int(words.split()[1]) + 1):
        result = wechat.send_text(f"count {number}", openid=openid)
        while result.content.startswith(SLOW):
            time.sleep(0.5)
            result = wechat.tap(result.links[-1], openid=openid)
        if result.type == "fault":
            seen.notices.append(told(words, result))
        if result.content.split("\n\n")[0] != str(number):  # behind it an earlier answer may be mentioned
            seen.wrong.append(f"message {number} of {openid} was answered {result.content[:60]!r}")
            return
        time.sleep(0.8)


def talk(wechat: FakeWeChat, words: str, openid: str, seen: Seen, until: float, pause: float) -> None:
    """Write one message, and tap until there is nothing more to tap."""
    if words.startswith("count"):
        count(wechat, words, openid, seen)
        return
    pages = []
    result: Result = wechat.send_text(words, openid=openid)
    if re.match("(slow [01]|ping) ", words):
        seen.quick.append(result.elapsed)
    while True:
        if result.type == "fault":
            seen.notices.append(told(words, result))
            return
        for text, name in ((EXPIRED, "expired"), (BUSY, "busy"), (LOST, "lost")):
            if text in result.content:
                setattr(seen, name, getattr(seen, name) + 1)
                return
        shown = result.content.split("\n\n您之前的问题有回复了：")[0]
        links = [link for link in result.links if link.label in ("查看回复", "下一页")]
        if not shown.startswith(SLOW):
            pages.append(re.sub(r'\n\n<a href="weixin:.*', "", shown, flags=re.DOTALL))
        if not links or links[-1].href not in shown:
            break
        if time.monotonic() > until:
            seen.unanswered.append(f"{words!r} came to no end: {len(pages)} pages, then {result.content[-90:]!r}")
            return
        time.sleep(pause)
        result = wechat.tap(links[-1], openid=openid)
    read = plain("".join(page for page in pages if page != "（全文完）"))
    if read != plain(whole(words)):
        seen.wrong.append(f"{words!r} was answered {read[:60]!r}")
