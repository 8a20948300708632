"""The commands as users type them: what they print, how they end, on every kind of terminal."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import servers
from click.testing import CliRunner
from servers import always
from waiting import until

from wx_mp_svr import (
    Article,
    ClickEvent,
    ImageReqMsg,
    ImageRspMsg,
    LocationReqMsg,
    MusicRspMsg,
    TextReqMsg,
    TransferCustomerServiceRspMsg,
    VideoRspMsg,
    VoiceReqMsg,
    VoiceRspMsg,
    WxMpServer,
    config,
)
from wx_mp_svr.desk import cli
from wx_mp_svr.desk.echo import echo
from wx_mp_svr.testing.packets import renewed

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TOKEN, APPID = "CommandLine7", "wx2c2769f8efd9abc2"
SAFE = {"token": TOKEN, "appid": APPID, "aes_key": KEY}
ENV = {"WX_MP_TOKEN": TOKEN, "WX_MP_APPID": APPID, "WX_MP_AES_KEY": KEY}
ROOT = Path(__file__).resolve().parents[2]


def answer(req):
    """What the bot of these tests says."""
    match req:
        case TextReqMsg(content="图文"):
            return Article("标题", "简介", "http://a/p.jpg", "http://a/")
        case TextReqMsg(content="音乐"):
            return MusicRspMsg("thumb", "歌名", "歌手", "http://a/m", "http://a/hq")
        case TextReqMsg(content="视频"):
            return VideoRspMsg("video_id", "片名", "简介")
        case TextReqMsg(content="人工"):
            return TransferCustomerServiceRspMsg()
        case TextReqMsg(content="沉默"):
            return None
        case TextReqMsg(content="菜单"):
            return '<a href="weixin://bizmsgmenu?msgmenucontent=%E5%A5%BD&msgmenuid=1">好的</a>或<a href="http://a/">看看</a>'
        case TextReqMsg(content="泄密"):
            return f"token={TOKEN} key={KEY} \x9b31m\u202egnp"
        case TextReqMsg(content=text, openid=openid):
            return f"{openid[:3]} 说：{text}😁"
        case ImageReqMsg(media_id=media):
            return ImageRspMsg(media)
        case VoiceReqMsg(media_id=media):
            return VoiceRspMsg(media)
        case LocationReqMsg(location_x=x, label=label):
            return f"{label} {x}"
    return "?"


def click_event(event):
    return f"点了 {event.event_key}" if isinstance(event, ClickEvent) else None


@pytest.fixture(scope="module")
def url():
    server = WxMpServer(on_message=answer, on_event=click_event, on_subscribe=lambda e: "欢迎", store="memory:", **SAFE)
    with servers.in_thread(server) as base:
        yield base + "/wx_mp_cb"


@pytest.fixture(autouse=True)
def account(monkeypatch):
    """Nobody's settings but these."""
    for name in [name for name in os.environ if name.startswith("WX_MP_")]:
        monkeypatch.delenv(name)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


def run(*arguments, group=cli.group):
    """Run a command in this process."""
    result = CliRunner().invoke(group, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not any(secret in result.output for secret in (TOKEN, KEY)), result.output
    return result


def dead_url():
    return f"http://127.0.0.1:{servers.free_port()}/wx_mp_cb"


def hanging(environ, start_response):
    time.sleep(1)
    return always()(environ, start_response)


def hanging_up(environ, start_response):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return always()(environ, start_response)


# -- send --------------------------------------------------------------------------------------------------------------

SENT = [
    (["帮助"], "说：帮助"),
    ([], "│ oFa 说：你好"),
    (["--text", "天气"], "说：天气"),
    (["--text", "a", "--openid", "o_1"], "o_1 说：a"),
    (["--image", "media_7"], "[图片] media_7"),
    (["--voice", "media_8"], "[语音] media_8"),
    (["--location", "23.5,113.3,广州,塔"], "广州,塔 23.5"),
    (["--event", "subscribe"], "│ 欢迎 │"),
    (["--event", "CLICK", "--key", "V1"], "点了 V1"),
    (["--event", "VIEW"], "没有回复"),
    (["--text", "图文"], "[图文] 标题 简介 http://a/p.jpg http://a/"),
    (["--text", "音乐"], "[音乐] 歌名 歌手 http://a/m http://a/hq thumb"),
    (["--text", "视频"], "[视频] video_id 片名 简介"),
    (["--text", "人工"], "转给人工客服"),
    (["--text", "沉默"], "没有回复"),
    (["--text", "菜单"], "│ 好的或看看 │"),
    (["--text", "菜单"], "好的 -> 点击发送「好」"),
    (["--text", "菜单"], "看看 -> http://a/"),
    (["--text", "泄密"], "│ token=*** key=*** ?31m?gnp"),
]


@pytest.mark.parametrize(("arguments", "shown"), SENT)
def test_send_shows_the_bubble_and_the_tries(arguments, shown, url):
    """Whatever is sent and comes back."""
    result = run("send", "--url", url, *arguments)
    assert shown in result.output
    assert re.search(r"第 1 次推送：HTTP 200，\d+ 字节，\d\.\d\d 秒", result.output)
    assert result.exit_code == 0


def test_send_pushes_a_packet_from_a_file(url, tmp_path):
    """As it is."""
    packet = "<xml><ToUserName>g</ToUserName><FromUserName>o_x</FromUserName><CreateTime>1</CreateTime>"
    file = tmp_path / "packet.xml"
    file.write_text(f"\ufeff{packet}<MsgType>text</MsgType><MsgId>1</MsgId><Content>包</Content></xml>", "utf-8")
    assert "o_x 说：包" in run("send", "--url", url, "--xml", str(file)).output


EXPECTED = [
    ("说：你好", 0),
    ("^oFa.*😁$", 0),
    ("再见", 1),
]


@pytest.mark.parametrize(("pattern", "code"), EXPECTED)
def test_send_ends_as_expected_or_with_1(pattern, code, url):
    assert run("send", "--url", url, "--expect", pattern).exit_code == code


@pytest.mark.parametrize(("text", "pattern", "code"), [("沉默", ".", 1), ("图文", "标题", 0), ("菜单", "好的或", 0)])
def test_what_is_expected_is_what_the_user_sees(text, pattern, code, url):
    """Also of a card, also when there is nothing."""
    assert run("send", "--url", url, "--text", text, "--expect", pattern).exit_code == code


USAGE = [
    ["send", "--text", "a", "--image", "b"],
    ["send", "--location", "here"],
    ["send", "--location", "x,y,z"],
    ["send", "--expect", "("],
    ["send", "--url", "example.com/wx"],
    ["send", "--xml", "/no/such/file"],
    ["send", "--unknown"],
    ["send", "--time-scale", "0"],
    ["send", "two", "strays"],
    ["replay", "/no/such/file"],
    ["replay"],
    ["check", "--url", "ftp://a"],
    ["simulate", "--url", "nowhere"],
    ["demo", "--port", "0"],
    ["unknown"],
]


@pytest.mark.parametrize("arguments", USAGE)
def test_a_wrong_command_ends_with_2(arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("command", [["send"], ["check"], ["simulate"], ["demo"], ["replay", __file__]])
def test_wrong_settings_end_with_2(command, monkeypatch):
    """And name the variable."""
    monkeypatch.setenv("WX_MP_AES_KEY", f"{KEY}=")
    result = run(*command)
    assert result.exit_code == 2
    assert "WX_MP_AES_KEY" in result.output
    assert "44" in result.output


BROKEN = {
    # name: (application, exit code, cause)
    "500": (always(b"x", "500 Internal Server Error"), 3, "HTTP 500"),
    "403": (always(b"forbidden", "403 Forbidden"), 3, "HTTP 403"),
    "garbage": (always(b"<xml"), 3, "不是合格的 XML"),
    "JSON": (always(b'{"a":1}'), 3, "JSON"),
    "HTML": (always(b"<html></html>"), 3, "HTML"),
    "hanging": (hanging, 3, "5 秒内没有回答"),
    "hanging up": (hanging_up, 3, "第 3 次推送：没有回答"),
    "wrong key": (WxMpServer(**{**SAFE, "aes_key": KEY[::-1]}, store="memory:"), 3, "HTTP 403"),
    "acknowledges": (always(), 0, "没有回复"),
    "empty": (always(b""), 0, "没有回复"),
}


@pytest.mark.parametrize(("app", "code", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_send_to_a_broken_bot(app, code, cause):
    """No valid reply is 3, with the fault notice that the user would see, and the cause."""
    with servers.in_thread(app) as base:
        result = run("send", "--url", f"{base}/wx_mp_cb", "--time-scale", "0.05")
    assert (result.exit_code, cause in result.output) == (code, True), result.output
    assert ("该公众号提供的服务出现故障" in result.output) is (code == 3)
    assert ("第 3 次推送" in result.output) is (code == 3)


def test_send_to_nobody_ends_with_4():
    result = run("send", "--url", dead_url())
    assert result.exit_code == 4
    assert "没有程序在监听这个端口" in result.output


def test_send_for_machines(url):
    """One line of ASCII on stdout."""
    result = run("send", "--url", url, "--json", "--expect", "没有")
    told = json.loads(result.stdout)
    assert result.stdout.isascii()
    assert (told["url"], told["type"], told["content"], told["exit_code"]) == (url, "text", "oFa 说：你好😁", 1)
    assert [(row["number"], row["status"], row["error"]) for row in told["tries"]] == [(1, 200, "")]
    assert {check["level"] for check in told["tries"][0]["checks"]} == {"ok"}
    leak = json.loads(run("send", "--url", url, "--json", "--text", "泄密").stdout)
    assert leak["content"].startswith("token=*** key=***")


def test_the_demo_account_when_there_is_none(monkeypatch):
    """Said in one line, which is not part of the result."""
    for name in ENV:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WX_MP_PORT", "0")
    demo = {"token": config.DEMO_TOKEN, "appid": config.DEMO_APPID, "aes_key": config.DEMO_AES_KEY}
    with servers.in_thread(WxMpServer(on_message=echo, store="memory:", **demo)) as base:
        result = run("send", "--url", f"{base}/wx_mp_cb", "--json")
    assert json.loads(result.stdout)["content"] == "你好"
    assert result.stderr.count("\n") == 1
    assert "演示账号" in result.stderr


def test_what_the_user_sees_less_well_than_it_was_meant_is_said(url):
    result = run("send", "--url", url, r"一行\n又一行")
    assert result.exit_code == 0
    assert re.search("^  注意：.+：.+$", result.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("typed", "text"),
    [("好", "好"), (os.fsencode("好").decode("ascii", "surrogateescape"), "好"), ("a\udcff", "a\ufffd")],
)
def test_an_argument_is_taken_as_it_was_typed(typed, text):
    """Under the C locale Python hands over bytes in disguise; some are no text."""
    assert cli.typed(typed) == text


@pytest.mark.parametrize(
    ("environ", "mode"), [({}, "safe"), ({"WX_MP_MODE": "plain"}, "plain"), ({"WX_MP_TOKEN": "abc"}, "plain")]
)
def test_whose_account_it_is(environ, mode):
    """The demo's only where nothing is set; its mode can be."""
    assert cli.account_of(environ).mode == mode


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, "http://127.0.0.1:5001/wx_mp_cb"), ({"WX_MP_PORT": "80", "WX_MP_PATH": "/a"}, "http://127.0.0.1:80/a")],
)
def test_the_default_url_is_where_the_bot_listens(environ, expected):
    assert cli.url_of(cli.account_of(environ), None) == expected


# -- replay ------------------------------------------------------------------------------------------------------------


def packet(content, msg_id="1"):
    return (
        "<xml><ToUserName><![CDATA[g]]></ToUserName><FromUserName><![CDATA[o_r]]></FromUserName>"
        f"<CreateTime>1400000000</CreateTime><MsgType><![CDATA[text]]></MsgType>"
        f"<Content><![CDATA[{content}]]></Content><MsgId>{msg_id}</MsgId></xml>"
    )


TALKS = {
    "simulator": json.dumps({"users": [{"a": 1}], "pushes": [{"xml": packet("一")}, {"xml": packet("二")}]}),
}


def test_replay_says_what_each_push_is(url, tmp_path):
    file = tmp_path / "event.xml"
    file.write_text(
        "<xml><ToUserName>g</ToUserName><FromUserName>o</FromUserName><CreateTime>1</CreateTime>"
        "<MsgType>event</MsgType><Event>CLICK</Event><EventKey>V1</EventKey></xml>",
        "utf-8",
    )
    said = run("replay", str(file), "--url", url).output
    assert said.startswith("-> event CLICK\n")
    assert "点了 V1" in said


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS.keys())
def test_replay_pushes_a_talk_again(talk, url, tmp_path):
    """Twice, and it is not taken for a duplicate."""
    file = tmp_path / "talk.json"
    file.write_text(talk, "utf-8")
    for _ in range(2):
        result = run("replay", str(file), "--url", url)
        assert [line for line in result.output.splitlines() if line[0] in "-│"] == [
            "-> text 一",
            "│ o_r 说：一😁 │",
            "-> text 二",
            "│ o_r 说：二😁 │",
        ]
        assert result.exit_code == 0


def test_replay_compares_with_what_was_saved_and_writes_it_anew(url, tmp_path):
    """A recorded answer that differs from the new one is named; copies of a push are replayed as copies."""
    file = tmp_path / "talk.json"
    first = {"id": 1, "xml": packet("一"), "reply": {"type": "text", "content": "", "parts": ["别的"], "fields": {}}}
    copy = {**first, "id": 2, "copy_of": 1}
    file.write_text(json.dumps({"wx-mp-svr": "talk", "users": ["o1"], "pushes": [first, copy]}), "utf-8")
    assert run("replay", str(file), "--url", url).exit_code == 0
    compared = run("replay", str(file), "--check", "--url", url)
    assert (compared.exit_code, compared.output.count("原来是：别的")) == (1, 2)
    assert run("replay", str(file), "--check", "--update", "--url", url).exit_code == 0
    assert json.loads(file.read_text("utf-8"))["users"] == ["o1"]
    assert file.read_text("utf-8").startswith(
        '{\n "wx-mp-svr": "talk",\n "users": [\n  "o1"\n ],'
    )  # to be compared by lines
    again = run("replay", str(file), "--check", "--url", url)
    assert again.exit_code == 0, again.output


def test_a_copy_is_replayed_as_the_very_same_request(tmp_path):
    """With the nonce and the signatures of the first; all else is a request of its own."""
    seen = []

    def recording(environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        seen.append((environ["QUERY_STRING"], body))
        return always()(environ, start_response)

    pushes = [{"id": 4, "xml": packet("一")}, {"id": 5, "xml": packet("一"), "copy_of": 4}, {"xml": packet("一")}]
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"pushes": [*pushes, {"xml": packet("一"), "copy_of": 99}]}), "utf-8")
    with servers.in_thread(recording) as base:
        assert run("replay", str(file), "--url", base).exit_code == 0
    assert len(seen) == 4
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_replay_has_nothing_to_compare_a_packet_with(url, tmp_path):
    file = tmp_path / "packet.xml"
    file.write_text(packet("一"), "utf-8")
    assert run("replay", str(file), "--check", "--url", url).exit_code == 2


def test_replay_takes_one_packet_too(url, tmp_path):
    file = tmp_path / "packet.xml"
    file.write_text(packet("包"), "utf-8")
    assert "说：包" in run("replay", str(file), "--url", url).output


def test_a_packet_is_sent_as_if_it_were_new():
    """Another MsgId, the time of now; all else stays."""
    again = renewed(packet("a"))
    assert re.sub(r"\d{10,}", "1", again) == re.sub(r"1400000000", "1", packet("a"))
    assert abs(int(re.search(r"<CreateTime>(\d+)<", again)[1]) - time.time()) < 60
    assert renewed(packet("a")) != again


@pytest.mark.parametrize("text", ["", "[]", "{}", "{nonsense", '{"pushes": 5}', '[{"xml": 1}]', "5", "null"])
def test_a_file_that_is_no_talk(text, tmp_path):
    file = tmp_path / "talk.json"
    file.write_text(text)
    assert run("replay", str(file)).exit_code == 2


def test_replay_gives_the_worst_exit_code(tmp_path):
    """3 for a bot that is wrong, 4 and an end for one that is not there."""
    file = tmp_path / "talk.json"
    file.write_text(TALKS["simulator"], "utf-8")
    with servers.in_thread(always(b"x", "500 Internal Server Error")) as base:
        assert run("replay", str(file), "--url", f"{base}/wx_mp_cb").exit_code == 3
    result = run("replay", str(file), "--url", dead_url())
    assert (result.exit_code, result.output.count("->")) == (4, 2)  # one packet, and the fix


# -- keygen, check -----------------------------------------------------------------------------------------------------


def test_keygen_makes_what_the_server_takes():
    """32 letters and digits; 43 that are the Base64 of 32 bytes, also for a strict reader."""
    for _ in range(50):
        lines = CliRunner().invoke(cli.group, ["keygen", "--env"]).stdout.splitlines()
        made = dict(line.split("=", 1) for line in lines)
        settings = config.load({}, {}, {**made, "WX_MP_APPID": APPID})
        assert re.fullmatch(r"[A-Za-z0-9]{32}", settings.token)
        assert re.fullmatch(r"[A-Za-z0-9]{43}", settings.aes_key)
        key = base64.b64decode(settings.aes_key + "=", validate=True)
        assert (len(key), base64.b64encode(key).decode()) == (32, settings.aes_key + "=")


def test_keygen_says_where_to_put_it():
    result = run("keygen")
    assert re.search(r"^Token +\w{32}\nEncodingAESKey +\w{43}$", result.stdout, re.MULTILINE)
    assert "公众平台" in result.stderr


def test_check_of_a_right_bot(url):
    """A line for each check, exit code 0."""
    result = run("check", "--url", url)
    assert result.exit_code == 0, result.output
    assert result.output.count("[正常]") == 6
    assert "没有发现错误" in result.output
    *_, unseen, values, local, log = result.output.splitlines()
    assert unseen.startswith("check 看不到公众平台")
    assert "末两位" in values
    assert "本机地址" in local
    assert "refused reason=" in log


def test_check_takes_the_url_by_itself(url):
    assert run("check", url).exit_code == 0


def test_check_hides_what_a_server_echoes():
    """Also where the words are cut."""
    echo = f"your key is {KEY}, your Token is {TOKEN}, and that is all of it, all of it".encode()
    with servers.in_thread(always(echo)) as base:
        output = run("check", f"{base}/wx_mp_cb").output
    assert not any(secret[:6] in output for secret in (KEY, TOKEN)), output


def test_the_command_has_its_own_name_and_that_of_the_command_above(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/lib/wx_mp_svr/__main__.py", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out.startswith("Usage: wx-mp-svr [OPTIONS] COMMAND")
    flask = click.Context(click.Group("flask"), info_name="flask")
    assert cli.group.make_context("wx-mp", ["keygen"], parent=flask).command_path == "flask wx-mp"


def test_the_version():
    assert re.fullmatch(r"\d+\.\d+\S*\n", run("--version").output)


def test_check_names_cause_and_fix():
    """In one line each; exit code 3."""
    with servers.in_thread(always(b'"x"')) as base:
        result = run("check", "--url", f"{base}/wx_mp_cb")
    assert result.exit_code == 3
    assert re.search(r"^\[错误\] 接入验证（GET）：.+ -> .+$", result.output, re.MULTILINE)
    assert result.output.endswith("\n有错误，见上\n")


ENV_FILE = f"""# settings
WX_MP_APPID={APPID}
WX_MP_TOKEN='{TOKEN}'
WX_MP_AES_KEY = {KEY}
"""


def test_check_reads_a_file_as_systemd_does(url, tmp_path, monkeypatch):
    """And only it; what sh would read differently is named, and its secrets are hidden as well."""
    file = tmp_path / "wx.env"
    file.write_text(ENV_FILE, "utf-8")
    monkeypatch.setenv("WX_MP_TOKEN", "AnotherToken")
    result = run("check", url, "--env-file", str(file))
    assert result.exit_code == 0, result.output
    assert f"[注意] {file} 第 4 行：等号两边有空格" in result.output
    file.write_text(f"\ufeff{ENV_FILE}export WX_MP_TOKEN={TOKEN}\n".replace("WX_MP_TOKEN='", "#"), "utf-8")
    result = run("check", url, "--env-file", str(file))
    assert result.exit_code == 2
    assert "第 5 行：有 export，systemd 会忽略这一行" in result.output
    assert "[错误] WX_MP_TOKEN" in result.output
    assert run("check", url, "--env-file", str(tmp_path / "none")).exit_code == 2


def test_check_of_a_second_account(url, monkeypatch):
    """Its secrets are hidden, too."""
    for name, value in ENV.items():
        monkeypatch.setenv(name.replace("WX_MP_", "WX2_"), value)
        monkeypatch.delenv(name)
    assert run("check", url, "--prefix", "WX2_").exit_code == 0
    monkeypatch.delenv("WX2_TOKEN")
    result = run("check", url, "--prefix", "WX2_")
    assert result.exit_code == 2
    assert "[错误] WX2_TOKEN" in result.output


def test_check_names_a_file_that_nobody_has_loaded(monkeypatch, tmp_path):
    """`.env` is read by flask's commands only."""
    for name in ENV:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    assert ".env" not in run("check", "http://127.0.0.1:1/").output
    (tmp_path / ".env").write_text(ENV_FILE, "utf-8")
    result = run("check", "http://127.0.0.1:1/")
    assert result.exit_code == 2
    assert f"{tmp_path / '.env'} 里有 WX_MP_… 的设置" in result.output
    assert f"wx-mp-svr check --env-file {tmp_path / '.env'}" in result.output


def test_send_points_to_check_after_a_refusal():
    with servers.in_thread(always(b"forbidden", "403 FORBIDDEN")) as base:
        result = run("send", "--url", f"{base}/wx")
    assert result.exit_code == 3
    assert f"逐项诊断：wx-mp-svr check {base}/wx" in result.output


@pytest.mark.parametrize("command", ["send --xml", "replay"])
def test_a_file_that_is_no_xml_is_refused_before_anything_is_pushed(command, url, tmp_path):
    file = tmp_path / "packet.xml"
    file.write_text("<xml>\n<A>1</B></xml>", "utf-8")
    result = run(*command.split(), str(file), "--url", url)
    assert (result.exit_code, "第 2 行：开始和结束的标签对不上" in result.output) == (2, True)
    assert "次推送" not in result.output


def test_keygen_to_a_full_disk_is_one_line(tmp_path):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "wx_mp_svr", "keygen", "--env"],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUTF8": "1"},
            encoding="utf-8",
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, "写不出去：磁盘满了\n")


RED, GREEN, YELLOW = "\x1b[31m", "\x1b[32m", "\x1b[33m"


def test_what_is_good_is_green_what_is_wrong_red_and_what_is_odd_yellow(url, tmp_path, monkeypatch):
    def colours(*arguments):
        lines = re.findall(
            "(\x1b.{4})(.*?)\x1b", CliRunner().invoke(cli.group, arguments, color=True).output, re.DOTALL
        )
        return [(colour, words.split("：")[0].strip()) for colour, words in lines]

    monkeypatch.delenv("NO_COLOR", raising=False)
    saved = {"xml": packet("一"), "reply": {"type": "text", "content": "", "parts": ["别的"], "fields": {}}}
    talk, odd = tmp_path / "talk.json", tmp_path / "wx.env"
    talk.write_text(json.dumps({"pushes": [saved]}), "utf-8")
    odd.write_text("WX_MP_TOKEN = abc\nWX_MP_MODE=plain\n", "utf-8")
    [(green, bubble)] = colours("send", "--url", url)
    assert (green, "oFa 说" in bubble) == (GREEN, True)
    assert colours("send", "--url", url, r"一行\n又一行")[1:] == [(YELLOW, "注意")]
    with servers.in_thread(always(b"x", "500 Internal Server Error")) as base:
        assert colours("send", "--url", base) == [(RED, "该公众号提供的服务出现故障，请稍后再试"), (RED, "原因")]
    assert colours("replay", str(talk), "--check", "--url", url)[1:] == [
        (YELLOW, "与保存的不同，原来是"),
        (YELLOW, "现在是"),
    ]
    assert colours("check", "--env-file", str(odd), "--url", dead_url())[0][0] == YELLOW


def test_no_color(monkeypatch, url):
    """https://no-color.org; on a terminal each finding has a colour."""

    def printed():
        return CliRunner().invoke(cli.group, ["check", url], color=True).output

    assert "\x1b[3" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed()


def test_ctrl_c_ends_with_130(tmp_path):
    """As a shell says it, without a traceback."""
    with servers.in_thread(hanging) as base:
        command = [sys.executable, "-u", "-m", "wx_mp_svr", "check", base]
        with servers.running(command, servers.environment(tmp_path, ENV), tmp_path) as process:
            log = tmp_path / "log.txt"
            until(lambda: f"检查 {base}" in log.read_text("utf-8"))
            process.send_signal(signal.SIGINT)
            code = process.wait(20)
    assert (code, log.read_text("utf-8").splitlines()[-1]) == (130, "已中断")


def test_check_of_nobody(monkeypatch):
    """Without --url it is the address at which the bot should listen."""
    monkeypatch.setenv("WX_MP_PORT", str(servers.free_port()))
    result = run("check")
    assert result.exit_code == 4
    assert "没有程序在监听" in result.output


def test_check_without_settings(monkeypatch):
    """Says what is missing, and asks nobody."""
    for name in ENV:
        monkeypatch.delenv(name)
    result = run("check")
    assert result.exit_code == 2
    assert "[错误] WX_MP_TOKEN：缺少 Token" in result.output


# -- real processes ----------------------------------------------------------------------------------------------------


def start(*arguments, directory, module="wx_mp_svr", **env):
    command = [sys.executable, "-m", module, *arguments]
    environment = servers.environment(directory, {**ENV, **env})
    return subprocess.run(command, env=environment, cwd=directory, capture_output=True, timeout=60)


CONSOLES = {
    "gbk": {"PYTHONIOENCODING": "gbk"},
    "C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "narrow": {"PYTHONIOENCODING": "utf-8", "COLUMNS": "40"},
}


# Each in a terminal of the same kind; what is no end of a command is the end of this program.
ONE_AFTER_THE_OTHER = """
import sys
from wx_mp_svr.desk.cli import main

codes = []
for command in sys.argv[1:]:
    try:
        sys.argv[1:] = command.split()
        main()
    except SystemExit as end:
        codes.append(end.code)
print(codes)
"""


@pytest.mark.parametrize("console", CONSOLES)
def test_every_console_can_show_it(console, url, tmp_path):
    """Arguments in Chinese, an emoji in the answer."""
    found = start(
        "send", "--url", url, "--text", "早上好", "--expect", "早上好", directory=tmp_path, **CONSOLES[console]
    )
    assert (found.returncode, found.stderr) == (0, b"")
    if console in ("gbk", "utf-8"):
        assert "说：早上好" in found.stdout.decode(console)
    commands = {
        f"check --url {url}": 0,
        f"check {dead_url()}": 4,
        "--help": 0,
        "check --help": 0,
        "send --help": 0,
        "send --x": 2,
    }
    environment = servers.environment(tmp_path, {**ENV, **CONSOLES[console]})
    command = [sys.executable, "-c", ONE_AFTER_THE_OTHER, *commands]
    found = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60)
    assert found.returncode == 0, found.stderr.decode(errors="replace")
    assert found.stdout.splitlines()[-1].decode() == str(list(commands.values()))


def test_a_spinner_turns_on_a_terminal(tmp_path):
    """There only: elsewhere nothing is on stderr."""
    ours, theirs = os.openpty()
    with servers.in_thread(hanging) as base:
        command = [sys.executable, "-m", "wx_mp_svr", "send", "--url", f"{base}/wx_mp_cb"]
        env = servers.environment(tmp_path, {**ENV, "PYTHONIOENCODING": "gbk", "TERM": "xterm"})
        ended = subprocess.run(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode("gbk")
    os.close(ours)
    assert ended.returncode == 0
    assert shown.startswith("\r| 等待回复\r/ 等待回复")
    assert shown.endswith("            \r")


def test_exit_codes_of_real_processes(url, tmp_path):
    """And what machines read."""
    told = start("send", "--url", url, "--json", directory=tmp_path, PYTHONIOENCODING="gbk")
    assert json.loads(told.stdout)["content"] == "oFa 说：你好😁"
    assert start("send", "--url", url, "--expect", "no", directory=tmp_path).returncode == 1
    assert start("send", "--url", dead_url(), directory=tmp_path).returncode == 4
    assert start("check", directory=tmp_path, WX_MP_TOKEN="令牌").returncode == 2


def test_flask_has_the_commands_too(url, tmp_path):
    """By the entry point of pyproject.toml, which is put where an installed package has it."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.search(r'^\[project\.scripts\]\nwx-mp-svr = "wx_mp_svr\.desk\.cli:main"$', project, re.MULTILINE)
    section = re.search(r'^\[project\.entry-points\."flask\.commands"\]\n(wx-mp) = "(.+)"$', project, re.MULTILINE)
    information = tmp_path / "plugin" / "commands_under_test-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: commands-under-test\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[flask.commands]\n{section[1]} = {section[2]}\n")
    path = os.pathsep.join([str(Path(cli.__file__).parents[2]), str(information.parent)])
    made = start("wx-mp", "keygen", "--env", directory=tmp_path, module="flask", PYTHONPATH=path)
    assert re.fullmatch(rb"WX_MP_TOKEN=\w{32}\r?\nWX_MP_AES_KEY=\w{43}\r?\n", made.stdout), made.stderr
    sent = start(
        *("wx-mp", "send", "--url", url, "--expect", "x"), directory=tmp_path, module="flask", PYTHONPATH=path,
        PYTHONIOENCODING="gbk",
    )  # fmt: skip
    assert sent.returncode == 1, sent.stderr


def test_every_command_has_a_help_in_chinese():
    assert set(cli.group.commands) == {"dev", "demo", "simulate", "send", "replay", "keygen", "check"}
    for name, command in cli.group.commands.items():
        assert re.search("[一-鿿]", command.help), name
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert re.search("[一-鿿]", option.help), option.name


# What each command that opens a page hands on, for what was typed.
PAGES = {
    "simulate": ("wx_mp_svr.desk.simulator.serve", "http://127.0.0.1:5001/wx_mp_cb", {}),
    "dev": ("wx_mp_svr.desk.dev.dev", "bot.py", {"bot_port": None, "name": "我的公众号"}),
    "demo": ("wx_mp_svr.desk.dev.dev", "wx_mp_svr.desk.echo", {"bot_port": None, "name": "回声公众号"}),
}


@pytest.mark.parametrize("command", PAGES)
@pytest.mark.parametrize(
    ("typed", "handed_on"),
    [
        ((), {"port": 5002, "open_browser": True}),
        (("--no-browser", "--port", "1"), {"port": 1, "open_browser": False}),
        (("--port", "65535"), {"port": 65535, "open_browser": True}),
    ],
)
def test_where_a_page_opens(command, typed, handed_on, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bot.py").touch()
    function, target, more = PAGES[command]
    opened = []
    monkeypatch.setattr(function, lambda where, **how: opened.append((where, how)))
    assert run(command, *typed).exit_code == 0
    [(where, how)] = opened
    assert (where, {**how, **handed_on, **more}) == (target, how)


@pytest.mark.parametrize("command", ["dev", "demo"])
def test_a_bot_may_listen_elsewhere(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bot.py").touch()
    opened = []
    monkeypatch.setattr("wx_mp_svr.desk.dev.dev", lambda where, **how: opened.append(how["bot_port"]))
    for port in ("1", "65535"):
        assert run(command, "--bot-port", port).exit_code == 0
    assert opened == [1, 65535]


@pytest.mark.parametrize(
    "typed", [["simulate", "--port"], ["dev", "--port"], ["demo", "--port"], ["dev", "--bot-port"]]
)
@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused(typed, port):
    result = run(*typed, port)
    assert (result.exit_code, f"'{typed[-1]}'" in result.output) == (2, True)


def test_a_bot_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run("dev", "no_such.py:server")
    assert (result.exit_code, "没有 no_such.py 这个文件" in result.output) == (2, True)


def test_simulate_opens_its_page_also_where_no_bot_runs(monkeypatch):
    monkeypatch.setattr("wx_mp_svr.desk.simulator.serve", lambda url, **how: how["on_ready"](f"打开 {url}"))
    url = dead_url()
    output = run("simulate", "--url", url).output
    assert re.search(rf"按 Ctrl\+C 结束\n\[错误\] 连接 .+没有程序在监听这个端口.+\n打开 {url}", output)


def test_demo_is_a_bot_and_a_simulator(tmp_path):
    """Both answer; Ctrl-C ends it well."""
    bot, page = servers.free_port(), servers.free_port()
    command = [sys.executable, "-m", "wx_mp_svr", "demo", "--no-browser", "--bot-port", str(bot), "--port", str(page)]
    env = servers.environment(tmp_path, ENV)
    with servers.running(command, env, tmp_path) as process:
        running = servers.answering(f"http://127.0.0.1:{bot}/wx_mp_cb", process, tmp_path)
        assert run("send", "--url", running.url, "--expect", "^你好$").exit_code == 0
        until(lambda: answers(page), running.log_text)
        assert run("demo", "--no-browser", "--port", str(page)).exit_code == 2  # the port is taken
        assert run("simulate", "--no-browser", "--port", str(page)).exit_code == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, running.log_text()
    assert "Traceback" not in running.log_text()
    assert not any(secret in running.log_text() for secret in (TOKEN, KEY))


def answers(port):
    """Whether somebody speaks HTTP there, whatever it says to strangers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
