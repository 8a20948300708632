"""What the page gets to see of a push, value by value: signatures, headlines, and what can be taken away."""

import sys
from types import ModuleType

import pytest

from wx_mp_svr import WxMpServer
from wx_mp_svr.config import DEMO_AES_KEY, DEMO_APPID, DEMO_TOKEN
from wx_mp_svr.desk.findings import Finding
from wx_mp_svr.desk.simulator import views
from wx_mp_svr.testing import Result, Try
from wx_mp_svr.testing.judge import Check
from wx_mp_svr.wire.signature import sign

TOKEN = "ViewsToken"
URL = "http://127.0.0.1:5001/wx"


# -- signatures --------------------------------------------------------------------------------------------------------


def test_a_signature_is_shown_as_it_comes_about_without_the_token():
    query = "signature=abc&timestamp=1700000000&nonce=9&openid=o_1&empty="
    shown = views.request_view(query, "<xml>你</xml>".encode(), TOKEN)
    assert shown == {
        "query": query,
        "params": [
            ("signature", "abc"),
            ("timestamp", "1700000000"),
            ("nonce", "9"),
            ("openid", "o_1"),
            ("empty", ""),
        ],
        "body": "<xml>你</xml>",
        "bytes": 14,
        "signatures": [
            {
                "name": "signature",
                "claimed": "abc",
                "parts": [["timestamp", "1700000000"], ["nonce", "9"], ["Token", "******"]],
                "joined": "17000000009******",
                "sha1": sign(TOKEN, "1700000000", "9"),
            }
        ],
    }


def test_a_sealed_push_has_two_signatures_and_long_values_are_shortened():
    body = f"<xml><Encrypt>{'a' * 20}{'b' * 17}{'c' * 12}</Encrypt></xml>".encode()
    first, second = views.request_view("signature=1&msg_signature=2&timestamp=3&nonce=4", body, TOKEN)["signatures"]
    assert (first["name"], second["name"], second["claimed"]) == ("signature", "msg_signature", "2")
    assert second["parts"] == [
        ["timestamp", "3"],
        ["nonce", "4"],
        ["Token", "******"],
        ["Encrypt", f"{'a' * 20}…{'c' * 12}（49 字符）"],
    ]
    short = views.request_view("msg_signature=2", b"<xml><Encrypt>" + b"a" * 48 + b"</Encrypt></xml>", TOKEN)
    assert ["Encrypt", "a" * 48] in short["signatures"][1]["parts"]
    broken = views.request_view("msg_signature=2", b"<xml", TOKEN)["signatures"][1]
    assert (broken["parts"][-1], broken["joined"]) == (["Token", "******"], "******")
    assert short["signatures"][0] == {
        "name": "signature",
        "claimed": "",
        "parts": [["timestamp", ""], ["nonce", ""], ["Token", "******"]],
        "joined": "******",
        "sha1": sign(TOKEN, "", ""),
    }


SEALED = "<xml><Encrypt>e</Encrypt><MsgSignature>s</MsgSignature><TimeStamp>1</TimeStamp><Nonce>2</Nonce></xml>"


def test_the_signature_of_a_reply_is_shown_where_all_of_it_is_there():
    attempt = Try(1, 0.0, status=200, reply=SEALED.encode())
    [trace] = views.try_view(attempt, TOKEN, URL)["signatures"]
    assert (trace["name"], trace["claimed"], trace["sha1"]) == ("MsgSignature", "s", sign(TOKEN, "1", "2", "e"))
    assert trace["parts"] == [["TimeStamp", "1"], ["Nonce", "2"], ["Token", "******"], ["Encrypt", "e"]]
    for name in ("Encrypt", "MsgSignature", "TimeStamp", "Nonce"):
        attempt.reply = SEALED.replace(name, "Other").encode()
        assert views.try_view(attempt, TOKEN, URL)["signatures"] == []
    attempt.reply = b"\xff"
    assert views.try_view(attempt, TOKEN, URL)["signatures"] == []


# -- a try -------------------------------------------------------------------------------------------------------------

FINE, HARMFUL, WRONG = Check("HTTP 200", "ok"), Check("line ends", "harmful", "x"), Check("HTTP 200", "wrong", "y")


def test_a_try_is_shown_whole_but_not_without_end():
    long = 64 * 1024
    attempt = Try(2, 5.0, 0.5, "q", b"b", 200, b"r" * (long + 1), "x" * (long + 1), "", [FINE], {"a": "b"})
    assert views.try_view(attempt, TOKEN, URL) == {
        "advice": "",
        "number": 2,
        "started": 5.0,
        "elapsed": 0.5,
        "status": 200,
        "headers": {"a": "b"},
        "reply": "r" * long,
        "bytes": long + 1,
        "xml": "x" * long,
        "error": "",
        "outcome": "answered",
        "checks": [{"name": "HTTP 200", "level": "ok", "detail": "", "title": "状态码是 200"}],
        "signatures": [],
    }
    attempt.reply = b"\xff"
    assert views.try_view(attempt, TOKEN, URL)["reply"] == "\ufffd"


@pytest.mark.parametrize(
    ("status", "error", "checks", "outcome", "advice"),
    [
        (200, "", [FINE], "answered", ""),
        (200, "", [FINE, HARMFUL], "harmful", ""),
        (500, "", [WRONG], "error", "程序出错（HTTP 500）。看服务器日志中的错误堆栈"),
        (None, "timeout", [], "hung-up", "5 秒内没有应答，微信挂断了连接。"),
        (None, "ConnectionRefusedError: x", [], "error", "没有程序在监听这个端口。先启动服务"),
    ],
)
def test_what_became_of_a_try(status, error, checks, outcome, advice):
    shown = views.try_view(Try(1, 0.0, status=status, error=error, checks=checks), TOKEN, URL)
    assert shown["outcome"] == outcome
    assert shown["advice"].startswith(advice)
    assert bool(shown["advice"]) == bool(advice)


def test_a_reply_is_shown_in_words_and_links():
    content = '甲<a href="weixin://bizmsgmenu?msgmenucontent=a&msgmenuid=1">乙</a>'
    assert views.reply_view(Result("", [], "text", content, {"Content": content})) == {
        "type": "text",
        "content": content,
        "parts": [
            "甲",
            {
                "label": "乙",
                "href": "weixin://bizmsgmenu?msgmenucontent=a&msgmenuid=1",
                "words": "a",
                "menu_id": "1",
            },
        ],
        "fields": {"Content": content},
    }


# -- headlines ---------------------------------------------------------------------------------------------------------


def push_of(number=1, content="好", **more):
    reply = {"type": "text", "content": content, "parts": [content] if content else [], "fields": {}}
    return {
        "id": number,
        "silent": False,
        "faults": [],
        "copy_of": None,
        "repeat_of": None,
        "running": False,
        "reply": reply,
        "mode": "plain",
        "xml": "<xml/>",
        "fields": {"MsgType": "text", "FromUserName": "o_1", "Content": "x"},
        **more,
    }


def failed(*lines):
    return {"failed": True, "handler": "bot.py:3", "lines": [{"level": "ERROR", "text": text} for text in lines]}


OK, WARNING, ERROR = Finding("ok", "", "c", "f"), Finding("warning", "", "c", "f"), Finding("error", "", "c", "f")
FAULTED = ("模拟的故障（慢，丢）之后：c", "关掉工具栏里的「故障」再试")
SILENT = "机器人收到了；这种推送没有会话，用户看不到回复"
HEADLINES = [
    ({}, OK, ("ok", "c", "f")),
    ({}, ERROR, ("error", "c", "f")),
    ({"bot": None}, WARNING, ("warning", "c", "f")),
    ({"bot": {"failed": False}}, WARNING, ("warning", "c", "f")),
    ({"silent": True}, WARNING, ("ok", SILENT, "")),
    ({"silent": True}, ERROR, ("error", "c", "f")),
    ({"silent": True}, OK, ("ok", "c", "f")),
    ({"faults": ["慢", "丢"]}, ERROR, ("error", *FAULTED)),
    ({"faults": ["慢", "丢"]}, WARNING, ("warning", *FAULTED)),
    ({"faults": ["慢", "丢"]}, OK, ("ok", "c", "f")),
    (
        {"bot": failed("first", "Traceback\n  x\nKeyError: 'a'\n"), "silent": True, "faults": ["慢"]},
        OK,
        ("error", "处理函数出错：bot.py:3　KeyError: 'a'", "看下面的错误堆栈"),
    ),
    ({"bot": failed()}, OK, ("error", "处理函数出错：bot.py:3　", "看下面的错误堆栈")),
]


@pytest.mark.parametrize(("more", "found", "headline"), HEADLINES)
def test_a_headline_says_what_the_page_knows_better(more, found, headline):
    assert views.finding_view(push_of(**more), found) == dict(zip(("level", "cause", "fix"), headline, strict=True))


@pytest.mark.parametrize(
    ("faults", "number", "words"),
    [
        ({"drop": [], "delay": 0, "skew": 0}, 3, []),
        ({"drop": [3, 1], "delay": 0, "skew": 0}, 3, ["丢掉第 1 次推送", "丢掉第 3 次推送"]),
        ({"drop": [1, 2], "delay": 1.5, "skew": 60}, 1, ["丢掉第 1 次推送", "每次晚 1.5 秒送达", "微信的时钟快 60 秒"]),
        ({"drop": [], "delay": 0, "skew": -60.0}, 1, ["微信的时钟慢 60 秒"]),
        ({"drop": [], "delay": 0, "skew": 1}, 1, ["微信的时钟快 1 秒"]),
    ],
)
def test_which_simulated_faults_a_push_met(faults, number, words):
    assert views.fault_words(faults, number) == words


def link(words, number):
    return {"label": words, "href": "", "words": words, "menu_id": f"wxmp-{number}"}


def pictured(media_id, created="1"):
    return {"type": "image", "content": "", "parts": [], "fields": {"Image": media_id, "CreateTime": created}}


SAME, OTHER = "回复相同", "回复不同：机器人可能没有去重"
REPEATS = [
    # the push, its original, what is said after the first words
    (push_of(2), push_of(), [SAME]),
    (push_of(2, "别的"), push_of(), [OTHER]),
    (push_of(2, running=True), push_of(), []),
    (push_of(2), push_of(running=True), []),
    (push_of(2, reply=None), push_of(), []),
    (push_of(2), push_of(reply=None), []),
    (push_of(2, bot={"runs": 0}), push_of(), [SAME]),
    (push_of(2, bot={"runs": 1}), push_of(), [SAME, "处理函数没有再运行"]),
    (push_of(2, "别的", bot={"runs": 1}), push_of(), [OTHER, "处理函数没有再运行"]),
    (push_of(2, bot={"runs": 2}), push_of(), ["处理函数一共运行了 2 次：没有去重"]),
    (push_of(2, reply=pictured("m", "2")), push_of(reply=pictured("m")), [SAME]),
    (push_of(2, reply=pictured("n")), push_of(reply=pictured("m")), [OTHER]),
    (push_of(2, reply=pictured("m")), push_of(), [OTHER]),
    (
        push_of(2, reply={"type": "text", "parts": ["看", link("下一页", 1)], "fields": {}}),
        push_of(reply={"type": "text", "parts": ["看", link("下一页", 2)], "fields": {}}),
        [SAME],
    ),
    (
        push_of(2, reply={"type": "text", "parts": [link("上一页", 1)], "fields": {}}),
        push_of(reply={"type": "text", "parts": [link("下一页", 1)], "fields": {}}),
        [OTHER],
    ),
]


@pytest.mark.parametrize(("push", "original", "told"), REPEATS)
def test_what_a_bot_made_of_a_push_that_came_before(push, original, told):
    assert views.repeat_words(push, original) == ["与 #1 是同一条消息，又推送了一次", *told]
    push = {**push, "copy_of": 1}
    assert views.repeat_words(push, original) == ["与 #1 是同一次推送，同时送达了两份", *told]


# -- to take away ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "joined"), [(URL, f"{URL}?a=1&b=2"), (f"{URL}?c=3", f"{URL}?c=3&a=1&b=2")])
def test_a_request_as_a_command(url, joined):
    push = {"request": {"query": "a=1&b=2", "body": "<xml>it's</xml>"}}
    assert views.as_curl(push, url) == (
        f"# 时间戳 5 分钟内有效\ncurl -sS -i '{joined}' \\\n"
        "  -A 'Mozilla/4.0' -H 'Content-Type: text/xml' \\\n"
        "  --data-raw '<xml>it'\"'\"'s</xml>'\n"
    )


def body_of(*pushes, target=URL):
    """The test without its imports."""
    return views.as_pytest(pushes, target).partition("\n\n\n")[2].splitlines()


def calls(*pushes):
    return [line.strip() for line in body_of(*pushes)[2:]]


def fields_of(kind, **more):
    return {"ToUserName": "gh_1", "FromUserName": "o_1", "CreateTime": "1", "MsgType": kind, "MsgId": "1", **more}


CALLS = [
    (fields_of("text", Content="好"), "send_text('好', openid='o_1')"),
    (
        fields_of("text", Content="好", bizmsgmenuid="7"),
        "send_xml(wechat.build('text', {'Content': '好', 'bizmsgmenuid': '7'}, openid='o_1'))",
    ),
    (fields_of("event", Event="CLICK", EventKey="k"), "send_event('CLICK', {'EventKey': 'k'}, openid='o_1')"),
    (fields_of("event"), "send_xml(wechat.build('event', {}, openid='o_1'))"),
    (fields_of("image", MediaId="m"), "send_xml(wechat.build('image', {'MediaId': 'm'}, openid='o_1'))"),
    ({"InfoType": "x"}, "send_xml('<xml/>')"),
    ({"MsgType": "text", "Content": "a"}, "send_text('a', openid='')"),
]


@pytest.mark.parametrize(("fields", "call"), CALLS)
def test_a_push_as_a_call_of_a_client(fields, call):
    assert calls(push_of(fields=fields))[0] == f"result = wechat.{call}"


EXPECTED = [
    ({"type": "text", "content": "好", "parts": [], "fields": {}}, ["type == 'text'", "content == '好'"]),
    ({"type": "fault", "content": "坏", "parts": [], "fields": {}}, ["type == 'fault'", "content == '坏'"]),
    (
        {"type": "text", "content": '看<a href="weixin://bizmsgmenu?x', "parts": [], "fields": {}},
        ["type == 'text'", "content.startswith('看')"],
    ),
    ({"type": "", "content": "", "parts": [], "fields": {}}, ["type == ''"]),
    (
        {"type": "image", "content": "", "parts": [], "fields": {"Image": {"MediaId": "m"}}},
        ["type == 'image'", "fields['Image'] == {'MediaId': 'm'}"],
    ),
    (
        {"type": "news", "content": "", "parts": [], "fields": {"Articles": {"item": []}}},
        ["type == 'news'", "fields['Articles'] == {'item': []}"],
    ),
    (
        {"type": "transfer_customer_service", "content": "", "parts": [], "fields": {}},
        ["type == 'transfer_customer_service'"],
    ),
]


@pytest.mark.parametrize(("reply", "expected"), EXPECTED)
def test_a_reply_as_what_is_expected(reply, expected):
    assert calls(push_of(reply=reply))[1:] == [f"assert result.{words}" for words in expected]


def test_a_tap_needs_the_result_that_it_taps():
    paged = {"type": "text", "content": "", "parts": [link("上一页", 6), "看", link("下一页", 7)], "fields": {}}
    tap = fields_of("text", Content="下一页", bizmsgmenuid="wxmp-7")
    pushes = push_of(1, reply=paged), push_of(2), push_of(3, fields=tap)
    assert [line for line in calls(*pushes) if "wechat." in line] == [
        "result_1 = wechat.send_text('x', openid='o_1')",
        "result = wechat.send_text('x', openid='o_1')",
        "result = wechat.tap(result_1)",
    ]
    [alone, *_] = calls(push_of(3, fields=tap))
    assert alone.startswith("result = wechat.send_xml(wechat.build('text'")
    older = push_of(2, fields={**tap, "bizmsgmenuid": "wxmp-6"})  # only the last link leads on
    assert "tap" not in "".join(calls(push_of(1, reply=paged), older))
    own = {**paged, "parts": [{**link("满意", 1), "menu_id": "101"}]}
    assert "tap" not in "".join(calls(push_of(1, reply=own), push_of(2, fields={**tap, "bizmsgmenuid": "101"})))


def test_a_repeated_message_is_sent_as_it_was_and_a_copy_or_what_has_no_reply_is_left_out():
    pushes = push_of(1), push_of(2, repeat_of=1), push_of(3, copy_of=1), push_of(4, reply=None), push_of(5, repeat_of=4)
    assert [line for line in calls(*pushes) if "wechat." in line] == [
        "result_1 = wechat.send_text('x', openid='o_1')",
        "result = wechat.send_xml(result_1.xml)",
        "result = wechat.send_text('x', openid='o_1')",
    ]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (fields_of("event", Event="CLICK"), "test_click"),
        (fields_of("event", Event="user-get card_"), "test_user_get_card"),
        (fields_of("text"), "test_text"),
        ({}, "test_push"),
        (fields_of("event", Event="点击"), "test_push"),
    ],
)
def test_a_test_is_named_after_what_is_pushed(fields, name):
    assert body_of(push_of(fields=fields))[0] == f"def {name}():"
    assert body_of(push_of(1, fields=fields), push_of(2))[0] == "def test_talk():"


@pytest.mark.parametrize(
    ("mode", "account"),
    [
        ("plain", 'token=os.environ["WX_MP_TOKEN"], '),
        (
            "safe",
            'token=os.environ["WX_MP_TOKEN"], appid=os.environ["WX_MP_APPID"], aes_key=os.environ["WX_MP_AES_KEY"], ',
        ),
    ],
)
def test_a_bot_behind_a_url_has_the_account_of_the_environment(mode, account):
    text = views.as_pytest([push_of(1, mode="plain"), push_of(2, mode=mode)], URL)
    assert text.startswith("import os\n\nfrom wx_mp_svr.testing import FakeWeChat\n\n\ndef test_talk():\n")
    assert f"    wechat = FakeWeChat('{URL}', {account}mode='{mode}')\n" in text
    assert text.endswith("'好'\n")


def test_of_no_push_there_is_a_test_all_the_same():
    assert views.as_pytest([], URL).endswith(", mode='plain')\n")


def test_an_application_is_imported_from_where_it_stands():
    def app():
        """Stands nowhere."""

    assert "from demo import server  # 换成你的模块\n" in views.as_pytest([push_of()], app)
    assert "from shop.bot import application\n" in views.as_pytest([push_of()], app, ("shop.bot", "application"))
    assert "    wechat = FakeWeChat(application, token=" in views.as_pytest([push_of()], app, ("bot", "application"))
    assert "from wx_mp_svr.desk.simulator.views import as_curl\n" in views.as_pytest([push_of()], views.as_curl)


def test_a_server_has_a_client_of_its_own_and_its_faults_are_expected_where_they_came():
    server = WxMpServer(token=TOKEN, store="memory:", error_text="出错了")

    def written(server, *pushes):
        return views.as_pytest(pushes, server, ("bot", "server"))

    head = "from bot import server\n\n\ndef test_text():\n    wechat = server.test_client"
    assert written(server, push_of()).startswith(f"{head}()\n    result = wechat.send_text(")
    assert written(server, push_of(content="出错了")).startswith(f"{head}(raise_errors=False)\n")
    silent = WxMpServer(token=TOKEN, store="memory:", error_text="")
    assert written(silent, push_of(content="")).startswith(f"{head}()\n")


@pytest.mark.parametrize("mode", ["safe", "plain"])
def test_the_demos_account_is_written_out(mode):
    """In a module there is none."""
    account = {"token": DEMO_TOKEN, "appid": DEMO_APPID, **({"aes_key": DEMO_AES_KEY} if mode == "safe" else {})}
    text = views.as_pytest([push_of()], WxMpServer(store="memory:", mode=mode, **account), ("bot", "server"))
    lines = "".join(f"os.environ.setdefault('WX_MP_{name.upper()}', {value!r})\n" for name, value in account.items())
    assert text.startswith(f"import os\n\n{lines}\nfrom bot import server\n\n\ndef ")


@pytest.mark.parametrize(("file", "name"), [("/x/my_bot.py", "my_bot"), (None, "demo")])
def test_a_script_has_the_name_of_its_file(file, name, monkeypatch):
    script = ModuleType("__script__")
    script.application = lambda environ, start: []
    script.__file__ = file
    monkeypatch.setitem(sys.modules, "__script__", script)
    assert f"from {name} import application\n" in views.as_pytest([push_of()], script.application)
