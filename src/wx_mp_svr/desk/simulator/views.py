"""What the page gets to see: a push, its tries and how its signature came about, as JSON, curl and pytest.

Values in, values out. The Token and the EncodingAESKey never leave this process; where they took part stands `MASK`.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from ... import config
from ...server import WxMpServer
from ...testing import Result, Try
from ...testing.judge import split_links
from ...testing.packets import read_xml
from ...wire.signature import sign
from ..answers import title_of, try_words
from ..findings import Finding

MASK = "******"
MAX_SHOWN = 64 * 1024

Json = dict[str, Any]

_HEAD = ("ToUserName", "FromUserName", "CreateTime", "MsgType", "MsgId", "Event")


def request_view(query: str, body: bytes, token: str) -> Json:
    """Describe what is posted in every try of a push."""
    pairs = parse_qsl(query, keep_blank_values=True)
    params, text = dict(pairs), body.decode()
    stamp = {"timestamp": params.get("timestamp", ""), "nonce": params.get("nonce", "")}
    signatures = [_trace("signature", params.get("signature", ""), {"Token": token, **stamp})]
    if "msg_signature" in params:
        encrypt = read_xml(text).get("Encrypt", "")
        parts = {"Token": token, **stamp, "Encrypt": encrypt}
        signatures.append(_trace("msg_signature", params["msg_signature"], parts))
    return {"query": query, "params": pairs, "body": text, "bytes": len(body), "signatures": signatures}


def try_view(attempt: Try, token: str, url: str) -> Json:
    """Describe one delivery, its times as in WeChat's own seconds; in the words of ``check`` what is wrong with it."""
    return {
        "advice": _advice(attempt, url),
        "number": attempt.number,
        "started": attempt.started,
        "elapsed": attempt.elapsed,
        "status": attempt.status,
        "headers": attempt.headers,
        "reply": attempt.reply.decode(errors="replace")[:MAX_SHOWN],
        "bytes": len(attempt.reply),
        "xml": attempt.xml[:MAX_SHOWN],
        "error": attempt.error,
        "outcome": _outcome(attempt),
        "checks": [{**asdict(check), "title": title_of(check.name)} for check in attempt.checks],
        "signatures": _reply_signatures(attempt, token),
    }


def reply_view(result: Result) -> Json:
    """Describe what the user gets to see in the end."""
    parts = [part if isinstance(part, str) else asdict(part) for part in split_links(result.content)]
    return {"type": result.type, "content": result.content, "parts": parts, "fields": result.fields}


def finding_view(push: Json, found: Finding) -> Json:
    """Describe in one headline what became of a push: in the words of ``check``, unless the page knows better."""
    bot = push.get("bot") or {}
    if bot.get("failed"):
        error = bot["lines"][-1]["text"].strip().splitlines()[-1] if bot["lines"] else ""
        found = found._replace(level="error", cause=f"处理函数出错：{bot['handler']}　{error}", fix="看下面的错误堆栈")
    elif push["silent"] and found.level == "warning":
        found = found._replace(level="ok", cause="机器人收到了；这种推送没有会话，用户看不到回复", fix="")
    elif push["faults"] and found.level != "ok":
        cause, fix = f"模拟的故障（{'，'.join(push['faults'])}）之后：{found.cause}", "关掉工具栏里的「故障」再试"
        found = found._replace(cause=cause, fix=fix)
    return {"level": found.level, "cause": found.cause, "fix": found.fix}


def fault_words(faults: Json, number: int) -> list[str]:
    """Say which simulated faults a push met that was delivered *number* times."""
    dropped = [f"丢掉第 {lost} 次推送" for lost in sorted(faults["drop"]) if lost <= number]
    late = [f"每次晚 {faults['delay']:g} 秒送达"] if faults["delay"] else []
    skewed = [f"微信的时钟{'快' if faults['skew'] > 0 else '慢'} {abs(faults['skew']):g} 秒"] if faults["skew"] else []
    return [*dropped, *late, *skewed]


def repeat_words(push: Json, original: Json) -> list[str]:
    """Say of a push that came before what the bot made of it.

    Args:
        push: It.
        original: As what it came first.
    """
    number = original["id"]
    told = [
        f"与 #{number} 是同一次推送，同时送达了两份" if push["copy_of"] else f"与 #{number} 是同一条消息，又推送了一次"
    ]
    if push["running"] or original["running"] or not push["reply"] or not original["reply"]:
        return told
    runs = (push.get("bot") or {}).get("runs", 0)
    if runs > 1:
        return [*told, f"处理函数一共运行了 {runs} 次：没有去重"]
    same = _said(push) == _said(original)
    return [*told, "回复相同" if same else "回复不同：机器人可能没有去重", *(["处理函数没有再运行"] if runs else [])]


def _said(push: Json) -> Any:
    """Return what a user reads; the numbers in links are other ones each time."""
    reply = push["reply"]
    return reply["type"], [part if isinstance(part, str) else part["label"] for part in reply["parts"]] or [
        value for name, value in reply["fields"].items() if name != "CreateTime"
    ]


def _advice(attempt: Try, url: str) -> str:
    if attempt.error == "timeout":  # a slow answer comes with the next try; the bot need not be stuck
        return "5 秒内没有应答，微信挂断了连接。"
    return "" if attempt.good else "。".join(try_words(attempt, url))


def _outcome(attempt: Try) -> str:
    if attempt.good:
        return "harmful" if any(check.level == "harmful" for check in attempt.checks) else "answered"
    return "hung-up" if attempt.error == "timeout" else "error"


def _reply_signatures(attempt: Try, token: str) -> list[Json]:
    fields = read_xml(attempt.reply.decode(errors="replace"))
    sealed = {name: fields.get(name) for name in ("TimeStamp", "Nonce", "Encrypt")}
    claimed = fields.get("MsgSignature")
    if not isinstance(claimed, str) or not all(isinstance(value, str) for value in sealed.values()):
        return []
    return [_trace("MsgSignature", claimed, {"Token": token, **sealed})]


def _trace(name: str, claimed: str, parts: Mapping[str, Any]) -> Json:
    """Tell how a signature comes about: sorted, joined, SHA-1."""
    shown = [[label, _shown(label, value)] for label, value in sorted(parts.items(), key=lambda part: part[1])]
    digest = sign(*parts.values())
    joined = "".join(value for _, value in shown)
    return {"name": name, "claimed": claimed, "parts": shown, "joined": joined, "sha1": digest}


def _shown(label: str, value: str) -> str:
    if label == "Token":
        return MASK
    return value if len(value) <= 48 else f"{value[:20]}…{value[-12:]}（{len(value)} 字符）"


# -- to take away ----------------------------------------------------------------------------------------------------


def as_curl(push: Json, url: str) -> str:
    """Write the very request as a command for a POSIX shell."""
    request = push["request"]
    address = f"{url}{'&' if '?' in url else '?'}{request['query']}"
    return (
        "# 时间戳 5 分钟内有效\n"
        f"curl -sS -i {shlex.quote(address)} \\\n"
        "  -A 'Mozilla/4.0' -H 'Content-Type: text/xml' \\\n"
        f"  --data-raw {shlex.quote(request['body'])}\n"
    )


def as_pytest(pushes: Sequence[Json], target: Any, found: tuple[str, str] | None = None) -> str:
    """Write a test that holds a talk with the same bot again and expects the same replies. It holds no secret.

    Args:
        pushes: The talk; what a session holds comes about as it did.
        target: The bot.
        found: Its module and its name there, if they are known.
    """
    pushes = [push for push in pushes if not push["copy_of"] and push["reply"]]
    mode = pushes[-1]["mode"] if pushes else "plain"
    module, bot, remark = ("", repr(target), "") if isinstance(target, str) else _whereabouts(target, found)
    imports = [f"from {module} import {bot}{remark}"] if module else []
    if isinstance(target, WxMpServer):
        if target.settings.demo_values:  # a module must have an account of its own, where a script needs none
            demo = config.demo_account({}, {}, {"WX_MP_MODE": target.settings.mode})
            imports = [
                "import os",
                "",
                *(f"os.environ.setdefault({n!r}, {v!r})" for n, v in demo.items()),
                "",
                *imports,
            ]
        said = {push["reply"]["content"] for push in pushes}
        failed = bool(target.settings.error_text) and target.settings.error_text in said  # which is what is expected
        wechat = f"{bot}.test_client({'raise_errors=False' if failed else ''})"
    else:
        imports = ["import os", "", *imports, "from wx_mp_svr.testing import FakeWeChat"]
        secrets = ("token",) if mode == "plain" else ("token", "appid", "aes_key")
        account = "".join(f', {secret}=os.environ["WX_MP_{secret.upper()}"]' for secret in secrets)
        wechat = f"FakeWeChat({bot}{account}, mode={mode!r})"
    lines = [*imports, "", "", f"def {_test_name(pushes)}():", f"    wechat = {wechat}", *_talk_lines(pushes)]
    return "\n".join(lines) + "\n"


def _test_name(pushes: Sequence[Json]) -> str:
    fields = pushes[0]["fields"] if len(pushes) == 1 else {"MsgType": "talk"}
    name = re.sub(r"[^A-Za-z0-9]", "_", fields.get("Event") or fields.get("MsgType") or "")
    return f"test_{name.strip('_').lower() or 'push'}"


def _talk_lines(pushes: Sequence[Json]) -> Iterator[str]:
    """Yield a talk as calls of a client; a tap needs the result that it taps, a repeated message its first."""
    linked = {link: push["id"] for push in pushes for link in _ways_on(push)}
    taps = {push["id"]: linked[menu] for push in pushes if (menu := str(push["fields"].get("bizmsgmenuid"))) in linked}
    repeats = {push["id"]: push["repeat_of"] for push in pushes if push.get("repeat_of")}
    wanted = {*taps.values(), *repeats.values()}
    known: set[int] = set()
    for push in pushes:
        number = push["id"]
        if taps.get(number) in known:
            call = f"tap(result_{taps[number]})"
        elif repeats.get(number) in known:
            call = f"send_xml(result_{repeats[number]}.xml)"
        else:
            call = _call(push["xml"], push["fields"])
        name = f"result_{number}" if number in wanted else "result"
        yield f"    {name} = wechat.{call}"
        yield from (f"    assert {name}.{expectation}" for expectation in _expectations(push["reply"]))
        known |= {number} & wanted


def _ways_on(push: Json) -> list[str]:
    """Return the numbers of the links by which wx-mp-svr leads to what is still to come: other ones each time."""
    last: Json = next((part for part in reversed(push["reply"]["parts"]) if not isinstance(part, str)), {})
    return [last["menu_id"]] if str(last.get("menu_id")).startswith("wxmp-") else []


def _whereabouts(target: Any, found: tuple[str, str] | None) -> tuple[str, str, str]:
    """Return the module that holds *target*, its name there, and what is to be said about them."""
    if found is not None:
        return *found, ""
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is target:  # a script's name is that of its file, not __main__
                spec, file = module.__spec__, getattr(module, "__file__", None)
                return spec.name if spec else Path(file or "demo").stem, name, ""
    return "demo", "server", "  # 换成你的模块"


def _call(xml: str, fields: Json) -> str:
    own = {name: value for name, value in fields.items() if name not in _HEAD}
    msg_type, user = fields.get("MsgType"), fields.get("FromUserName", "")
    if msg_type == "event" and fields.get("Event"):
        return f"send_event({fields['Event']!r}, {own!r}, openid={user!r})"
    if msg_type == "text" and own.keys() == {"Content"}:
        return f"send_text({own['Content']!r}, openid={user!r})"
    return f"send_xml(wechat.build({msg_type!r}, {own!r}, openid={user!r}))" if msg_type else f"send_xml({xml!r})"


def _expectations(reply: Json) -> list[str]:
    expected = [f"type == {reply['type']!r}"]
    element = "Articles" if reply["type"] == "news" else str(reply["type"]).capitalize()
    said, link, _ = reply["content"].partition('<a href="weixin://bizmsgmenu')  # its number is another one next time
    if reply["type"] in ("text", "fault"):
        expected.append(f"content.startswith({said!r})" if link else f"content == {said!r}")
    elif element in reply["fields"]:
        expected.append(f"fields[{element!r}] == {reply['fields'][element]!r}")
    return expected
