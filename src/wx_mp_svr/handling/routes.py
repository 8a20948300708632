"""Which handler a user's routes choose: the first one that matches, in the order of writing.

A message in, a handler and its keyword arguments out. A route that could never be reached is refused while it is written,
since nobody finds out later why a handler stays silent. Knows nothing of replies or threads.
"""

import difflib
import inspect
import logging
import re
import time
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..req_msg import ALIASES, KINDS, EventReqMsg, ReqMsg, TextReqMsg

log = logging.getLogger("wx_mp_svr")

SLOW_MATCH_SECONDS = 0.05  # of CPU: a pattern that backtracks on a stranger's text

Handler = Callable[..., Any]
"""Takes the message and returns what `as_reply` accepts; a ``def`` or an ``async def``."""


class Found(NamedTuple):
    """A handler, and the keyword arguments to call it with besides the message."""

    handler: Handler
    groups: dict[str, str | None]


class Routes:
    """The routes of one account."""

    def __init__(self) -> None:
        # Looked through in this order, which is the order of writing for all that could match the same message: what an
        # earlier route has already taken is refused.
        self._words: dict[str, Handler] = {}
        self._patterns: dict[re.Pattern[str], Handler] = {}
        self._kinds: dict[type[ReqMsg], Handler] = {}
        self._events: dict[tuple[str, str | None], Handler] = {}
        self._is_tap: Callable[[str], bool] = lambda word: False

    def leave_taps(self, is_tap: Callable[[str], bool]) -> None:
        """Refuse words that a tap on one of our links sends: no route ever gets to see them.

        Args:
            is_tap: Tells of a text whether it is one.

        Raises:
            ConfigError: There is a route for such words.
        """
        self._is_tap = is_tap
        for word, handler in self._words.items():
            self._check_tap(word, handler)

    def _check_tap(self, word: str, handler: Handler) -> None:
        if self._is_tap(word):
            raise _dead(
                handler,
                f"{word!r} is what a tap on a link sends (fetch_words)",
                f"「{word}」是点击链接时发出的文字（fetch_words）",
            )

    def find(self, req: ReqMsg) -> Found | None:
        """Return the handler that a route chooses for *req*, None when there is no such route."""
        handler: Handler | None
        if isinstance(req, EventReqMsg):
            name = ALIASES.get(req.event.lower(), req.event.lower())
            handler = self._events.get((name, req.event_key)) or self._events.get((name, None))
        else:
            if isinstance(req, TextReqMsg) and (found := self._find_text(req.content.strip())):
                return found
            handler = self._kinds.get(type(req))
        return Found(handler, {}) if handler is not None else None

    def _find_text(self, content: str) -> Found | None:
        if self._words and (handler := self._words.get(_plain(content))):
            return Found(handler, {})
        if not self._patterns:
            return None
        begun = time.thread_time()
        for pattern, handler in self._patterns.items():
            match = pattern.match(content)
            if (took := time.thread_time() - begun) > SLOW_MATCH_SECONDS:
                log.warning(
                    "%s: matching %s took %.0f ms of CPU; can it backtrack? / 这个正则匹配得太慢，用户可以用它拖垮机器人",
                    *(place(handler), _show(pattern), took * 1000),
                )
            if match:
                return Found(handler, match.groupdict())
            begun = time.thread_time()
        return None

    # -- writing routes ----------------------------------------------------------------------------------------------

    def text(self, words: tuple[str | re.Pattern[str], ...], handler: Handler) -> None:
        """Add a route for text messages.

        Args:
            words: Each what a text must be, without the white space around it, or how it must begin (`re.Pattern.match`).
            handler: Called with the message and the pattern's named groups.

        Raises:
            ConfigError: It could never match, or the handler cannot be called like that.
        """
        for word in words:
            if TextReqMsg in self._kinds:
                raise _dead(
                    handler,
                    f"{_show(word)} comes after a route for all text",
                    f"{_show(word)} 写在「所有文本」的路由后面，移到它前面",
                    self._kinds[TextReqMsg],
                )
            if isinstance(word, re.Pattern) and isinstance(word.pattern, str):
                if word in self._patterns:
                    raise _second(handler, _show(word), self._patterns[word])
                check_call(f"the route for {_show(word)}", handler, "req", names=word.groupindex, unnamed=word.groups)
                self._patterns[word] = handler
            elif isinstance(word, str):
                if not word or word != word.strip():
                    raise _dead(
                        handler,
                        f"{word!r} is empty or has white space around it, which is taken off a message",
                        f"{word!r} 是空的，或首尾有空白：收到的文本会去掉首尾空白",
                    )
                self._check_tap(word, handler)
                if (taken := self._find_text(word)) is not None:
                    raise _second(handler, _show(word), taken.handler)
                check_call(f"the route for {word!r}", handler, "req")
                if _LIKE_A_PATTERN.search(word):
                    log.warning(
                        "%s: %r is compared as a whole, and looks like a pattern; for one write re.compile(%r) / "
                        "文字按原样比较：要按正则匹配，写成 @server.text(re.compile(%r))",
                        *(place(handler), word, word, word),
                    )
                self._words[_plain(word)] = handler
            else:
                raise ConfigError(
                    f"{place(handler)}: a text route is a str or re.compile(...), not {_show(word)} / "
                    f"{place(handler)}：文本路由里写文字或 re.compile(...)，不能是 {_show(word)}"
                )

    def kind(self, kinds: tuple[str, ...], handler: Handler) -> None:
        """Add a route for all messages of some kinds (WeChat's MsgType). The errors are those of `text`."""
        for kind in kinds:
            if (cls := KINDS[kind]) in self._kinds:
                raise _second(handler, kind, self._kinds[cls])
            check_call(f"the route for {kind}", handler, "req")
            self._kinds[cls] = handler

    def event(self, name: str, key: str | None, handler: Handler) -> None:
        """Add a route for an event, whatever the case of its name. The errors are those of `text`."""
        event = ALIASES.get(name.lower(), name.lower())
        _check_key(event, key, handler)
        taken = self._events.get((event, key)) or self._events.get((event, None))
        if taken is not None:
            raise _second(handler, f"{name}{'' if key is None else f' with the key {key!r}'}", taken)
        check_call(f"the route for {name}", handler, "event")
        from ..events import EVENTS  # not at the top, see `read_msg`

        if event not in EVENTS:
            near = difflib.get_close_matches(event, EVENTS, 1)
            meant, chinese = (f"; did you mean {near[0]!r}?", f"，是不是 {near[0]!r}？") if near else ("", "")
            log.warning(
                "%s: WeChat has no event %r that we know%s / 没听说过这个事件%s",
                *(place(handler), name, meant, chinese),
            )
        self._events[event, key] = handler


def _plain(word: str) -> str:
    """Return what words are compared by: people type ？ and ?, Hi and hi."""
    return unicodedata.normalize("NFKC", word).casefold().strip()


def _check_key(event: str, key: str | None, handler: Handler) -> None:
    """Refuse a key that an event cannot have: a scene comes as qrscene_... from a new follower, and bare from others."""
    scene = _SCENE.get(event)
    if key and scene is not None and not scene.fullmatch(key):
        raise _dead(
            handler,
            f"{event} never has the key {key!r}: a scene comes as qrscene_{key} from a new follower and as {key} from "
            f'others; write @server.scan("{key.removeprefix("qrscene_")}")',
            f'{event} 的 EventKey 不会是 {key!r}：扫码场景请用 @server.scan("{key.removeprefix("qrscene_")}")',
        )


_SCENE = {
    "subscribe": re.compile(r"qrscene_.*|last_trade_no_.*", re.DOTALL),
    "scan": re.compile(r"(?!qrscene_).*", re.DOTALL),
}


# What nobody sends as a whole, and everybody writes in a pattern: a group, a class, ``.*``, anchors at both ends.
_LIKE_A_PATTERN = re.compile(r"\(.*[|*+?].*\)|\(\?P<|\[[^\]]+-[^\]]+\]|\.[*+]|\\[dswb]|\A\^.*\$\Z")


def _second(handler: Handler, what: str, taken: Handler) -> ConfigError:
    return _dead(handler, f"{what} has a route already", f"{what} 已经有路由了", taken)


def _dead(handler: Handler, english: str, chinese: str, taken: Handler | None = None) -> ConfigError:
    where = f": {place(taken)}" if taken is not None else ""
    return ConfigError(
        f"{place(handler)}: this route can never match: {english}{where} / "
        f"{place(handler)}：这个路由永远轮不到：{chinese}{where}"
    )


def _show(word: Any) -> str:
    return f"re.compile({word.pattern!r})" if isinstance(word, re.Pattern) else repr(word)


def check_call(what: str, handler: Handler, *arguments: str, names: Iterable[str] = (), unnamed: int = 0) -> None:
    """Find out at start whether a handler can be called.

    Args:
        what: It is to do: ``on_message``, ``the route for 帮助``.
        handler: A function or another callable.
        arguments: What it gets by position.
        names: What it gets by keyword.
        unnamed: How many groups of its pattern there are in all; those without a name are not given to it.

    Raises:
        ConfigError: It is no function, or takes other arguments.
    """
    if not callable(handler):
        raise ConfigError(
            f"{what} must be a function, not {type(handler).__name__} / "
            f"{what}：要的是函数，不是 {type(handler).__name__}（@server.image 下面一行写 def）"
        )
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # some of those written in C do not tell
        return
    try:
        signature.bind(*arguments, **dict.fromkeys(names))
    except TypeError as exc:
        given = ", ".join([*arguments, *(f"{name}=..." for name in names)])
        wanted = ", ".join([*arguments, *names])
        english, chinese = str(exc), f"应写成 def {title(handler).rpartition('.')[2]}({wanted})"
        if unnamed > len(list(names)):
            english += "; only named groups are given, like (?P<city>.+)"
            chinese = "只有命名的组会传给函数：把 (.+) 写成 (?P<city>.+)"
        raise ConfigError(
            f"{what}: {place(handler)} is written with the arguments {signature}, but will be called with ({given}): "
            f"{english} / {place(handler)}：处理函数的参数不对，{chinese}"
        ) from None


def title(handler: Handler) -> str:
    """Name a handler in a message to its author."""
    return str(getattr(handler, "__qualname__", None) or type(handler).__qualname__)


def place(handler: Handler) -> str:
    """Say where a handler is written, so that its author finds it: name (file:line)."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return title(handler) + (f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else "")
