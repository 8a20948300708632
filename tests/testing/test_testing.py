"""FakeWeChat: WeChat's side of the street, held against a server of somebody else's and against every way to be wrong."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from xml.sax.saxutils import escape

import flask
import pytest
import servers
from wechatpy import create_reply, parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.exceptions import InvalidSignatureException
from wechatpy.replies import ArticlesReply, ImageReply
from wechatpy.utils import check_signature

from wx_mp_svr import Article, ImageRspMsg, ReplyError, WxMpServer
from wx_mp_svr.clock import FastClock
from wx_mp_svr.testing import FAULT_NOTICE, FakeWeChat, Faults, Link
from wx_mp_svr.testing.judge import split_links
from wx_mp_svr.testing.packets import read_xml
from wx_mp_svr.wire.crypto import Cipher
from wx_mp_svr.wire.signature import sign

ACCOUNT = {
    "token": "TestingToken7",
    "appid": "wx0a1b2c3d4e5f6a7b",
    "aes_key": "testingTESTINGtestingTESTINGtesting01234567",
}
SCALE = 0.2
DEADLINE = 5  # in WeChat's seconds


# -- against an independent server -----------------------------------------------------------------------------------


def wechatpy_bot(mode):
    """What many bots look like: wechatpy in a Flask view. It shares no code with us."""
    app = flask.Flask("wechatpy_bot")
    crypto = WeChatCrypto(ACCOUNT["token"], ACCOUNT["aes_key"], ACCOUNT["appid"])

    @app.route("/wx_mp_cb", methods=["GET", "POST"])
    def view():
        args = flask.request.args
        try:
            check_signature(ACCOUNT["token"], args["signature"], args["timestamp"], args["nonce"])
            if flask.request.method == "GET":
                return args["echostr"]
            if mode == "plain":
                return answer(flask.request.data).render()
            signed = (args["msg_signature"], args["timestamp"], args["nonce"])
            xml = crypto.decrypt_message(flask.request.data, *signed)
        except InvalidSignatureException:
            flask.abort(403)
        return crypto.encrypt_message(answer(xml).render(), args["nonce"], args["timestamp"])

    def answer(xml):
        message = parse_message(xml)
        if message.type == "image":
            return ImageReply(message=message, media_id=message.media_id)
        if message.type == "event":
            return create_reply(f"event {message.event}", message)
        if message.type == "location":
            return create_reply(f"{message.location_x} {message.location_y} {message.label}", message)
        if message.content == "news":
            return ArticlesReply(
                message=message, articles=[{"title": "t", "description": "d", "image": "i", "url": "u"}]
            )
        return create_reply(message.content, message)

    return app


@pytest.fixture(params=["plain", "safe", "compatible"])
def against_wechatpy(request):
    return FakeWeChat(wechatpy_bot(request.param), **ACCOUNT, mode=request.param)


def test_an_independent_server_understands_and_is_understood(against_wechatpy):
    wechat = against_wechatpy
    result = wechat.send_text("你好😁\n <b> & ]] >")
    assert (result.type, result.content) == ("text", "你好😁\n <b> & ]] >")
    assert {check.level for check in result.checks} == {"ok"}
    assert (wechat.send_image("my-id").type, wechat.send_image("my-id").media_id) == ("image", "my-id")
    assert wechat.send_location(1.5, -2.25, "家").content == "1.500000 -2.250000 家"
    assert wechat.send_event("CLICK", {"EventKey": "k"}).content == "event click"
    assert wechat.subscribe("7").content == "event subscribe_scan"
    assert [article.title for article in wechat.send_text("news").articles] == ["t"]


def test_an_independent_server_is_verified(against_wechatpy):
    attempt = against_wechatpy.verify_url()
    assert [(check.name, check.level) for check in attempt.checks] == [("echostr", "ok")]


def test_a_packet_may_end_in_a_newline(against_wechatpy):
    """As files do; in compatible mode something is put in front of that end."""
    xml = against_wechatpy.build("text", {"Content": "x", "MsgId": 1})
    assert against_wechatpy.send_xml(f"{xml}\n").content == "x"


def test_an_independent_server_refuses_a_wrong_token(against_wechatpy):
    wechat = FakeWeChat(wechatpy_bot("safe"), **{**ACCOUNT, "token": "AnotherToken"}, mode=against_wechatpy.mode)
    result = wechat.send_text("x")
    assert (result.content, [attempt.status for attempt in result.tries]) == (FAULT_NOTICE, [403, 403, 403])


# -- five seconds, three tries ---------------------------------------------------------------------------------------


class Recorder:
    """A WSGI bot that answers what it is told to, try by try, and keeps what it saw."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.seen = []

    def __call__(self, environ, start_response):
        self.seen.append((environ["QUERY_STRING"], environ["wsgi.input"].read()))
        status, body, seconds = self.answers[min(len(self.seen), len(self.answers)) - 1]
        time.sleep(seconds)
        start_response(f"{status} X", [("Content-Type", "text/plain")])
        return [body]


def wechat_of(bot, **settings):
    return FakeWeChat(bot, **{"token": ACCOUNT["token"], "time_scale": SCALE, **settings})


SLOW, FAILED, FINE = (200, b"success", 2 * DEADLINE), (500, b"oops", 0), (200, b"success", 0)


@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_a_retry_is_the_same_request_again(mode):
    """Same timestamp, nonce, signatures, openid, MsgId: byte for byte."""
    bot = Recorder(FAILED, FAILED, FINE)
    result = wechat_of(bot, **ACCOUNT, mode=mode).send_text("again")
    assert len(bot.seen) == 3
    assert len(set(bot.seen)) == 1
    assert (result.type, result.content) == ("", "")


def test_two_messages_are_not_the_same():
    bot = Recorder(FINE)
    wechat = wechat_of(bot)
    wechat.send_text("x")
    wechat.send_text("x")
    assert len({read_xml(body.decode())["MsgId"] for _, body in bot.seen}) == 2


def test_a_silent_bot_is_hung_up_on_three_times():
    result = wechat_of(Recorder(SLOW)).send_text("x")
    assert [attempt.error for attempt in result.tries] == ["timeout"] * 3
    assert all(n * DEADLINE <= attempt.started < (n + 1) * DEADLINE for n, attempt in enumerate(result.tries))
    assert 3 * DEADLINE <= result.elapsed < 4 * DEADLINE
    assert (result.type, result.content) == ("fault", FAULT_NOTICE)


def test_an_answer_to_the_third_try_reaches_the_user():
    result = wechat_of(Recorder(SLOW, SLOW, FINE)).send_text("x")
    assert [attempt.status for attempt in result.tries] == [None, None, 200]
    assert result.type == ""


def test_a_failure_is_retried_at_once():
    result = wechat_of(Recorder(FAILED)).send_text("x")
    assert [attempt.status for attempt in result.tries] == [500] * 3
    assert result.elapsed < DEADLINE
    assert result.content == FAULT_NOTICE


def test_on_try_hears_of_each_try_while_it_happens():
    heard = []
    wechat_of(
        Recorder(FAILED, FINE), on_try=lambda result, attempt: heard.append((attempt.number, len(result.tries)))
    ).send_text("x")
    assert heard == [(1, 1), (2, 2)]


@contextmanager
def tcp_server(talk):
    """A server below HTTP: *talk* gets each connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection):
            with connection:
                try:
                    talk(connection)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


def test_the_deadline_is_one_for_all_and_not_for_each_byte():
    """A bot that dribbles keeps every socket timeout happy; WeChat hangs up all the same, and the bot notices."""
    hung_up = threading.Event()

    def dribble(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            for _ in range(200):
                connection.sendall(b"x")
                time.sleep(0.02)
        except OSError:
            hung_up.set()

    with tcp_server(dribble) as url:
        result = wechat_of(url, tries=1).send_text("x")
        assert result.tries[0].error == "timeout"
        assert result.elapsed == pytest.approx(DEADLINE, abs=2)
        assert hung_up.wait(2)


def test_connecting_counts_among_the_five_seconds():
    """A full queue of connections: the handshake is never answered."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            result = wechat_of(f"http://127.0.0.1:{address[1]}/", tries=1).send_text("x")
        finally:
            for one in waiting:
                one.close()
    assert (result.tries[0].status, result.tries[0].error) == (None, "timeout")
    assert DEADLINE * 0.95 < result.elapsed < DEADLINE * 4  # and not the system's two minutes


def test_a_closed_port_is_an_error_and_no_timeout():
    result = wechat_of(f"http://127.0.0.1:{servers.free_port()}/").send_text("x")
    assert [attempt.error.partition(":")[0] for attempt in result.tries] == ["ConnectionRefusedError"] * 3
    assert result.elapsed < DEADLINE


def test_a_query_of_the_urls_own_stays():
    seen = []

    def note(environ, start_response):
        seen.append(environ["QUERY_STRING"])
        start_response("200 OK", [])
        return [b"success"]

    with servers.in_thread(note) as url:
        wechat_of(f"{url}/wx?c_id=21").send_text("x")
    assert seen[0].startswith("c_id=21&signature=")


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_dropped_try_never_arrives():
    bot = Recorder(FINE)
    result = wechat_of(bot, faults=Faults(drop=frozenset({1, 2}))).send_text("x")
    assert [attempt.error for attempt in result.tries] == ["timeout", "timeout", ""]
    assert len(bot.seen) == 1


def test_a_delay_is_part_of_the_five_seconds():
    result = wechat_of(Recorder(FINE), faults=Faults(delay=2)).send_text("x")
    assert 2 <= result.elapsed < DEADLINE
    late = Recorder(FINE)
    wechat = wechat_of(late, tries=1, faults=Faults(delay=10))
    assert wechat.send_text("x").tries[0].error == "timeout"
    wechat.sleep(6)
    assert late.seen == []  # nothing is sent once WeChat has hung up


def test_a_sealed_request_can_be_pushed_again():
    bot = Recorder(FINE)
    wechat = wechat_of(bot)
    xml = wechat.build("text", {"Content": "x", "MsgId": 1})
    sealed = wechat.seal(xml)
    for _ in range(2):
        wechat.send_xml(xml, sealed=sealed)
    assert bot.seen == [(sealed[0], sealed[1])] * 2


def test_the_clock_can_be_wrong():
    bot = Recorder(FINE)
    wechat_of(bot, clock=FastClock(wall=lambda: 1_700_000_000.9), faults=Faults(skew=-100)).send_text("x")
    assert "timestamp=1699999900&" in bot.seen[0][0]


# -- judging: each way to be wrong -----------------------------------------------------------------------------------

HEAD = "<ToUserName>{user}</ToUserName><FromUserName>{account}</FromUserName><CreateTime>1700000000</CreateTime>"


def xml_of(inner, head=HEAD):
    return f"<xml>{head}{inner}</xml>"


def text_of(content):
    return xml_of(f"<MsgType>text</MsgType><Content>{escape(content)}</Content>")


def news_of(count, items):
    articles = "<item><Title>t</Title></item>" * items
    return xml_of(f"<MsgType>news</MsgType><ArticleCount>{count}</ArticleCount><Articles>{articles}</Articles>")


FINE_TEXT = text_of("好")
NO_TITLE = xml_of("<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles><item><Url>u</Url></item></Articles>")

WRONG = {
    "status 201": (201, "success", "HTTP 200"),
    "status 204": (204, "", "HTTP 200"),
    "a redirect": (302, "", "HTTP 200"),
    "status 500": (500, FINE_TEXT, "HTTP 200"),
    "a BOM": (200, "\ufeff" + FINE_TEXT, "no BOM"),
    "a BOM before success": (200, "\ufeffsuccess", "no BOM"),
    "JSON-quoted success": (200, '"success"', "well-formed XML"),
    "success with a newline": (200, "success\n", "well-formed XML"),
    "JSON": (200, '{"errcode":0}', "well-formed XML"),
    "HTML": (200, "<!doctype html><p>hello", "well-formed XML"),
    "not UTF-8": (200, xml_of("<MsgType>text</MsgType><Content>好</Content>").encode("gbk"), "well-formed XML"),
    "torn XML": (200, FINE_TEXT[:-3], "well-formed XML"),
    "a control character": (200, text_of("a\x02b"), "no control characters"),
    "another root": (200, FINE_TEXT.replace("xml>", "reply>"), "root <xml>"),
    "an element twice": (200, FINE_TEXT.replace("<MsgType>", "<Content>a</Content><MsgType>"), "no element twice"),
    "not swapped": (200, FINE_TEXT.replace("{user}", "{account}"), "ToUserName"),
    "an empty ToUserName": (200, FINE_TEXT.replace("{user}", ""), "ToUserName"),
    "another account": (200, FINE_TEXT.replace("{account}", "gh_other"), "FromUserName"),
    "no CreateTime": (200, FINE_TEXT.replace("<CreateTime>1700000000</CreateTime>", ""), "CreateTime"),
    "a list for CreateTime": (200, FINE_TEXT.replace("1700000000", "[1700000000]"), "CreateTime"),
    "a float for CreateTime": (200, FINE_TEXT.replace("1700000000", "1700000000.5"), "CreateTime"),
    "the request echoed": (200, xml_of("<MsgType>event</MsgType>"), "MsgType"),
    "no MsgType": (200, xml_of("<Content>a</Content>"), "MsgType"),
    "a type of WeCom": (200, xml_of("<MsgType>stream</MsgType>"), "MsgType"),
    "no Content": (200, xml_of("<MsgType>text</MsgType>"), "Content"),
    "an empty Content": (200, text_of(""), "Content"),
    "a text too long": (200, text_of("字" * 683), "Content <= 2047 bytes"),
    "an image without MediaId": (200, xml_of("<MsgType>image</MsgType><Image></Image>"), "Image.MediaId"),
    "a MediaId in the wrong place": (200, xml_of("<MsgType>voice</MsgType><MediaId>m</MediaId>"), "Voice.MediaId"),
    "a video without MediaId": (200, xml_of("<MsgType>video</MsgType><Video><Title>t</Title></Video>"), "Video.MediaId"),
    "music without a thumb": (200, xml_of("<MsgType>music</MsgType><Music><Title>t</Title></Music>"), "Music.ThumbMediaId"),
    "news without articles": (200, xml_of("<MsgType>news</MsgType><ArticleCount>0</ArticleCount>"), "Articles"),
    "a wrong ArticleCount": (200, news_of(2, 1), "ArticleCount"),
    "an encrypted reply in plain mode": (200, "<xml><Encrypt>x</Encrypt></xml>", "plain reply"),
}  # fmt: skip


def answering(status, body):
    def bot(environ, start_response):
        reply = body
        if isinstance(reply, str):
            request = read_xml(environ["wsgi.input"].read().decode())
            user, account = request.get("FromUserName", ""), request.get("ToUserName", "")
            reply = reply.replace("{user}", user).replace("{account}", account).encode()
        start_response(f"{status} X", [])
        return [reply]

    return bot


def levels_of(result, level):
    return [check.name for check in result.checks if check.level == level]


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_reply_is_named_and_gets_the_fault_notice(case):
    status, body, name = WRONG[case]
    result = wechat_of(answering(status, body)).send_text("x")
    assert levels_of(result, "wrong")[:1] == [name]
    assert (result.type, len(result.tries)) == ("fault", 3)


@pytest.mark.parametrize(
    ("body", "send", "name"),
    [
        pytest.param(news_of(2, 2), "send_text", "at most 1 articles", id="two articles to a message"),
        pytest.param(news_of(9, 9), "subscribe", "at most 8 articles", id="nine articles to an event"),
        pytest.param(NO_TITLE, "send_text", "articles have a Title", id="an article without a title"),
    ],
)
def test_a_harmful_reply_reaches_the_user_but_less_than_was_meant(body, send, name):
    wechat = wechat_of(answering(200, body))
    result = wechat.send_text("x") if send == "send_text" else wechat.subscribe()
    assert (levels_of(result, "harmful"), levels_of(result, "wrong")) == ([name], [])
    assert (result.type, len(result.tries)) == ("news", 1)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "success",
        FINE_TEXT,
        text_of("字" * 682),
        xml_of("<MsgType>image</MsgType><Image><MediaId>m</MediaId></Image>"),
        xml_of("<MsgType>music</MsgType><Music><ThumbMediaId>m</ThumbMediaId></Music>"),
        xml_of("<MsgType>transfer_customer_service</MsgType>"),
        FINE_TEXT.replace("1700000000", "1700000000000"),  # milliseconds are tolerated
        news_of(1, 1),
    ],
)
def test_a_right_reply_has_nothing_against_it(body):
    result = wechat_of(answering(200, body)).send_text("x")
    assert {check.level for check in result.checks} == {"ok"}
    assert (len(result.tries), result.type) == (1, read_xml(body).get("MsgType", ""))


# In the AES modes the envelope comes first.


def sealed(xml, **changes):
    cipher = Cipher(changes.pop("aes_key", ACCOUNT["aes_key"]), changes.pop("appid", ACCOUNT["appid"]))
    encrypt = cipher.encrypt(xml.encode())
    signature = sign(ACCOUNT["token"], "1700000000", "nonce", encrypt)
    fields = {"Encrypt": encrypt, "MsgSignature": signature, "TimeStamp": "1700000000", "Nonce": "nonce", **changes}
    return (
        "<xml>" + "".join(f"<{name}>{value}</{name}>" for name, value in fields.items() if value is not None) + "</xml>"
    )


WRONG_ENVELOPES = {
    "plain in safe mode": (lambda: FINE_TEXT, "encrypted reply"),
    "no MsgSignature": (lambda: sealed(FINE_TEXT, MsgSignature=None), "encrypted reply"),
    "a misspelled TimeStamp": (lambda: sealed(FINE_TEXT, TimeStamp=None, Timestamp="1700000000"), "encrypted reply"),
    "an empty Nonce": (lambda: sealed(FINE_TEXT, Nonce=""), "encrypted reply"),
    "Encrypt twice": (lambda: sealed(FINE_TEXT).replace("</xml>", "<Encrypt>x</Encrypt></xml>"), "encrypted reply"),
    "a wrong signature": (lambda: sealed(FINE_TEXT, MsgSignature="0" * 40), "MsgSignature"),
    "another nonce than signed": (lambda: sealed(FINE_TEXT, Nonce="other"), "MsgSignature"),
    "another AES key": (lambda: sealed(FINE_TEXT, aes_key="B" * 43), "decrypt"),
    "another AppID": (lambda: sealed(FINE_TEXT, appid="wxffffffffffffffff"), "decrypt"),
    "success encrypted": (lambda: sealed("success"), "well-formed XML"),
    "inside wrong": (lambda: sealed(xml_of("<MsgType>event</MsgType>")), "ToUserName"),
}


@pytest.mark.parametrize("case", WRONG_ENVELOPES)
def test_a_wrong_envelope_is_named(case):
    make, name = WRONG_ENVELOPES[case]
    result = wechat_of(answering(200, make()), **ACCOUNT, mode="safe").send_text("x")
    assert levels_of(result, "wrong")[:1] == [name]
    assert result.type == "fault"


def test_success_is_never_encrypted():
    assert wechat_of(answering(200, "success"), **ACCOUNT, mode="safe").send_text("x").type == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_push_over_http_looks_as_wechats_does(method):
    """HTTP/1.0 with the headers of public access logs; chunks, which it does not know, are no answer."""
    heads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as connection:
                heads.append(connection.recv(65536).split(b"\r\n\r\n")[0].decode().split("\r\n"))
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n4711\r\n0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        wechat = FakeWeChat(f"http://127.0.0.1:{port}/wx", **ACCOUNT, tries=1)
        attempt = wechat.verify_url("4711") if method == "GET" else wechat.send_text("x").tries[0]
        thread.join(5)
    line, *headers = heads[0]
    assert (line.split()[0], line.split()[-1]) == (method, "HTTP/1.0")
    length = {f"Content-Length: {len(attempt.body)}"} if method == "POST" else set()
    assert set(headers) == length | {
        f"Host: 127.0.0.1:{port}",
        "User-Agent: Mozilla/4.0",
        "Accept: */*",
        "Pragma: no-cache",
        "Connection: close",
        "Content-Type: text/xml",
    }
    assert not attempt.good


def test_verification_wants_the_echostr_and_nothing_else():
    for body, level in (
        ("4711", "ok"),
        ('"4711"', "wrong"),
        ("4711\n", "wrong"),
        ("\ufeff4711", "wrong"),
        ("", "wrong"),
    ):
        attempt = wechat_of(answering(200, body)).verify_url("4711")
        assert [check.level for check in attempt.checks] == [level]


# -- what the user sees ----------------------------------------------------------------------------------------------


def test_links_are_found_as_wechats_client_finds_them():
    text = (
        '甲<a href="https://e.com/?a=1&b=2">乙 &amp; 丙</a>丁'
        "<a data-miniprogram-appid='wx1' href='http://qq.com'>戊</a>"
        '<a href="weixin://bizmsgmenu?msgmenucontent=%E5%A5%BD 的&msgmenuid=7">己</a>庚<a>辛</a>'
    )
    assert split_links(text) == [
        "甲",
        Link("乙 & 丙", "https://e.com/?a=1&b=2"),
        "丁",
        Link("戊", "http://qq.com"),
        Link("己", "weixin://bizmsgmenu?msgmenucontent=%E5%A5%BD 的&msgmenuid=7", "好 的", "7"),
        "庚<a>辛</a>",
    ]


def test_a_tap_sends_the_words_of_the_link():
    bot = Recorder(FINE)
    wechat = wechat_of(bot)
    wechat.tap(Link("看", "weixin://…", "查看回复3", "wxmp-3"))
    fields = read_xml(bot.seen[0][1].decode())
    assert (fields["MsgType"], fields["Content"], fields["bizmsgmenuid"]) == ("text", "查看回复3", "wxmp-3")
    with pytest.raises(ValueError, match="no link"):
        wechat.tap(wechat.send_text("x"))


def test_every_message_has_its_elements():
    bot = Recorder(FINE)
    wechat = wechat_of(bot)
    wechat.send_voice("v", "speex", "你好")
    wechat.send_video("m", "t")
    wechat.send_shortvideo("m", "t")
    wechat.send_link("t", "d", "u")
    wechat.unsubscribe(openid="oOther")
    voice, video, short, link, event = (read_xml(body.decode()) for _, body in bot.seen)
    assert (voice["Recognition"], voice["Format"], voice["MediaId16K"]) == ("你好", "speex", "v_16k")
    assert (video["MsgType"], video["ThumbMediaId"], short["MsgType"]) == ("video", "t", "shortvideo")
    assert (link["Title"], link["Description"], link["Url"]) == ("t", "d", "u")
    assert (event["Event"], event["FromUserName"], "MsgId" in event) == ("unsubscribe", "oOther", False)


def test_a_bot_that_raises_is_a_failure_and_not_ours():
    def broken(environ, start_response):
        raise http.client.HTTPException("boom")

    assert wechat_of(broken).send_text("x").tries[0].error == "HTTPException: boom"


def test_unreadable_xml_has_no_elements():
    for xml in ("", "<xml>", "<xml><a>\x02</a></xml>", "\ud800"):
        assert read_xml(xml) == {}


# -- what tests of a bot are written with ------------------------------------------------------------------------------

LONG = "\n\n".join(f"第 {n} 段。" + "很长的话，" * 30 for n in range(40))


def bot_of(handler, **settings):
    return WxMpServer(token="TestingBot1", store="memory:", on_message=handler, **settings)


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_handler_raises_is_raised_in_the_test(is_async):
    def wrong(req):
        raise KeyError(req.content)

    async def wrong_async(req):
        raise KeyError(req.content)

    wechat = bot_of(wrong_async if is_async else wrong).test_client()
    with pytest.raises(KeyError, match="天气"):
        wechat.send_text("天气")
    with pytest.raises(KeyError, match="再来"):  # and each only once
        wechat.send_text("再来")
    assert [result.content for result in wechat.talk] == ["抱歉，出错了，请稍后再试。"] * 2


def test_a_wrong_return_is_raised_too():
    with pytest.raises(ReplyError, match="returned int"):
        bot_of(lambda req: 5).test_client().send_text("x")


def test_what_the_bot_takes_care_of_is_not_raised():
    """`on_error` is the bot's own answer; only what that one raises is a failure."""

    def wrong(req):
        raise KeyError(req.content)

    wechat = bot_of(wrong, on_error=lambda exc, req: "没事").test_client()
    assert wechat.send_text("x").content == "没事"
    with pytest.raises(ZeroDivisionError):
        bot_of(wrong, on_error=lambda exc, req: 1 / 0).test_client().send_text("x")


def test_a_late_failure_belongs_to_its_own_user():
    """It is raised while time passes, or in what that user does next; nobody else's push has anything to do with it."""

    def slow(req):
        if req.content == "慢":
            wechat.sleep(40)
            raise KeyError(req.openid)
        return "好"

    wechat = bot_of(slow).test_client()
    anna, bert = wechat.user("anna"), wechat.user("bert")
    for user in (anna, bert):
        user.send_text("慢")
    with pytest.raises(KeyError, match=r"oanna|obert"):
        wechat.sleep(60)
    assert wechat.send_text("x").content == "好"
    raised = []
    for user in (anna, bert):
        try:
            user.send_text("x")
        except KeyError as exc:
            raised.append(exc.args)
    assert len(raised) == 1


def test_the_users_view_of_a_failure():
    assert bot_of(lambda req: 5).test_client(raise_errors=False).send_text("x").content == "抱歉，出错了，请稍后再试。"


def test_a_user_has_a_talk_and_a_session_of_their_own():
    def count(req):
        req.session["n"] = req.session.get("n", 0) + 1
        return f"{req.openid} {req.session['n']}"

    wechat = bot_of(count).test_client()
    anna, bert = wechat.user("anna"), wechat.user("bert")
    assert [anna.send_text("x").content, bert.send_text("x").content, anna.send_text("x").content] == [
        *("oanna 1", "obert 1", "oanna 2")
    ]
    assert (anna.session, bert.session, wechat.session) == ({"n": 2}, {"n": 1}, {})
    assert ([result.content for result in anna.talk], len(bert.talk), wechat.talk) == (["oanna 1", "oanna 2"], 1, [])
    assert wechat.user("anna").session == {"n": 2}
    assert wechat.user("anna") is anna.user("anna") is anna


def test_reading_follows_no_links_of_the_bots_own_and_taps_as_the_user_who_asked():
    own = '<a href="weixin://bizmsgmenu?msgmenucontent=满意&msgmenuid=101">满意</a>'

    def answer(req):
        wechat.sleep(40 if req.content == "慢" else 0)
        return f"好吗？{own}"

    wechat = bot_of(answer).test_client()
    assert wechat.read(wechat.send_text("快")) == "好吗？满意"
    assert wechat.read(wechat.user("anna").send_text("慢")) == "好吗？满意"


@pytest.mark.parametrize("text", [LONG, "短", LONG.replace("\n\n", "")], ids=["long", "short", "one paragraph"])
@pytest.mark.parametrize("seconds", [0, 7, 40])
@pytest.mark.parametrize("stream", [False, True])
def test_reading_taps_through_to_the_whole_text(text, seconds, stream):
    """Without slow text, links and mentions; between pages there may be a blank line more."""

    def answer(req):
        wechat.sleep(seconds)
        return text

    def pieces(req):
        for start in range(0, len(text), 500):
            yield text[start : start + 500]
            wechat.sleep(seconds / 8)

    wechat = bot_of(pieces if stream else answer).test_client()
    assert wechat.read(wechat.send_text("x")).replace("\n", "") == text.replace("\n", "")
    wechat.sleep(100)
    other = wechat.send_text("y")  # behind which an answer that nobody has fetched would be mentioned
    assert wechat.read(other).replace("\n", "") == text.replace("\n", "")


def test_a_mention_of_another_answer_is_not_read():
    def answer(req):
        wechat.sleep(40 if req.content == "慢" else 0)
        return f"{req.content}的答案"

    wechat = bot_of(answer).test_client()
    wechat.send_text("慢")
    wechat.sleep(60)
    quick = wechat.send_text("快")
    assert "您之前的问题有回复了" in quick.content
    assert wechat.read(quick).strip() == "快的答案"


def test_a_result_is_shown_in_one_line():
    replies = {"文": "一\n二", "图文": Article("标题", "说明"), "图": ImageRspMsg("m")}
    wechat = bot_of(lambda req: replies.get(req.content)).test_client()
    shown = [repr(wechat.send_text(word)) for word in ("文", "图文", "图", "无")]
    assert [line.partition(" after")[0] for line in shown] == [
        "<Result: text '一\\n二'",
        "<Result: news [Article(title='标题', description='说明', pic_url='', url='')]",
        "<Result: image 'm'",
        "<Result: nothing",
    ]


PLUGIN = {
    "conftest.py": 'pytest_plugins = ["wx_mp_svr.testing.plugin"]\n',
    "bot.py": (
        "from wx_mp_svr import WxMpServer\nserver = WxMpServer()\n"
        "@server.on_message\ndef count(req):\n"
        "    req.session['n'] = req.session.get('n', 0) + 1\n    return str(req.session['n'])\n"
    ),
    "test_bot.py": (
        "def test_one(wechat):\n    assert wechat.send_text('x').content == '1'\n"
        "def test_two(wechat):\n    assert wechat.send_text('x').content == '1'\n"
    ),
}


@pytest.mark.parametrize("named", [False, True])
def test_the_pytest_plugin_has_a_wechat_for_each_test(named, tmp_path):
    """With nothing set, from another folder's settings, and with what each test learns forgotten."""
    for name, text in PLUGIN.items():
        (tmp_path / name).write_text(text)
    if named:
        (tmp_path / "bot.py").rename(tmp_path / "mine.py")
        (tmp_path / "pytest.ini").write_text("[pytest]\nwx_mp_server = mine:server\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    env = servers.environment(tmp_path, {"PYTHONPATH": str(tmp_path)})
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
