"""The command line: demo, simulate, send, replay, keygen, check; as ``wx-mp-svr`` and as ``flask wx-mp``.

Reads options, asks `FakeWeChat`, `diagnosis` or the simulator, and prints. No secret is printed but keygen's own.
Exit codes: 0 as expected, 1 another reply, 2 usage or configuration, 3 no valid reply, 4 not reachable.
"""
# ruff: noqa: D415 (a Chinese full stop is one, too)

import itertools
import json
import logging
import os
import re
import secrets
import string
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from . import config, diagnosis
from .config import Settings
from .diagnosis import BOT_WRONG, NOT_REACHABLE, Finding
from .errors import ConfigError
from .req_msg import ImageReqMsg, TextReqMsg, VoiceReqMsg
from .rsp_msg import ImageRspMsg, VoiceRspMsg
from .server import WxMpServer
from .testing import FakeWeChat, Link, Result
from .testing.judge import split_links
from .testing.packets import read_xml, renewed

OTHER_REPLY = 1
DEMO = {"WX_MP_APPID": config.DEMO_APPID, "WX_MP_TOKEN": config.DEMO_TOKEN, "WX_MP_AES_KEY": config.DEMO_AES_KEY}


class _Group(click.Group):
    """The commands; no character of theirs is too much for the terminal that shows it."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        # Before options are read, since --help prints at once. GBK has no emoji, the C locale no Chinese.
        for stream in (sys.stdout, sys.stderr):
            if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
                reconfigure(errors="replace")
        return super().make_context(*args, **kwargs)


@click.group("wx-mp", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """微信公众号开发工具：本机模拟微信、发送消息、诊断「token 验证失败」。"""


def main() -> None:
    """Run the command ``wx-mp-svr``."""
    group(prog_name="wx-mp-svr")


def account_of(environ: Mapping[str, str]) -> Settings:
    """Return the account of the environment, or the demo's where it has none; end where it is wrong."""
    if not any(environ.get(name) for name in DEMO):
        say("没有设置 WX_MP_APPID、WX_MP_TOKEN、WX_MP_AES_KEY，使用演示账号的值", err=True)
        environ = {**environ, **DEMO, **({"WX_MP_AES_KEY": ""} if environ.get("WX_MP_MODE") == "plain" else {})}
    try:
        return config.load({}, {}, environ)
    except ConfigError as exc:
        raise click.UsageError(str(exc)) from exc


def url_of(settings: Settings, url: str | None) -> str:
    """Return the URL that was given, or the one at which `WxMpServer.run` listens with these settings."""
    url = url or f"http://127.0.0.1:{settings.port}{settings.path}"
    if problem := diagnosis.url_problem(url):
        raise click.BadParameter(problem, param_hint="--url")
    return url


# -- printing ----------------------------------------------------------------------------------------------------------


def hidden(words: str) -> str:
    """Return *words* without the account's secrets, whoever put them there (the demo's are none)."""
    for name in ("WX_MP_TOKEN", "WX_MP_AES_KEY", "WX_MP_AES_KEY_OLD"):
        secret = os.environ.get(name, "").strip()
        words = words.replace(secret, "***") if len(secret) >= 3 and secret not in DEMO.values() else words
    return words


def say(words: str, *, err: bool = False, fg: str | None = None) -> None:
    """Print, but nothing that a bot could steer a terminal with."""
    steering = ("Cc", "Cf", "Cs")  # categories of Unicode; newlines and what joins emoji are welcome
    clean = (c if c in "\n\u200d" or unicodedata.category(c) not in steering else "?" for c in hidden(words))
    click.secho("".join(clean), err=err, fg=fg)


@contextmanager
def spinner() -> Iterator[None]:
    """Show on a terminal, and only there, that something is going on."""
    done = threading.Event()

    def spin() -> None:
        for mark in itertools.cycle("|/-\\"):
            if done.wait(0.1):
                return click.echo("\r            \r", err=True, nl=False)
            click.echo(f"\r{mark} 等待回复", err=True, nl=False)

    thread = threading.Thread(target=spin if sys.stderr.isatty() else done.wait, name="spinner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _width(line: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in line)
    return len(line) + wide - sum(unicodedata.combining(c) > 0 or c in "\u200d\ufe0f" for c in line)


def bubble(text: str) -> str:
    """Draw what the user sees."""
    lines = text.split("\n")
    width = max(map(_width, lines))
    drawn = "\n".join(f"│ {line}{' ' * (width - _width(line))} │" for line in lines)
    return f"┌{'─' * (width + 2)}┐\n{drawn}\n└{'─' * (width + 2)}┘"


_PICTURED = {"image": "[图片]", "voice": "[语音]", "video": "[视频]", "music": "[音乐]", "news": "[图文]"}


def shown(result: Result) -> str:
    """Return a reply as text; of a link in it, the label."""
    if result.type not in _PICTURED:
        parts = split_links(result.content)
        return "".join(part.label if isinstance(part, Link) else part for part in parts)
    children = result.articles or [result.fields.get(result.type.capitalize()) or {}]
    return "\n".join(" ".join([_PICTURED[result.type], *filter(None, child.values())]) for child in children)


def show(result: Result, url: str, code: int) -> None:
    """Print the bubble, where its links lead, and each try with what is wrong with it."""
    if result.type == "fault":
        say(f"    {result.content}", fg="red")
    elif shown(result):
        say(bubble(shown(result)), fg="green")
    else:
        say("    （转给人工客服）" if result.type else "    （已收到，没有回复）")
    for link in result.links:
        say(f"    {link.label} -> {'点击发送「' + link.words + '」' if link.words else link.href}")
    for attempt in result.tries:
        status = f"HTTP {attempt.status}，{len(attempt.reply)} 字节" if attempt.status else "没有回答"
        say(f"第 {attempt.number} 次推送：{status}，{attempt.elapsed:.2f} 秒")
        for check in (check for check in attempt.checks if check.level == "harmful"):
            say(f"  注意：{check.name}：{check.detail}", fg="yellow")
    if code == NOT_REACHABLE:
        _tell(diagnosis.reach(url))
    elif code == BOT_WRONG:
        cause, fix = diagnosis.try_words(result.tries[-1], url)
        say(f"原因：{cause}\n解决：{fix}", fg="red")


def typed(text: str) -> str:
    """Return an argument as it was typed: under the C locale Python hands over bytes in disguise."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def outcome(result: Result, url: str, expected: "re.Pattern[str] | None" = None) -> int:
    """Return the exit code for what became of a push."""
    if not result.tries[-1].good:
        silent = all(attempt.status is None for attempt in result.tries)
        return NOT_REACHABLE if silent and diagnosis.reach(url).level == "error" else BOT_WRONG
    return OTHER_REPLY if expected is not None and not expected.search(shown(result)) else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise click.BadParameter(f"{path} 不是可读的 UTF-8 文件（{type(exc).__name__}）") from exc


def _pattern(ctx: click.Context, param: click.Parameter, value: str | None) -> "re.Pattern[str] | None":
    try:
        return None if value is None else re.compile(typed(value))
    except re.error as exc:
        raise click.BadParameter(f"不是正确的正则表达式：{exc}") from exc


def _place(value: str) -> tuple[float, float, str]:
    try:
        latitude, longitude, label = value.split(",", 2)
        return float(latitude), float(longitude), label
    except ValueError as exc:
        raise click.BadParameter("应为 纬度,经度,名称，例如 23.1,113.3,广州塔", param_hint="--location") from exc


_SENDERS: dict[str, Callable[[FakeWeChat, str, str], Result]] = {
    "text": lambda wechat, text, key: wechat.send_text(text),
    "image": lambda wechat, media_id, key: wechat.send_image(media_id),
    "voice": lambda wechat, media_id, key: wechat.send_voice(media_id),
    "location": lambda wechat, place, key: wechat.send_location(*_place(place)),
    "event": lambda wechat, name, key: wechat.send_event(name, {"EventKey": key}),
    "xml": lambda wechat, path, key: wechat.send_xml(_read(path)),
}

_url = click.option("--url", help="服务器配置里的 URL，默认 http://127.0.0.1:5001/wx_mp_cb")
_scale = click.option("--time-scale", type=click.FloatRange(0, min_open=True), default=1.0, hidden=True)  # for tests


@group.command()
@click.argument("words", metavar="[文本]", default="你好")
@_url
@click.option("--text", help="发送文本，与直接写出相同（默认「你好」）")
@click.option("--image", metavar="ID", help="发送图片，ID 为 media_id")
@click.option("--voice", metavar="ID", help="发送语音，ID 为 media_id")
@click.option("--location", metavar="LAT,LON,LABEL", help="发送位置：纬度,经度,名称")
@click.option("--event", metavar="NAME", help="推送事件，例如 subscribe、CLICK")
@click.option("--key", default="", help="事件的 EventKey")
@click.option("--xml", metavar="FILE", help="原样推送文件里的明文 XML（要换新 MsgId 请用 replay）")
@click.option("--openid", default="", help="发送者的 OpenID")
@click.option("--expect", metavar="REGEX", callback=_pattern, help="期望的回复（正则表达式），不符则退出码为 1")
@click.option("--json", "machine", is_flag=True, help="输出 JSON")
@_scale
def send(
    words: str, url: str | None, key: str, openid: str, expect: Any, machine: bool, time_scale: float, **kinds: Any
) -> None:
    """像微信一样推送一条消息，显示回复。

    退出码：0 符合期望，1 回复不同，2 用法或配置错误，3 没有有效回复，4 连接不上。
    """
    given = [(kind, typed(value)) for kind, value in kinds.items() if value is not None] or [("text", typed(words))]
    if len(given) > 1:
        raise click.UsageError(f"只能选一种消息：{'、'.join('--' + kind for kind, _ in given)}")
    settings = account_of(os.environ)
    url = url_of(settings, url)
    more = {"openid": typed(openid)} if openid else {}
    (kind, value), wechat = given[0], diagnosis.wechat_of(settings, url, time_scale=time_scale, **more)
    with spinner():
        result = _SENDERS[kind](wechat, value, typed(key))
        code = outcome(result, url, expect)
    if machine:  # in ASCII, so that no console's encoding matters
        told = {"url": url, "exit_code": code, **asdict(result), "links": [asdict(link) for link in result.links]}
        click.echo(hidden(json.dumps(told, default=lambda body: body.decode(errors="replace"))))
    else:
        show(result, url, code)
    if code == OTHER_REPLY:
        say(f"回复不符合期望：{expect.pattern}", err=True)
    sys.exit(code)


@group.command()
@click.argument("file")
@_url
@_scale
def replay(file: str, url: str | None, time_scale: float) -> None:
    """把保存的对话（模拟器的 JSON，或一个 XML 文件）重新推送一遍，换上新的 MsgId 和时间。"""
    settings = account_of(os.environ)
    url = url_of(settings, url)
    wechat = diagnosis.wechat_of(settings, url, time_scale=time_scale)
    codes = []
    for xml in packets_in(_read(file)):
        with spinner():
            result = wechat.send_xml(renewed(xml))
            codes.append(outcome(result, url))
        fields = read_xml(result.xml)
        say("-> " + " ".join(str(fields[name]) for name in ("MsgType", "Event", "Content") if name in fields))
        show(result, url, codes[-1])
        if codes[-1] == NOT_REACHABLE:
            break
    sys.exit(max(codes))


def packets_in(text: str) -> list[str]:
    """Return the plain packets of a saved talk, or the one that *text* is."""
    if text.lstrip().startswith("<"):
        return [text.strip()]
    try:
        if found := [push["xml"] for push in json.loads(text)["pushes"] if isinstance(push["xml"], str)]:
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise click.BadParameter("应为模拟器保存的 JSON，或一个 XML 文件", param_hint="FILE")


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))


@group.command()
@click.option("--env", is_flag=True, help="输出 WX_MP_TOKEN=… 的形式，可追加到 systemd 的 EnvironmentFile")
def keygen(env: bool) -> None:
    """生成 Token 和 EncodingAESKey，填到公众平台和服务器。"""
    names = ("WX_MP_TOKEN=", "WX_MP_AES_KEY=") if env else ("Token           ", "EncodingAESKey  ")
    # 43 characters of Base64 hold 258 bits: the last two do not count, and a strict reader wants them to be zero.
    aes_key = _letters(42) + secrets.choice("AEIMQUYcgkosw048")
    click.echo(f"{names[0]}{_letters(32)}\n{names[1]}{aes_key}")
    if not env:
        say("在公众平台「服务器配置」和服务器的环境变量（WX_MP_TOKEN、WX_MP_AES_KEY）中填写同样的值", err=True)


_MARKS = {"ok": ("[正常]", "green"), "warning": ("[注意]", "yellow"), "error": ("[错误]", "red")}


def _tell(finding: Finding) -> None:
    mark, colour = _MARKS[finding.level]
    cause, fix = (f"：{finding.cause}" if finding.cause else ""), (f" -> {finding.fix}" if finding.fix else "")
    say(f"{mark} {finding.name}{cause}{fix}", fg=colour)


@group.command()
@_url
@_scale
def check(url: str | None, time_scale: float) -> None:
    """诊断「token 验证失败」：逐项检查配置和地址，说明原因和解决办法。

    退出码：0 一切正常，2 配置错误，3 有问题，4 连接不上。
    """
    settings, findings = diagnosis.read_settings(os.environ)
    for finding in findings:
        _tell(finding)
    if settings is None:
        say("先改好配置，再检查地址", err=True)
        sys.exit(diagnosis.exit_code(findings))
    url = url_of(settings, url)
    say(f"检查 {url}")
    for finding in diagnosis.check(settings, url, time_scale=time_scale):
        _tell(finding)
        findings.append(finding)
    say("有错误，见上" if (code := diagnosis.exit_code(findings)) else "没有发现错误")
    sys.exit(code)


_page_port = click.option("--port", type=click.IntRange(1, 65535), default=5002, help="模拟器的端口，默认 5002")
_no_browser = click.option("--no-browser", is_flag=True, help="不打开浏览器")


def echo(req: Any) -> Any:
    """Answer as the demo account does: text, image and voice come back."""
    match req:
        case TextReqMsg(content=text):
            return text
        case ImageReqMsg(media_id=media):
            return ImageRspMsg(media)
        case VoiceReqMsg(media_id=media):
            return VoiceRspMsg(media)
    return "暂不支持ECHO的消息类型"


def _simulate(settings: Settings, url: str, port: int, no_browser: bool, name: str = "我的公众号") -> None:
    from .simulator import serve  # here, since only these two commands need the page and what it brings

    say("按 Ctrl+C 结束", err=True)
    try:
        serve(url, **diagnosis.account(settings), name=name, port=port, open_browser=not no_browser, on_ready=say)
    except OSError as exc:
        raise click.UsageError(f"端口 {port} 已被占用（另一个模拟器？）：用 --port 换一个") from exc


@group.command()
@_url
@_page_port
@_no_browser
def simulate(url: str | None, port: int, no_browser: bool) -> None:
    """打开网页版的微信模拟器，与 URL 处的公众号对话。"""
    settings = account_of(os.environ)
    _simulate(settings, url_of(settings, url), port, no_browser)


@group.command()
@_page_port
@click.option("--bot-port", type=click.IntRange(1, 65535), help="回声公众号的端口，默认 5001")
@_no_browser
def demo(port: int, bot_port: int | None, no_browser: bool) -> None:
    """运行回声公众号和模拟器，打开浏览器：不需要账号，马上可以聊天。"""
    settings = account_of(os.environ)
    bot_port = bot_port or settings.port
    url = f"http://127.0.0.1:{bot_port}{settings.path}"
    if diagnosis.reach(url).level == "ok":
        raise click.UsageError(f"端口 {bot_port} 已被占用：用 --bot-port 换一个")
    account = {**diagnosis.account(settings), "path": settings.path, "store": "memory:"}
    logging.basicConfig(format="%(message)s")  # warnings only: a line for each push would bury the page's address
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = WxMpServer(on_message=echo, on_subscribe=lambda event: "欢迎关注", **account)
    bot = threading.Thread(target=server.run, args=("127.0.0.1", bot_port), name="demo", daemon=True)
    bot.start()
    while bot.is_alive() and diagnosis.reach(url).level == "error":
        time.sleep(0.05)
    say(f"回声公众号运行在 {url}", err=True)
    _simulate(settings, url, port, no_browser, "回声公众号")
