"""The talk between a bot and the users of the page: what was pushed, what came back, and who watches.

Every push runs in a thread of its own with a `FakeWeChat` of its own, so that it keeps the settings it began with. Knows
nothing of Flask.
"""

import json
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...clock import REAL, Clock
from ...config import Settings
from ...server import WxMpServer
from ...testing import FakeWeChat, Faults, Result, Try
from ...testing.packets import new_msg_id, read_xml, renewed, write_xml
from ..answers import Texts
from ..diagnosis import of_push, texts_of
from ..findings import Finding
from ..reaching import reach
from .views import MASK, Json, fault_words, finding_view, repeat_words, reply_view, request_view, try_view

LOOK_SECONDS = 3.0
MAX_PUSHES, MAX_RUNNING, MAX_USERS, MAX_XML = 500, 100, 50, 64 * 1024
MAX_LINES, MAX_LINE = 100, 8000  # of what a bot says of one push
MODES = ("plain", "compatible", "safe")
_STATIC = Path(__file__).parent / "static"
KINDS: list[Json] = json.loads((_STATIC / "kinds.json").read_text("utf-8"))
MENU: Json = json.loads((_STATIC / "menu.json").read_text("utf-8"))
# Nobody sees an answer to these, nor the fault notice.
_SILENT = {row["event"].lower() for row in KINDS if row["answerable"] == "no"} - {""}
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)


class Talk:
    """All that the page shows.

    Args:
        wechat: Whose settings each push begins with.
        name: The account's, as the chat shows it.
        rescale: Makes a copy of the bot with another clock, where that is possible: (target, clock) for a scale.
        broken: Why there is no bot, where it could not be loaded; nothing is pushed then.
        texts: What the bot says by itself.
        secret: By which a page is known again after a restart.
    """

    def __init__(
        self,
        wechat: FakeWeChat,
        *,
        name: str,
        texts: Texts | None = None,
        secret: str = "",
        rescale: Callable[[float], tuple[Any, Clock]] | None = None,
        broken: str = "",
    ) -> None:
        self._wechat, self._rescale = wechat, rescale
        self._texts = texts or texts_of(Settings())
        self._url = wechat.target if isinstance(wechat.target, str) else ""
        self._lock = threading.RLock()
        self._listeners: set[queue.Queue[str]] = set()
        self._pushes: dict[int, Json] = {}
        self._findings: dict[int, Finding] = {}  # of those that this process has pushed
        self._last_id = 0
        self._state: Json = {
            "name": name,
            "target": self._url or "本进程内",
            "problem": broken,
            "broken": bool(broken),
            "appid": wechat.appid,
            "token": MASK,
            "aes_key": MASK if wechat.aes_key else "",
            "modes": list(MODES) if wechat.aes_key else ["plain"],
            "mode": wechat.mode,
            "scale": wechat.time_scale,
            "bot_scales": rescale is not None,
            "faults": {"delay": 0, "drop": [], "duplicate": False, "skew": 0},
            "secret": secret,
            "keeps": MAX_PUSHES,
            "fresh": True,  # nobody has said anything yet
            "users": [new_openid()],
            "menu": MENU,
        }

    # -- watching ----------------------------------------------------------------------------------------------------

    def watch(self) -> Iterator[str]:
        """Yield all there is, then whatever changes, as JSON; "" now and then, to notice who has gone."""
        mailbox: queue.Queue[str] = queue.Queue(1000)
        with self._lock:
            mailbox.put(self._snapshot())
            self._listeners.add(mailbox)
        try:
            while True:
                try:
                    yield mailbox.get(timeout=15)
                except queue.Empty:
                    yield ""
                if mailbox not in self._listeners:
                    return  # it could not keep up; the page connects again and gets everything
        finally:
            with self._lock:
                self._listeners.discard(mailbox)

    def look(self) -> None:
        """Say whether the bot can be reached at all; returns at once."""

        def ask() -> None:
            found = reach(self._url, LOOK_SECONDS)
            self._set_problem("" if found.level == "ok" else f"{found.name}：{found.cause}。{found.fix}")

        if self._url and not self._state["broken"]:
            threading.Thread(target=ask, name="simulator", daemon=True).start()

    def _set_problem(self, words: str) -> None:
        with self._lock:
            if words != self._state["problem"]:
                self._state["problem"] = words
                self._tell(json.dumps({"state": self._state}))

    def _snapshot(self) -> str:
        return json.dumps({"state": self._state, "pushes": list(self._pushes.values()), "all": True})

    def _tell(self, message: str) -> None:
        for mailbox in list(self._listeners):
            try:
                mailbox.put_nowait(message)
            except queue.Full:
                self._listeners.discard(mailbox)

    def _tell_push(self, push: Json) -> None:
        self._tell(json.dumps({"pushes": [push]}))

    # -- settings ----------------------------------------------------------------------------------------------------

    def configure(self, wanted: Json) -> None:
        """Change settings by name; all of them or none.

        Raises:
            ValueError: One is not possible.
        """
        with self._lock:
            readers: dict[str, Callable[[Any], Any]] = {
                "mode": self._read_mode,
                "scale": lambda value: _number(value, 0.01, 1),
                "faults": _read_faults,
                "users": _read_users,
                "menu": _read_menu,
            }
            if wanted.keys() - readers.keys():
                raise ValueError("没有这样的设置")
            changed = {name: readers[name](value) for name, value in wanted.items()}
            if self._rescale and changed.get("scale", self._state["scale"]) != self._state["scale"]:
                target, clock = self._rescale(changed["scale"])
                self._wechat = replace(self._wechat, target=target, clock=clock)
            self._state.update(changed)
            self._tell(json.dumps({"state": self._state}))

    def _read_mode(self, mode: Any) -> str:
        if mode not in self._state["modes"]:
            raise ValueError("没有 EncodingAESKey，只能用明文模式")
        return str(mode)

    # -- pushing -----------------------------------------------------------------------------------------------------

    def build(self, spec: Json) -> str:
        """Write the packet that *spec* describes: either ``xml`` itself, or ``msg_type event elements openid``.

        Raises:
            ValueError: It describes none.
        """
        if "xml" in spec:
            return _text(spec["xml"], MAX_XML)
        elements = _read_elements(spec.get("elements", {}))
        msg_type, event = _text(spec.get("msg_type", "")), _text(spec.get("event", ""))
        if not msg_type:  # notices to third-party platforms and probes have no head
            return write_xml(elements)
        own = {"Event": event, **elements} if msg_type == "event" else {**elements, "MsgId": new_msg_id()}
        return self._wechat_now().build(msg_type, own, openid=_text(spec.get("openid") or self._state["users"][0]))

    def push(self, xml: str) -> int:
        """Let WeChat push a packet, and return the push's number at once.

        Raises:
            ValueError: Too many are under way.
        """
        with self._lock:
            if self._state["broken"]:
                raise ValueError("机器人没有加载成功：改好后存盘，再发一次")
            if sum(push["running"] for push in self._pushes.values()) >= MAX_RUNNING:
                raise ValueError(f"已有 {MAX_RUNNING} 个推送在途，请稍候")
            wechat = self._wechat_now()
            sealed = wechat.seal(xml)
            first = self._begin(wechat, xml, sealed)
            if self._state["faults"]["duplicate"]:
                self._begin(wechat, xml, sealed, copy_of=first)
            return first

    def follow(self) -> None:
        """Let the first user follow the account: once, before anything else, and when there is somebody to welcome them."""
        if self._url and reach(self._url, LOOK_SECONDS).level == "error":
            return
        with self._lock:
            if self._state["fresh"] and not self._state["broken"]:
                self.push(self.build({"msg_type": "event", "event": "subscribe", "elements": {"EventKey": ""}}))

    def again(self, number: int, *, new: bool) -> int:
        """Push a packet of the talk again, as a new message or with the same MsgId.

        Raises:
            KeyError: There is no such push.
        """
        xml = self.get(number)["xml"]
        return self.push(renewed(xml) if new else xml)

    def get(self, number: int) -> Json:
        """Return a push.

        Raises:
            KeyError: There is none.
        """
        with self._lock:
            return self._pushes[number]

    def until(self, number: int) -> list[Json]:
        """Return the pushes of the talk up to one of them."""
        with self._lock:
            return [push for push in self._pushes.values() if push["id"] <= number]

    def _wechat_now(self) -> FakeWeChat:
        faults = self._state["faults"]
        return replace(
            self._wechat,
            mode=self._state["mode"],
            time_scale=self._state["scale"],
            clock=self._wechat.clock if self._rescale else REAL,
            faults=Faults(faults["delay"], frozenset(faults["drop"]), faults["skew"]),
        )

    def _begin(self, wechat: FakeWeChat, xml: str, sealed: tuple[str, bytes], copy_of: int | None = None) -> int:
        self._last_id += 1
        self._begun()
        fields = read_xml(xml)
        identity = _identity(fields)
        before = [push for push in self._pushes.values() if _identity(push["fields"]) == identity] if fields else []
        push = self._pushes[self._last_id] = {
            "id": self._last_id,
            "at": int(time.time() * 1000),
            "xml": xml,
            "fields": fields,
            "openid": fields.get("FromUserName", ""),
            "mode": wechat.mode,
            "scale": wechat.time_scale,
            "copy_of": copy_of,
            "repeat_of": before[0]["id"] if before and not copy_of else None,
            "silent": "MsgType" not in fields or str(fields.get("Event", "")).lower() in _SILENT,
            "running": True,
            "request": request_view(*sealed, wechat.token),
            "tries": [],
            "reply": None,
            "elapsed": 0.0,
            "finding": None,
            "faults": [],
            "notes": [],
        }
        self._tell_apart(push)
        if len(self._pushes) > MAX_PUSHES:  # the oldest is forgotten, by the page, too
            oldest = next(iter(self._pushes))
            del self._pushes[oldest]
            self._findings.pop(oldest, None)
            self._tell(json.dumps({"forgotten": [oldest]}))
        self._tell_push(push)
        threading.Thread(target=self._run, args=(wechat, push, sealed), name="simulator", daemon=True).start()
        return self._last_id

    def _run(self, wechat: FakeWeChat, push: Json, sealed: tuple[str, bytes]) -> None:
        def on_try(_: Result, attempt: Try) -> None:
            with self._lock:
                push["tries"].append(try_view(attempt, wechat.token, self._url))
                self._tell_push(push)
            if attempt.status is not None:
                self._set_problem("")

        # A copy of its own: what is pushed twice at once has two of these threads.
        try:
            result = replace(wechat, on_try=on_try).send_xml(push["xml"], sealed=sealed)
            asking = replace(wechat, faults=Faults(skew=wechat.faults.skew))
            found = of_push(asking, result, self._url, self._texts)
            with self._lock:
                self._findings[push["id"]] = found
                faults = fault_words(asdict(wechat.faults), len(result.tries))
                push.update(reply=reply_view(result), elapsed=result.elapsed, faults=faults)
        finally:  # whatever a bot answers, its push comes to an end
            with self._lock:
                push["running"] = False
                self._conclude(push)

    def _conclude(self, push: Json) -> None:
        """Say what became of a push, and of those that are the same; what the bot's side tells may come later."""
        if push["id"] in self._findings:
            push["finding"] = finding_view(push, self._findings[push["id"]])
        self._tell_apart(push)
        self._tell_push(push)
        for other in list(self._pushes.values()):
            if push["id"] in (other["copy_of"], other["repeat_of"]):
                self._tell_apart(other)
                self._tell_push(other)

    def _tell_apart(self, push: Json) -> None:
        original = self._pushes.get(push["copy_of"] or push["repeat_of"])
        if original is not None:
            push["notes"] = repeat_words(push, original)

    def _begun(self) -> None:
        if self._state["fresh"]:
            self._state["fresh"] = False
            self._tell(json.dumps({"state": self._state}))

    # -- the bot's side ----------------------------------------------------------------------------------------------

    def note(self, fields: Json, said: Json) -> None:
        """Take what a bot in this process has said while it worked on a message.

        Args:
            fields: The message's, by WeChat's names.
            said: ``level`` and ``text`` of a log line; where it is the handler's last, ``handler`` (where it is written)
                and ``took`` (seconds on its clock); ``traceback`` where it raised.
        """
        wanted = _identity(fields)
        with self._lock:
            for push in self._pushes.values():
                if _identity(push["fields"]) == wanted:
                    _add_note(push, said)
                    self._conclude(push)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def save(self) -> str:
        """Return the talk as a JSON document, with what the bot remembers of its users, where it runs in this process.

        No secret is in it, and nothing of this machine.
        """
        sessions = self._sessions()
        with self._lock:
            kept = {name: self._state[name] for name in ("users", "menu")}
            done = [
                {name: value for name, value in push.items() if name != "bot"}
                for push in self._pushes.values()
                if not push["running"]
            ]
            if sessions:
                kept["sessions"] = sessions
            return json.dumps({"wx-mp-svr": "talk", **kept, "pushes": done}, ensure_ascii=False, indent=1)

    def _sessions(self) -> dict[str, Json]:
        """Return what the bot remembers of those users whom no handler is busy with."""
        with self._lock:
            server, busy = self._wechat.server, {push["openid"] for push in self._pushes.values() if push["running"]}
            users = [user for user in self._state["users"] if user not in busy]
        found: dict[str, Json] = {}
        for user in users if isinstance(server, WxMpServer) else ():
            with server.session_of(self._wechat.account, user) as session:
                if remembered := dict(session):
                    found[user] = remembered
        return found

    def _remember(self, sessions: Json) -> None:
        server = self._wechat.server
        for user, remembered in sessions.items() if isinstance(server, WxMpServer) else ():
            with server.session_of(self._wechat.account, user) as session:
                session.clear()
                session.update(remembered)

    def pause(self) -> str:
        """Return all there is, for `resume` in the next process."""
        with self._lock:
            kept = {name: self._state[name] for name in _SETTINGS}
            return json.dumps({"state": kept, "pushes": list(self._pushes.values()), "last_id": self._last_id})

    def resume(self, document: str) -> None:
        """Go on where `pause` ended. What nobody had answered is pushed again, as WeChat does when a bot is restarted."""
        before = json.loads(document)
        with self._lock:
            self._pushes = {push["id"]: push for push in before["pushes"] if not push["running"]}
            self._state["fresh"] = before["last_id"] == 0
            self._last_id = before["last_id"]
            usable = {**before["state"]}
            if usable["mode"] not in self._state["modes"]:
                del usable["mode"]
            self.configure(usable)
            if not self._state["broken"]:
                for push in before["pushes"]:
                    if push["running"] and not push["copy_of"]:
                        self.push(push["xml"])

    def open(self, document: Json) -> None:
        """Show a talk that `save` wrote instead of this one.

        Raises:
            ValueError: It is none.
        """
        pushes = document.get("pushes")
        if document.get("wx-mp-svr") != "talk" or not isinstance(pushes, list) or len(pushes) > MAX_PUSHES:
            raise ValueError("这不是模拟器保存的对话")
        if not all(_has(push, _PUSH) and all(map(_is_part, push["reply"]["parts"])) for push in pushes):
            raise ValueError("对话文件不完整")
        sessions = document.get("sessions", {})
        if not isinstance(sessions, dict) or not all(isinstance(kept, dict) for kept in sessions.values()):
            raise ValueError("对话文件不完整")
        _read_users(list(sessions) or ["o"])
        self._remember(sessions)
        with self._lock:
            self.configure({name: document[name] for name in ("users", "menu") if name in document})
            numbers = {push.get("id"): self._last_id + n for n, push in enumerate(pushes, 1)}
            self._pushes = {
                self._last_id + n: {
                    **push,
                    "finding": _read_finding(push.get("finding")),
                    "faults": _read_lines(push.get("faults")),
                    "notes": _read_lines(push.get("notes")),
                    "id": self._last_id + n,
                    "running": False,
                    **{name: numbers.get(push.get(name)) for name in ("copy_of", "repeat_of")},
                }
                for n, push in enumerate(pushes, 1)
            }
            self._last_id += len(pushes)
            self._state["fresh"] = False
            self._tell(self._snapshot())

    def clear(self) -> None:
        """Forget what was said."""
        with self._lock:
            self._pushes = {}
            self._findings.clear()
            self._state["fresh"] = False
            self._tell(self._snapshot())


_SETTINGS = ("mode", "scale", "faults", "users", "menu")


def _identity(fields: Json) -> tuple[str, ...]:
    """Return what tells one message from another, as far as a page needs it."""
    return tuple(str(fields.get(name) or "") for name in ("FromUserName", "MsgId", "CreateTime", "Event", "EventKey"))


def _add_note(push: Json, said: Json) -> None:
    bot = push.setdefault("bot", {"handler": "", "took": None, "lines": [], "failed": False, "runs": 0})
    if said.get("handler"):
        bot["runs"] += 1
        bot.update(handler=said["handler"], took=said["took"])
        bot["failed"] = bot["failed"] or said["level"] == "ERROR"
    if len(bot["lines"]) < MAX_LINES:
        text = said["text"] + (f"\n{said['traceback']}" if said.get("traceback") else "")
        bot["lines"].append({"level": said["level"], "text": text[:MAX_LINE]})


def new_openid() -> str:
    """Make up an OpenID that looks like one."""
    return "o" + secrets.token_urlsafe(24)[:27].replace("-", "A").replace("_", "B")


# What the page and the exports rely on; a stranger may have written the file.
_NUMBER = (int, float)
_TRY = {"number": int, "started": _NUMBER, "elapsed": _NUMBER, "outcome": str, "headers": dict, "checks": list}
_PUSH = {
    **{"at": int, "xml": str, "fields": dict, "openid": str, "mode": str, "scale": _NUMBER, "elapsed": _NUMBER},
    "request": {"query": str, "body": str, "params": list, "signatures": list},
    "reply": {"type": str, "content": str, "parts": list, "fields": dict},
    "tries": [_TRY],
}


def _has(found: Any, shape: Any) -> bool:
    """Whether *found* holds at least what *shape* does: types, dicts of shapes, a list of one shape (never empty)."""
    if isinstance(shape, dict):
        return isinstance(found, dict) and all(_has(found.get(name), inner) for name, inner in shape.items())
    if isinstance(shape, list):
        return isinstance(found, list) and found != [] and all(_has(item, shape[0]) for item in found)
    return isinstance(found, shape)


def _is_part(part: Any) -> bool:
    return isinstance(part, str) or _has(part, {"label": str, "href": str, "words": str, "menu_id": str})


def _read_finding(finding: Any) -> Json | None:
    fine = _has(finding, {"level": str, "cause": str, "fix": str}) and finding["level"] in ("ok", "warning", "error")
    return finding if fine else None


def _read_lines(lines: Any) -> list[str]:
    return [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []


def _read_faults(faults: Any) -> Json:
    if not isinstance(faults, dict) or not isinstance(faults.get("drop", []), list):
        raise ValueError("故障设置不对")
    return {
        "delay": _number(faults.get("delay", 0), 0, 60),
        "drop": sorted({int(_number(number, 1, 3)) for number in faults.get("drop", [])}),
        "duplicate": faults.get("duplicate") is True,
        "skew": _number(faults.get("skew", 0), -(10**8), 10**8),
    }


def _read_users(users: Any) -> list[str]:
    if not isinstance(users, list) or not 1 <= len(users) <= MAX_USERS:
        raise ValueError(f"用户须有 1～{MAX_USERS} 个")
    if not all(isinstance(user, str) and re.fullmatch(r"[\w-]{1,64}", user, re.ASCII) for user in users):
        raise ValueError("OpenID 由字母、数字、- 和 _ 组成，不超过 64 位")
    return list(dict.fromkeys(users))


def _read_menu(menu: Any) -> Json:
    """Take what WeChat's menu API takes."""
    buttons = menu.get("button") if isinstance(menu, dict) else None
    if not isinstance(buttons, list) or len(buttons) > 3 or len(json.dumps(menu)) > 20_000:
        raise ValueError('菜单须为 {"button": […]}，最多 3 个一级按钮')
    for button in buttons:
        below = button.get("sub_button", []) if isinstance(button, dict) else None
        if not isinstance(below, list) or len(below) > 5 or not all(map(_is_button, [button, *below])):
            raise ValueError("每个按钮须有 name，二级按钮最多 5 个")
    return {"button": buttons}


def _is_button(button: Any) -> bool:
    return _has(button, {"name": str}) and button["name"] != ""


def _read_elements(value: Any, depth: int = 0) -> Any:
    """Take what `write_xml` takes."""
    if isinstance(value, list) and depth:
        return [_read_elements(item, depth + 1) for item in value]
    if isinstance(value, dict) or not depth:
        if not isinstance(value, dict) or depth > 7 or not all(map(_NAME.fullmatch, value)):
            raise ValueError("元素名须为 XML 名称")
        return {name: _read_elements(inner, depth + 1) for name, inner in value.items()}
    return value if type(value) is int else _text(value, MAX_XML)


def _text(value: Any, limit: int = 200) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"须为不超过 {limit} 字符的文本")
    value.encode()  # a lone surrogate is a ValueError, too
    return value


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"须为 {least:g} 到 {most:g} 之间的数")
    return value
