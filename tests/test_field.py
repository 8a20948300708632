"""What people who run such bots ran into, each told as what is true now."""

import dataclasses
import logging
import re

import pytest
import servers
from flask import Flask, request

import wx_mp_svr
from wx_mp_svr import Article, ConfigError, TextRspMsg, WxMpServer, split_text
from wx_mp_svr.config import load, misspelt
from wx_mp_svr.testing import FakeWeChat

ACCOUNT = {"token": "Field1", "store": "memory:"}


def bot(handler=lambda req: "好", **settings):
    return WxMpServer(**{**ACCOUNT, **settings}, on_message=handler)


# -- events and messages ---------------------------------------------------------------------------------------------


def test_two_equal_events_of_one_second_are_two():
    """A sender never repeats sender and second for what has no MsgId, unless it retries."""
    seen = []
    server = WxMpServer(**ACCOUNT, on_event=seen.append)
    wechat = server.test_client()
    for _ in range(3):
        wechat.send_event("CLICK", key="V1001")
    assert len(seen) == 3
    assert len({event.create_time for event in seen}) == 3


def test_the_same_msg_id_with_another_text_is_another_push():
    """Somebody saves a curl command, edits the text and forgets the MsgId."""
    wechat = bot(lambda req: req.content).test_client()
    packets = [wechat.build("text", {"Content": content, "MsgId": 1}) for content in ("one", "two", "one")]
    assert [wechat.send_xml(xml).content for xml in packets] == ["one", "two", "one"]


# -- texts -----------------------------------------------------------------------------------------------------------


def whole(text):
    return text


def in_pieces(text):
    def stream(req):
        yield from text

    return stream


@pytest.mark.parametrize(("said", "shown"), [("a\r\nb", "a\nb"), ("a\rb", "a\nb"), ("a\n\r\nb", "a\n\nb")])
@pytest.mark.parametrize("streamed", [False, True])
def test_every_line_end_is_one(said, shown, streamed):
    """WeChat shows two breaks for CR LF; a stream may be cut between the two."""
    handler = in_pieces(said) if streamed else lambda req: said
    assert bot(handler).test_client().send_text("x").content == shown


def test_a_backslash_n_of_the_environment_is_a_line_end():
    settings = load({}, {}, {"WX_MP_TOKEN": "Field1", "WX_MP_SLOW_TEXT": r"请稍候\n点这里："})
    assert settings.slow_text == "请稍候\n点这里："
    assert (
        load({"token": "Field1", "slow_text": r"a\nb"}, {}, {}).slow_text == r"a\nb"
    )  # in code one writes what one means


def test_a_backslash_n_in_a_reply_is_said_in_development(caplog):
    result = bot(lambda req: r"第一行\n第二行").test_client().send_text("x")
    assert result.content == r"第一行\n第二行"
    assert [check.name for check in result.checks if check.level == "harmful"] == ["line ends"]
    assert "用户会原样看到" in caplog.text


PROSE = ["若 i<a 则停止；", "用 <a> 标签。", "List<a", '<a href="从不结束 ', "<a\n", "<a "]


@pytest.mark.parametrize("prose", PROSE)
@pytest.mark.parametrize("streamed", [False, True])
def test_b134_an_unclosed_a_in_prose_makes_no_page_of_two_characters(prose, streamed):
    text = prose + "后面还有很多很多的话要说。" * 300

    def stream(req):
        yield prose
        yield text[len(prose) :]

    wechat = bot(stream if streamed else lambda req: text).test_client()
    result, pages = wechat.send_text("x"), []
    while True:
        shown, _, link = result.content.partition('\n\n<a href="weixin:')
        pages.append(shown)
        if not link:
            break
        words, menu_id = re.search(r"msgmenucontent=([^&]+)&msgmenuid=([\w-]+)", link).groups()
        result = wechat.send_text(words, bizmsgmenuid=menu_id)
    assert min(map(len, pages[:-1])) > 300
    assert "".join(pages).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")


def test_a_text_is_split_for_customer_service_as_for_pages():
    text = "一句话，不长。" * 500 + '<a href="https://example.com">链接</a>' + "👨‍👩‍👧" * 300
    pieces = split_text(text)
    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= 2048
    assert sum('<a href="https://example.com">链接</a>' in piece for piece in pieces) == 1
    assert (split_text(""), split_text("短")) == ([], ["短"])


@pytest.mark.parametrize("name", ["slow_text", "error_text", "ready_text", "end_text"])
def test_texts_of_our_own_fit_with_their_link(name):
    with pytest.raises(ConfigError, match=f"WX_MP_{name.upper()} is .*bytes long"):
        load({"token": "Field1", name: "字" * 690}, {}, {})
    load({"token": "Field1", name: "字" * 600}, {}, {})


# -- routes ----------------------------------------------------------------------------------------------------------


def test_a_scene_is_heard_from_new_followers_and_from_old_ones():
    server, seen = WxMpServer(**ACCOUNT), []
    server.scan("123")(lambda event: seen.append(type(event).__name__))
    server.scan(5)(lambda event: seen.append("five"))
    wechat = server.test_client()
    wechat.subscribe("123")
    wechat.send_event("SCAN", key="123")
    wechat.send_event("SCAN", "5")
    wechat.send_event("SCAN", key="6")
    assert seen == ["SubscribeEvent", "ScanEvent", "five"]


@pytest.mark.parametrize(("name", "key"), [("subscribe", "5"), ("SCAN", "qrscene_5")])
def test_a_key_that_cannot_come_is_refused(name, key):
    with pytest.raises(ConfigError, match=r'@server.scan\("5"\)'):
        WxMpServer(**ACCOUNT).event(name, key=key)(lambda event: None)


@pytest.mark.parametrize("scene", [re.compile("1.*"), "", True, None])
def test_a_scene_that_is_none_is_refused_with_the_reason(scene):
    with pytest.raises(ConfigError, match="compared as a whole"):
        WxMpServer(**ACCOUNT).scan(scene)


@pytest.mark.parametrize(("word", "typed"), [("?", "？"), ("Hi", "hi"), ("ｈｅｌｐ", "HELP"), ("ß", "SS")])
def test_words_compare_without_regard_to_case_and_width(word, typed):
    server = bot(lambda req: "anything else")
    server.text(word)(lambda req: "that word")
    assert server.test_client().send_text(f" {typed}\n").content == "that word"


def test_b145_a_route_that_takes_long_to_match_is_named(caplog):
    """A pattern that backtracks on a stranger's text."""
    server = bot()
    server.text(re.compile(r"(a+)+$"))(lambda req: "never")
    server.test_client().send_text("a" * 24 + "b")
    assert "这个正则匹配得太慢" in caplog.text


# -- silent, and said now --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["VIEW", "LOCATION", "unsubscribe"])
def test_a_reply_to_an_event_that_nobody_sees_is_said_in_development(event, caplog):
    server = WxMpServer(**ACCOUNT, on_event=lambda event: "nobody reads this")
    assert server.test_client().send_event(event).content == ""
    assert "这个事件的回复用户看不到" in caplog.text


@pytest.mark.parametrize(("reply", "said"), [("success", "return None"), ([Article("1"), Article("2")], "2 articles")])
def test_what_wechat_would_not_show_as_meant_is_said_in_development(reply, said, caplog):
    bot(lambda req: reply).test_client(raise_errors=False).send_text("x")
    assert said in caplog.text


def test_tapping_words_says_what_to_do_instead():
    with pytest.raises(TypeError, match="send_text"):
        bot().test_client().tap("查看回复1")


# -- refused with the true reason ------------------------------------------------------------------------------------


def test_a_push_of_the_cloud_hosting_is_refused_with_the_true_reason(caplog):
    server = bot()
    environ = {"HTTP_X_WX_SOURCE": "wx", "CONTENT_TYPE": "application/json"}
    answer = server.app.test_client().post("/wx_mp_cb", data="{}", environ_overrides=environ)
    assert (answer.status_code, answer.data) == (403, b"forbidden")
    assert "微信云托管" in caplog.text


def test_a_verification_of_wecom_is_refused_with_the_true_reason(caplog):
    query = {"msg_signature": "0" * 40, "timestamp": "1700000000", "nonce": "1", "echostr": "x"}
    assert bot().app.test_client().get("/wx_mp_cb", query_string=query).status_code == 403
    assert "企业微信" in caplog.text


# -- upgrading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [("Server", "WxMpServer"), ("WxMpReqMsg", "ReqMsg"), ("WxMpRspMsg", "RspMsg")])
def test_an_old_name_says_the_new_one(old, new):
    with pytest.raises(ImportError, match=f"import {new}"):
        exec(f"from wx_mp_svr import {old}")
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from wx_mp_svr import Nonsense")
    assert old not in wx_mp_svr.__all__


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("set_message_handler", "@server.on_message"),
        ("set_event_handler", "@server.on_subscribe or @server.on_event"),
        ("set_error_handler", "@server.on_error"),
        ("handler", "@server.on_message"),
        ("filter", '@server.text("...")'),
        ("key_click", '@server.event("CLICK", key="...")'),
        ("subscribe", "@server.on_subscribe"),
        ("click", '@server.event("CLICK")'),
    ],
)
def test_an_old_method_says_the_new_one(old, new):
    with pytest.raises(AttributeError, match=rf"; write {re.escape(new)} instead / 现在写作 {re.escape(new)}$"):
        getattr(bot(), old)
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        bot().nonsense  # noqa: B018


def test_a_name_by_position_says_how_it_is_written():
    with pytest.raises(TypeError, match="by name"):
        WxMpServer("我的公众号")


# -- settings --------------------------------------------------------------------------------------------------------


def test_the_variables_of_a_second_account_are_not_called_misspelt():
    assert list(misspelt(["WX_MP_2_TOKEN", "WX_MP_2_AES_KEY", "WX_MP_B_PATH"], "WX_MP_")) == []
    assert list(misspelt(["WX_MP_TOKNE"], "WX_MP_")) != []


def test_a_demo_that_says_plain_wins_over_a_key_of_the_environment():
    environ = {"WX_MP_TOKEN": "Field1", "WX_MP_AES_KEY": "k" * 43, "WX_MP_AES_KEY_OLD": "o" * 43}
    settings = load({"mode": "plain"}, {}, environ)
    assert (settings.mode, settings.aes_key, settings.aes_key_old) == ("plain", "", "")
    with pytest.raises(ConfigError, match="WX_MP_MODE is plain"):
        load({}, {}, {**environ, "WX_MP_MODE": "plain"})


def test_a_changed_copy_of_a_message_keeps_its_session():
    def handler(req):
        changed = dataclasses.replace(req, content="changed")
        changed.session["said"] = changed.content
        return req.session["said"]

    assert bot(handler).test_client().send_text("x").content == "changed"
    with pytest.raises(RuntimeError, match="in handlers only"):
        wx_mp_svr.TextReqMsg(content="x").session  # noqa: B018


@pytest.mark.parametrize(
    "how", [lambda: request.data, lambda: request.get_json(silent=True), lambda: request.get_data()]
)
def test_b144_a_host_whose_hook_reads_the_body_is_answered_all_the_same(how):
    app = Flask(__name__)
    app.before_request(lambda: how() and None)
    server = WxMpServer(**ACCOUNT, app=app, on_message=lambda req: req.content)
    assert server.test_client().send_text("看得见").content == "看得见"


@pytest.mark.parametrize("when", ["before_request", "after_request"])
def test_b144_nor_does_a_real_server_wait_for_a_body_that_was_read_already(when):
    """Nothing says there where it ends but its length."""
    app, read = Flask(__name__), []

    def hook(response=None):
        read.append(request.get_data())
        return response

    getattr(app, when)(hook)
    WxMpServer(**ACCOUNT, app=app, on_message=lambda req: req.content)
    with servers.in_thread(app) as url:
        result = FakeWeChat(f"{url}/wx_mp_cb", token=ACCOUNT["token"]).send_text("看得见")
    assert (result.content, len(result.tries), len(read)) == ("看得见", 1, 1)


# -- late ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [False, None, True])
def test_an_answer_that_the_hook_delivered_is_not_mentioned(delivered):
    """But its link, which is out already, still brings it."""

    def handler(req):
        wechat.sleep(20 if req.content == "slow" else 0)
        return f"答{req.content}"

    server = WxMpServer(**ACCOUNT, on_message=handler, on_late_reply=lambda req, rsp: delivered)
    wechat = server.test_client()
    slow = wechat.send_text("slow")
    wechat.sleep(20)
    assert ("您之前的问题有回复了" in wechat.send_text("next").content) == (delivered is not True)
    assert wechat.tap(slow).content == "答slow"


# -- the client ------------------------------------------------------------------------------------------------------


def test_clients_of_one_server_share_nothing():
    """A second one wiped the first one's sessions."""

    def handler(req):
        req.session["n"] = req.session.get("n", 0) + 1
        return str(req.session["n"])

    server = bot(handler)
    first = server.test_client()
    assert first.send_text("x").content == "1"
    second = server.test_client()
    assert [second.send_text("x").content, first.send_text("x").content] == ["1", "2"]
    assert not server.app.testing
    assert first.server is not server


def test_run_with_waitress_logs_each_push_once(monkeypatch):
    """`waitress.serve` adds a handler of its own to the root logger."""
    waitress = pytest.importorskip("waitress")
    served, root = [], logging.getLogger()
    before = list(root.handlers)
    monkeypatch.setattr(waitress.server.WSGIServer, "run", lambda self: served.append(self.close()))
    server = bot(port=0)
    server.run()
    assert len(served) == 1
    assert root.handlers == before
    assert isinstance(FakeWeChat(server, token="Field1").send_text("x").fields, dict)
    assert TextRspMsg("x").content == "x"
