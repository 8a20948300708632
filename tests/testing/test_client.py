"""What FakeWeChat sends: every message and event element by element, in every mode, by whom and on which clock."""

import urllib.parse

import pytest

from wx_mp_svr import WxMpServer
from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.testing import FAULT_NOTICE, FakeWeChat, Faults, Link, Result
from wx_mp_svr.testing.packets import read_xml
from wx_mp_svr.wire.crypto import Cipher
from wx_mp_svr.wire.signature import sign

TOKEN, APPID, KEY = "ClientsToken", "wx0a1b2c3d4e5f6a7b", "k" * 43
SAFE = {"appid": APPID, "aes_key": KEY}
USER, ACCOUNT = "oFakeUser0000000000000000001", "gh_fakeaccount1"


class Bot:
    """Acknowledges everything, and keeps what came."""

    def __init__(self, status=200, body=b"success"):
        self.status, self.body, self.seen = status, body, []

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read().decode()
        self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], body))
        start_response(f"{self.status} X", [])
        return [self.body]


def wechat_of(bot, **settings):
    return FakeWeChat(bot, **{"token": TOKEN, "clock": FastClock(wall=lambda: 1_700_000_000.5), **settings})


# -- messages and events -----------------------------------------------------------------------------------------------

SENT = [
    # what is done, the elements of the packet besides its head
    (lambda w, **who: w.send_text("好", **who), "text", {"Content": "好"}),
    (lambda w, **who: w.send_text("好", bizmsgmenuid="7", **who), "text", {"Content": "好", "bizmsgmenuid": "7"}),
    (lambda w, **who: w.send_image(**who), "image", {"PicUrl": "http://mmbiz.qpic.cn/fake", "MediaId": "media_id"}),
    (lambda w, **who: w.send_image("m", "u", **who), "image", {"PicUrl": "u", "MediaId": "m"}),
    (
        lambda w, **who: w.send_voice(**who),
        "voice",
        {"MediaId": "media_id", "Format": "amr", "MediaId16K": "media_id_16k"},
    ),
    (
        lambda w, **who: w.send_voice("m", "speex", "你好", **who),
        "voice",
        {"MediaId": "m", "Format": "speex", "MediaId16K": "m_16k", "Recognition": "你好"},
    ),
    *(
        (
            lambda w, send=f"send_{kind}", args=args, **who: getattr(w, send)(*args, **who),
            kind,
            {"MediaId": media_id, "ThumbMediaId": thumb},
        )
        for kind in ("video", "shortvideo")
        for args, media_id, thumb in (((), "media_id", "thumb_media_id"), (("m", "t"), "m", "t"))
    ),
    (
        lambda w, **who: w.send_location(**who),
        "location",
        {"Location_X": "23.130000", "Location_Y": "113.360000", "Scale": "20", "Label": "位置"},
    ),
    (
        lambda w, **who: w.send_location(-1.5, 2.25, "家", 15, **who),
        "location",
        {"Location_X": "-1.500000", "Location_Y": "2.250000", "Scale": "15", "Label": "家"},
    ),
    (
        lambda w, **who: w.send_link("t", **who),
        "link",
        {"Title": "t", "Description": "", "Url": "https://example.com"},
    ),
    (lambda w, **who: w.send_link("t", "d", "u", **who), "link", {"Title": "t", "Description": "d", "Url": "u"}),
    (lambda w, **who: w.subscribe(**who), "event", {"Event": "subscribe", "EventKey": ""}),
    (
        lambda w, **who: w.subscribe("7", **who),
        "event",
        {"Event": "subscribe", "EventKey": "qrscene_7", "Ticket": "TICKET"},
    ),
    (lambda w, **who: w.unsubscribe(**who), "event", {"Event": "unsubscribe", "EventKey": ""}),
    (lambda w, **who: w.send_event("SCAN", **who), "event", {"Event": "SCAN"}),
    (lambda w, **who: w.send_event("CLICK", "k", **who), "event", {"Event": "CLICK", "EventKey": "k"}),
    (lambda w, **who: w.send_event("CLICK", key="k", **who), "event", {"Event": "CLICK", "EventKey": "k"}),
    (
        lambda w, **who: w.send_event("VIEW", {"MenuId": "7"}, key="k", **who),
        "event",
        {"Event": "VIEW", "EventKey": "k", "MenuId": "7"},
    ),
    (
        lambda w, **who: w.tap(Link("看", "weixin://…", "查看", "wxmp-3"), **who),
        "text",
        {"Content": "查看", "bizmsgmenuid": "wxmp-3"},
    ),
]


@pytest.mark.parametrize(("send", "kind", "elements"), SENT)
def test_every_packet_has_its_elements_and_its_sender(send, kind, elements):
    bot = Bot()
    wechat = wechat_of(bot)
    send(wechat)
    send(wechat, openid="oOther")
    for (method, path, _, body), user in zip(bot.seen, (USER, "oOther"), strict=True):
        fields = read_xml(body)
        head = {"ToUserName": ACCOUNT, "FromUserName": user, "MsgType": kind}
        numbers = [fields.pop("CreateTime"), *([fields.pop("MsgId")] if kind != "event" else [])]
        assert (method, path, fields) == ("POST", "/wx_mp_cb", head | elements)
        assert all(number.isdigit() for number in numbers)
    assert len(wechat.talk) == 2


def test_a_packet_without_an_id_gets_a_second_of_its_own():
    wechat = wechat_of(Bot(), openid="oSeconds")

    def second(**elements):
        return read_xml(wechat.build("event", elements))["CreateTime"]

    assert [second(), second(), second()] == ["1700000000", "1700000001", "1700000002"]
    assert [second(MsgId=1), second(MsgId=2)] == ["1700000000"] * 2


def test_a_tap_needs_a_link_to_tap():
    bot = Bot()
    wechat = wechat_of(bot)
    menu = '<a href="weixin://bizmsgmenu?msgmenucontent={0}&msgmenuid={0}">{0}</a>'
    result = Result(
        "<xml><FromUserName>oAsked</FromUserName></xml>",
        [],
        "text",
        menu.format(0) + menu.format(1) + menu.format(2) + '<a href="u">3</a>',
    )
    wechat.tap(result)
    wechat.tap(result, openid="oOther")
    taps = [read_xml(body) for *_, body in bot.seen]
    assert [(tap["Content"], tap["bizmsgmenuid"], tap["FromUserName"]) for tap in taps] == [
        ("2", "2", "oAsked"),
        ("2", "2", "oOther"),
    ]
    with pytest.raises(ValueError, match="no link to tap: '好'"):
        wechat.tap(Result("", [], "text", "好"))
    with pytest.raises(TypeError, match="to type words use send_text"):
        wechat.tap("查看")


# -- in every mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "plain"),
        ({"mode": "plain", **SAFE}, "plain"),
        (SAFE, "safe"),
        ({"mode": "compatible", **SAFE}, "compatible"),
        ({"mode": "safe"}, "safe"),
    ],
)
def test_the_mode_is_safe_with_a_key_and_plain_without(settings, mode):
    assert wechat_of(Bot(), **settings).mode == mode


def params_of(query):
    return dict(urllib.parse.parse_qsl(query, strict_parsing=True))


XML = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o_1</FromUserName><Content>好</Content></xml>"


def test_a_plain_push_is_signed():
    query, body = wechat_of(Bot()).seal(XML)
    params = params_of(query)
    assert list(params) == ["signature", "timestamp", "nonce", "openid"]
    assert params["signature"] == sign(TOKEN, params["timestamp"], params["nonce"])
    assert (params["timestamp"], params["openid"], body) == ("1700000000", "o_1", XML.encode())
    assert params["nonce"].isdigit()
    assert list(params_of(wechat_of(Bot()).seal("<xml/>")[0])) == ["signature", "timestamp", "nonce"]


@pytest.mark.parametrize("mode", ["safe", "compatible"])
def test_a_sealed_push_is_signed_twice(mode):
    query, body = wechat_of(Bot(), mode=mode, **SAFE).seal(f"{XML}\n")
    params, fields = params_of(query), read_xml(body.decode())
    assert list(params) == ["signature", "timestamp", "nonce", "openid", "encrypt_type", "msg_signature"]
    stamp = params["timestamp"], params["nonce"]
    assert params["encrypt_type"] == "aes"
    assert params["signature"] == sign(TOKEN, *stamp)
    assert params["msg_signature"] == sign(TOKEN, *stamp, fields["Encrypt"])
    assert Cipher(KEY, APPID).decrypt(fields.pop("Encrypt")) == f"{XML}\n".encode()
    assert fields == ({"ToUserName": "gh_1"} if mode == "safe" else read_xml(XML))


def test_each_push_has_a_nonce_of_its_own():
    wechat = wechat_of(Bot())
    assert len({params_of(wechat.seal(XML)[0])["nonce"] for _ in range(20)}) == 20


# -- the verification --------------------------------------------------------------------------------------------------


def verified(status, body, **settings):
    bot = Bot(status, body)
    attempt = wechat_of(bot, **settings).verify_url("4711")
    [(method, _, query, sent)] = bot.seen
    params = params_of(query)
    assert (method, sent, list(params)) == ("GET", "", ["signature", "timestamp", "nonce", "echostr"])
    assert params["echostr"] == "4711"
    assert (attempt.number, attempt.started, attempt.query) == (1, 0.0, query)
    return [(check.name, check.level, check.detail) for check in attempt.checks]


def test_the_url_is_verified_by_what_comes_back():
    assert verified(200, b"4711") == [("echostr", "ok", "b'4711'")]
    assert verified(201, b"4711") == [("echostr", "wrong", "b'4711'")]
    assert verified(200, b"47") == [("echostr", "wrong", "b'47'")]
    assert verified(200, b"x" * 100) == [("echostr", "wrong", repr(b"x" * 80))]
    assert verified(200, b"4711", **SAFE) == [("echostr", "ok", "b'4711'")]


def test_the_echostr_is_another_one_each_time():
    bot = Bot()
    wechat = wechat_of(bot)
    wechat.verify_url()
    wechat.verify_url()
    first, second = (params_of(query)["echostr"] for _, _, query, _ in bot.seen)
    assert first != second
    assert (first + second).isdigit()
    assert max(len(first), len(second)) > 10


def test_who_does_not_answer_is_not_verified():
    def broken(environ, start_response):
        raise KeyError("a")

    attempt = wechat_of(broken).verify_url("4711")
    assert (attempt.status, attempt.error, attempt.checks, attempt.good) == (None, "KeyError: 'a'", [], False)


# -- three tries -------------------------------------------------------------------------------------------------------


def test_a_good_answer_is_the_end_and_what_it_says_is_read():
    text = f"<xml><ToUserName>{USER}</ToUserName><FromUserName>{ACCOUNT}</FromUserName>"
    text += "<CreateTime>1</CreateTime><MsgType>text</MsgType><Content>好</Content></xml>"
    result = wechat_of(Bot(200, text.encode())).send_text("x")
    assert [attempt.number for attempt in result.tries] == [1]
    assert (result.type, result.content, result.fields["Content"]) == ("text", "好", "好")
    assert result.elapsed >= result.tries[0].elapsed > 0
    assert result.tries[0].body == result.xml.encode()


@pytest.mark.parametrize("tries", [1, 3])
def test_after_the_last_try_comes_the_fault_notice(tries):
    bot, heard = Bot(500, b"oops"), []
    wechat = wechat_of(
        bot, tries=tries, on_try=lambda result, attempt: heard.append((len(result.tries), attempt.number))
    )
    result = wechat.send_text("x")
    assert len(bot.seen) == tries
    assert heard == [(n, n) for n in range(1, tries + 1)]
    assert (result.type, result.content, result.fields) == ("fault", FAULT_NOTICE, {})
    assert [attempt.status for attempt in result.tries] == [500] * tries
    assert all(attempt.reply == b"oops" for attempt in result.tries)


def test_only_an_account_with_encryption_wants_sealed_answers():
    text = f"<xml><ToUserName>{USER}</ToUserName><FromUserName>{ACCOUNT}</FromUserName>"
    text += "<CreateTime>1</CreateTime><MsgType>text</MsgType><Content>好</Content></xml>"
    assert wechat_of(Bot(200, text.encode()), mode="plain", **SAFE).send_text("x").content == "好"
    assert wechat_of(Bot(200, text.encode()), **SAFE).send_text("x").type == "fault"


def test_a_lost_try_takes_its_five_seconds():
    clock = FastClock(jumps=True)
    wechat = wechat_of(Bot(), clock=clock, faults=Faults(drop=frozenset({1})))
    first, second = wechat.send_text("x").tries
    assert (first.error, first.status) == ("timeout", None)
    assert 5 <= first.elapsed < 50
    assert second.started >= first.started + 5
    assert second.good


# -- clocks and users --------------------------------------------------------------------------------------------------


def test_a_scale_makes_a_clock_that_is_faster_and_shows_the_real_time():
    wechat = FakeWeChat(Bot(), token=TOKEN, time_scale=0.1)
    assert (wechat.clock.rate, wechat.clock.wall) == (10, REAL.wall)
    assert FakeWeChat(Bot(), token=TOKEN).clock is REAL
    mine = FastClock()
    assert FakeWeChat(Bot(), token=TOKEN, time_scale=0.1, clock=mine).clock is mine


def test_a_wrong_clock_is_wrong_by_whole_seconds():
    params = params_of(wechat_of(Bot(), faults=Faults(skew=100)).seal(XML)[0])
    assert params["timestamp"] == "1700000100"


def test_a_user_is_the_same_wechat_in_other_hands():
    bot = Bot()
    wechat = wechat_of(bot, account="gh_other", path="/other")
    anna = wechat.user("anna")
    assert wechat.user("anna") is anna is anna.user("bert").user("anna")
    anna.send_text("x")
    _, path, _, body = bot.seen[0]
    fields = read_xml(body)
    assert (path, fields["FromUserName"], fields["ToUserName"]) == ("/other", "oanna", "gh_other")
    assert (len(anna.talk), len(wechat.talk)) == (1, 0)
    assert wechat.server is bot


def test_secrets_do_not_show():
    shown = repr(wechat_of(Bot(), **SAFE))
    assert TOKEN not in shown
    assert KEY not in shown


PAGED = "第一段。" * 200 + "\n\n" + "第二段。" * 200


def test_reading_leaves_out_what_the_bot_says_by_itself():
    def answer(req):
        wechat.sleep(7 if req.content == "慢" else 0)
        return PAGED

    texts = {"slow_text": "慢慢来", "ready_text": "早些的好了", "end_text": "完了"}
    server = WxMpServer(token=TOKEN, store="memory:", on_message=answer, **texts)
    wechat = server.test_client()
    for word in ("快", "慢"):
        result = wechat.send_text(word)
        assert wechat.read(result).replace("\n", "") == PAGED.replace("\n", "")


@pytest.mark.parametrize(
    "settings",
    [
        {"token": "AnotherToken"},
        {"path": "/another"},
        {"mode": "plain"},
        {"mode": "compatible"},
        {"appid": "wx1111111111111111", "aes_key": "n" * 43},
    ],
)
def test_a_copy_with_another_account_is_pushed_to_as_that_account(settings):
    server = WxMpServer(token=TOKEN, appid="wx0000000000000001", aes_key="o" * 43, on_message=lambda req: req.content)
    assert server.test_client(**settings).send_text("在吗").content == "在吗"


DAY = 24 * 3600


def test_days_pass_in_a_copys_memory_as_they_do_for_its_handlers():
    """A session is kept for a week, an answer for a day."""

    def answer(req):
        if req.content == "慢":
            wechat.sleep(20)
            return "想好了"
        req.session["n"] = req.session.get("n", 0) + 1
        return str(req.session["n"])

    server = WxMpServer(token=TOKEN, store="memory:", on_message=answer)
    wechat = server.test_client()
    slow = wechat.send_text("慢")
    assert [wechat.send_text("x").content[:1] for _ in range(2)] == ["1", "2"]
    wechat.sleep(0.9 * DAY)
    assert wechat.tap(slow).content == "想好了"
    wechat.sleep(2 * DAY)
    assert wechat.tap(slow).content == wechat.server.settings.expired_text
    assert wechat.session == {"n": 2}
    wechat.sleep(8 * DAY)
    assert wechat.session == {}


def test_what_a_handler_holds_is_seen_when_it_has_ended_and_without_waiting():
    def answer(req):
        req.session["n"] = 1
        wechat.sleep(20)

    wechat = WxMpServer(token=TOKEN, store="memory:", on_message=answer).test_client()
    wechat.send_text("x")
    assert wechat.session == {"n": 1}
    assert wechat.clock.now() > 20


def test_who_reads_what_another_user_got_taps_as_that_user():
    taps = []

    def answer(req):
        taps.append(req.openid)
        return PAGED * 2

    wechat = WxMpServer(token=TOKEN, store="memory:", on_message=answer).test_client()
    result = wechat.send_text("x", openid="oAsked")
    assert len(wechat.read(result)) >= len(PAGED) * 2 - 4
    assert set(taps) == {"oAsked"}
