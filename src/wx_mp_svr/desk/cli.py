"""The command line: dev, demo, simulate, send, replay, keygen, check; as ``wx-mp-svr`` and as ``flask wx-mp``.

Reads options, asks `FakeWeChat`, `diagnosis` or the simulator, and prints. No secret is printed but keygen's own.
Exit codes: 0 as expected, 1 another reply, 2 usage or configuration, 3 no valid reply, 4 not reachable, 130 Ctrl-C.
"""
# ruff: noqa: D415 (a Chinese full stop is one, too)

import errno
import json
import os
import re
import secrets
import string
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from werkzeug.serving import is_running_from_reloader

from .. import config
from ..config import Settings
from ..errors import ConfigError
from ..testing import FakeWeChat, Result
from ..testing.packets import read_xml, renewed
from . import diagnosis, envfile, files
from .answers import check_words, try_words
from .files import FileError, as_shown
from .findings import BOT_WRONG, NOT_REACHABLE, Finding, exit_code
from .reaching import reach, url_problem
from .simulator.views import reply_view
from .terminal import bubble, hidden, hide, say, shown, spinner, tell

OTHER_REPLY, NO_ROOM = 1, 1
INTERRUPTED = 130  # as a shell says it


class _Group(click.Group):
    """The commands; no character of theirs is too much for the terminal that shows it."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        # Before options are read, since --help prints at once. GBK has no emoji, the C locale no Chinese.
        for stream in (sys.stdout, sys.stderr):
            if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
                reconfigure(errors="replace")
        hide(os.environ)
        return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except FileError as exc:
            raise click.UsageError(str(exc)) from exc
        except KeyboardInterrupt:
            say("已中断", err=True)
            sys.exit(INTERRUPTED)
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter tries once more at its end
            say("写不出去：磁盘满了", err=True)
            sys.exit(NO_ROOM)


@click.group("wx-mp", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wx-mp-svr", message="%(version)s")
def group() -> None:
    """微信公众号开发工具：本机模拟微信、发送消息、诊断「token 验证失败」。"""


def main() -> None:
    """Run the command ``wx-mp-svr``."""
    group(prog_name="wx-mp-svr")


def account_of(environ: Mapping[str, str]) -> Settings:
    """Return the account of the environment, or the demo's where it has none; end where it is wrong."""
    if demo := config.demo_account({}, {}, environ):
        say("没有设置 WX_MP_APPID、WX_MP_TOKEN、WX_MP_AES_KEY，使用演示账号的值", err=True)
        environ = {**environ, **demo}
    try:
        return config.load({}, {}, environ)
    except ConfigError as exc:
        raise click.UsageError(str(exc)) from exc


def url_of(settings: Settings, url: str | None) -> str:
    """Return the URL that was given, or the one at which `WxMpServer.run` listens with these settings."""
    url = url or f"http://127.0.0.1:{settings.port}{settings.path}"
    if problem := url_problem(url):
        raise click.BadParameter(problem, param_hint="--url")
    return url


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
            say(f"  注意：{'：'.join(check_words(check))}", fg="yellow")
    if code == NOT_REACHABLE:
        tell(reach(url))
    elif code == BOT_WRONG:
        cause, fix = try_words(result.tries[-1], url)
        say(f"原因：{cause}\n解决：{fix}", fg="red")
        say(f"逐项诊断：wx-mp-svr check {url}")


def typed(text: str) -> str:
    """Return an argument as it was typed: under the C locale Python hands over bytes in disguise."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def outcome(result: Result, url: str, expected: "re.Pattern[str] | None" = None) -> int:
    """Return the exit code for what became of a push."""
    if not result.tries[-1].good:
        silent = all(attempt.status is None for attempt in result.tries)
        return NOT_REACHABLE if silent and reach(url).level == "error" else BOT_WRONG
    return OTHER_REPLY if expected is not None and not expected.search(shown(result)) else 0


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
    "xml": lambda wechat, path, key: wechat.send_xml(files.packet(path)),
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

    退出码：0 如预期，1 回复不符，2 用法或设置有误，3 没有有效的回复，4 连不上，130 按了 Ctrl+C。
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
        say(f"回复不符，期望的是：{expect.pattern}", err=True)
    sys.exit(code)


@group.command()
@click.argument("file")
@_url
@_scale
@click.option("--check", "compare", is_flag=True, help="与保存的回复逐条比较，不同时退出码为 1")
@click.option("--update", is_flag=True, help="把新的回复写回文件")
def replay(file: str, url: str | None, time_scale: float, compare: bool, update: bool) -> None:
    """把保存的对话（模拟器的 JSON，或一个 XML 文件）重新推送一遍，换上新的 MsgId 和时间；原来的重复推送仍是重复推送。"""
    settings = account_of(os.environ)
    url = url_of(settings, url)
    document, pushes = files.talk(file)
    wechat = diagnosis.wechat_of(settings, url, time_scale=time_scale)
    if document is None and (compare or update):
        raise click.BadParameter("XML 文件里没有保存的回复，--check 和 --update 只用于模拟器的 JSON", param_hint="FILE")
    codes: list[int] = []
    sent: dict[Any, tuple[str, tuple[str, bytes]]] = {}  # by the saved push's id, for its copies
    for push in pushes:
        copy_of = push.get("copy_of")
        xml, sealed = (copy_of is not None and sent.get(copy_of)) or _sealed_anew(wechat, push["xml"])
        sent[push.get("id")] = xml, sealed
        with spinner():
            result = wechat.send_xml(xml, sealed=sealed)
            code = outcome(result, url)
        fields = read_xml(result.xml)
        say("-> " + " ".join(str(fields[name]) for name in ("MsgType", "Event", "Content") if name in fields))
        show(result, url, code)
        if compare and code == 0 and (before := as_shown(push)) != (now := as_shown({"reply": reply_view(result)})):
            say(f"  与保存的不同，原来是：{before}", fg="yellow")
            say(f"  现在是：{now}", fg="yellow")
            code = OTHER_REPLY
        push.update(reply=reply_view(result))
        codes.append(code)
        if code == NOT_REACHABLE:
            break
    if update and document is not None and NOT_REACHABLE not in codes:
        Path(file).write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8")
        say("已写回新的回复", err=True)
        codes = [code for code in codes if code != OTHER_REPLY] or [0]
    sys.exit(max(codes))


def _sealed_anew(wechat: FakeWeChat, xml: str) -> tuple[str, tuple[str, bytes]]:
    xml = renewed(xml)
    return xml, wechat.seal(xml)


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


@group.command()
@click.argument("address", metavar="[URL]", required=False)
@_url
@click.option("--env-file", metavar="FILE", help="从文件读设置，读法与 systemd 的 EnvironmentFile 相同")
@click.option("--prefix", default="WX_MP_", help="环境变量的前缀，默认 WX_MP_；第二个公众号例如 WX2_")
@_scale
def check(address: str | None, url: str | None, env_file: str | None, prefix: str, time_scale: float) -> None:
    """诊断「token 验证失败」：逐项检查设置和地址，说明原因和解决办法。

    退出码：0 没有发现错误，2 设置有误，3 有问题，4 连不上，130 按了 Ctrl+C。
    """
    environ = os.environ if env_file is None else _environ_of(env_file)
    hide(environ, prefix)
    settings, findings = diagnosis.read_settings(environ, prefix)
    for finding in findings:
        tell(finding)
    if settings is None:
        if env_file is None:
            for line in diagnosis.unread_files(Path.cwd(), prefix):
                say(line)
        say("先改好设置，再检查地址", err=True)
        sys.exit(exit_code(findings))
    url = url_of(settings, address or url)
    say(f"检查 {url}")
    for finding in _one_by_one(diagnosis.check(settings, url, time_scale=time_scale)):
        tell(finding)
        findings.append(finding)
    say("有错误，见上" if (code := exit_code(findings)) else "没有发现错误")
    for line in [] if code else diagnosis.unseen(settings, url):
        say(line)
    sys.exit(code)


def _one_by_one(steps: Iterator[Finding]) -> Iterator[Finding]:
    while True:
        with spinner("检查中"):
            found = next(steps, None)
        if found is None:
            return
        yield found


def _environ_of(env_file: str) -> dict[str, str]:
    """Return the settings of a file, and say where a shell would read others."""
    text = files.read(env_file, encoding="utf-8")  # a BOM is one of the things that are said
    for words in envfile.oddities(text):
        say(f"[注意] {env_file} {words}", fg="yellow")
    return envfile.read(text)


_page_port = click.option("--port", type=click.IntRange(1, 65535), default=5002, help="模拟器的端口，默认 5002")
_no_browser = click.option("--no-browser", is_flag=True, help="不打开浏览器")


@group.command()
@_url
@_page_port
@_no_browser
def simulate(url: str | None, port: int, no_browser: bool) -> None:
    """打开模拟器，与 URL 处正在运行的机器人聊天。"""
    from .simulator import serve  # here, since only these commands need the page and what it brings

    settings = account_of(os.environ)
    url = url_of(settings, url)
    say("按 Ctrl+C 结束", err=True)
    if (found := reach(url)).level == "error":  # the page can be open before the bot runs
        tell(found)
    try:
        serve(url, **diagnosis.account(settings), port=port, open_browser=not no_browser, on_ready=say)
    except OSError as exc:
        raise click.UsageError(f"端口 {port} 已被占用（另一个模拟器？）：用 --port 换一个") from exc


_bot_port = click.option(
    "--bot-port", type=click.IntRange(1, 65535), help="机器人的端口（给 send、check 和内网穿透用），默认 5001"
)


@group.command()
@click.argument("target", metavar="[bot.py | 模块:server]", default="bot.py")
@_page_port
@_bot_port
@_no_browser
def dev(target: str, port: int, bot_port: int | None, no_browser: bool) -> None:
    """在模拟器里运行你自己的机器人：一个终端，存盘后自动重新加载，出错在页面上看得到。

    不用设置：什么都没设置时用演示账号（WxMpServer() 要写在这个文件里）。执行到 run() 时，由这个命令来运行它。
    """
    from .dev import dev as serve_dev  # here, since only these commands need the page and what it brings
    from .loading import is_file, split

    # Later it may come back.
    if not is_running_from_reloader() and is_file(target) and not Path(split(target)[0]).is_file():
        raise click.UsageError(f"没有 {split(target)[0]} 这个文件：写出文件名，例如 wx-mp-svr dev bot.py")
    serve_dev(target, port=port, bot_port=bot_port, open_browser=not no_browser, name="我的公众号")


@group.command()
@_page_port
@_bot_port
@_no_browser
def demo(port: int, bot_port: int | None, no_browser: bool) -> None:
    """运行回声公众号和模拟器，打开浏览器：不需要账号，马上可以聊天。"""
    from .dev import dev as serve_dev

    if not is_running_from_reloader():  # it is said once
        account_of(os.environ)  # ends where it is wrong
    serve_dev("wx_mp_svr.desk.echo", port=port, bot_port=bot_port, open_browser=not no_browser, name="回声公众号")
