"""The path of a push, query and body in, answer out, with the time given: what is refused, what is run, what comes back.

Real envelope, real background, a memory store. The server does the wiring, so that these tests need not know it.
"""

import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
import xmltodict

from wx_mp_svr import EmptyRspMsg, EventReqMsg, ImageRspMsg, TextReqMsg, WxMpServer
from wx_mp_svr.clock import FastClock
from wx_mp_svr.errors import BadSignature, ClockSkew
from wx_mp_svr.exchange import ACK, Answer, RefusalLog
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.wire.crypto import Cipher
from wx_mp_svr.wire.signature import sign

NOW = 1_700_000_000
TOKEN, APPID = "spamtest", "wx2c2769f8efd9abc2"
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OLD_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"
CIPHER, OLD_CIPHER = Cipher(KEY, APPID), Cipher(OLD_KEY, APPID)

FORBIDDEN = Answer(403, b"forbidden", "text/plain; charset=utf-8")
TOO_LARGE = Answer(413, b"too large", "text/plain; charset=utf-8")


# -- WeChat's side ---------------------------------------------------------------------------------------------------


def packet(content="你好", *, user="o_1", account="gh_1", msg_id="1", created=NOW, kind="text", more=""):
    return (
        f"<xml><ToUserName><![CDATA[{account}]]></ToUserName>\n<FromUserName><![CDATA[{user}]]></FromUserName>\n"
        f"<CreateTime>{created}</CreateTime>\n<MsgType><![CDATA[{kind}]]></MsgType>\n"
        + (f"<Content><![CDATA[{content}]]></Content>\n<MsgId>{msg_id}</MsgId>" if kind == "text" else "")
        + f"{more}</xml>"
    )


def event(name="CLICK", key="V1", **changed):
    more = f"<Event><![CDATA[{name}]]></Event><EventKey><![CDATA[{key}]]></EventKey>"
    return packet(kind="event", more=more + changed.pop("more", ""), **changed)


def query(timestamp=NOW, nonce="n1", *, token=TOKEN, **more):
    given = {"signature": sign(token, str(timestamp), nonce), "timestamp": timestamp, "nonce": nonce, "openid": "o_1"}
    return urlencode(given | more)


def plain(xml=None, **changed):
    """A plain push: query and body."""
    return query(**changed), (packet() if xml is None else xml).encode()


def safe(xml=None, *, cipher=CIPHER, timestamp=NOW, nonce="n1", token=TOKEN, **more):
    """An AES push: query and body."""
    encrypted = cipher.encrypt((packet() if xml is None else xml).encode())
    given = {"encrypt_type": "aes", "msg_signature": sign(token, str(timestamp), nonce, encrypted)} | more
    body = f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
    return query(timestamp, nonce, token=token, **given), body.encode()


def unsealed(answer, cipher=CIPHER):
    """Judge an AES answer, and return its fields."""
    assert (answer.status, answer.content_type) == (200, "text/xml; charset=utf-8")
    outer = xmltodict.parse(answer.body)["xml"]
    assert list(outer) == ["Encrypt", "MsgSignature", "TimeStamp", "Nonce"]
    assert outer["MsgSignature"] == sign(TOKEN, outer["TimeStamp"], outer["Nonce"], outer["Encrypt"])
    return xmltodict.parse(cipher.decrypt(outer["Encrypt"]))["xml"]


def content_of(answer):
    assert answer.status == 200, answer
    return xmltodict.parse(answer.body)["xml"]["Content"]


# -- our side --------------------------------------------------------------------------------------------------------


class House:
    """One account: its exchange, its store, and what its handlers have heard."""

    def __init__(self, mode="plain", answer=lambda req: f"echo {req.content}", *, store=None, **settings):
        self.store = MemoryStore() if store is None else store
        self.heard = []
        keys = {} if mode == "plain" else {"aes_key": KEY, "appid": APPID}
        server = WxMpServer(token=TOKEN, mode=mode, store=self.store, **keys, **settings)
        server.app.testing = False

        @server.on_message
        def on_message(req):
            self.heard.append(req)
            return answer(req)

        @server.on_event
        def on_event(event):
            self.heard.append(event)
            return f"event {event.event_key}"

        self.exchange = server._exchange

    def post(self, request, now=NOW):
        return self.exchange.answer(*request, now=now, remote="192.0.2.1")


# -- the answer ------------------------------------------------------------------------------------------------------


def test_a_plain_push_gets_a_plain_reply():
    """To and From swapped, as XML."""
    answer = House().post(plain())
    assert (answer.status, answer.content_type) == (200, "text/xml; charset=utf-8")
    fields = xmltodict.parse(answer.body)["xml"]
    assert (fields["ToUserName"], fields["FromUserName"]) == ("o_1", "gh_1")
    assert (fields["MsgType"], fields["Content"]) == ("text", "echo 你好")
    assert fields["CreateTime"].isdigit()
    assert len(fields["CreateTime"]) == 10


@pytest.mark.parametrize("mode", ["safe", "compatible"])
def test_an_aes_push_gets_an_aes_reply(mode):
    """Signed with our time and the request's nonce."""
    answer = House(mode).post(safe(nonce="n&<42"))
    assert unsealed(answer)["Content"] == "echo 你好"
    outer = xmltodict.parse(answer.body)["xml"]
    assert (outer["TimeStamp"], outer["Nonce"]) == (str(NOW), "n&<42")


def test_a_compatible_server_answers_a_plain_push_plainly():
    """The answer is of the push's kind."""
    assert content_of(House("compatible").post(plain())) == "echo 你好"


def test_only_what_was_decrypted_is_heard():
    """B26: the plain copies in a compatible body are anybody's."""
    house = House("compatible")
    request, body = safe(packet("true"))
    forged = body.replace(b"</xml>", b"<FromUserName>o_evil</FromUserName><Content>false</Content></xml>")
    assert unsealed(house.post((request, forged)))["Content"] == "echo true"
    assert [(req.openid, req.content) for req in house.heard] == [("o_1", "true")]


@pytest.mark.parametrize(
    "silence",
    [None, "", EmptyRspMsg()],
    ids=repr,
)
@pytest.mark.parametrize(("mode", "request_of"), [("plain", plain), ("compatible", safe), ("safe", safe)])
def test_silence_is_a_bare_success_in_every_mode(silence, mode, request_of):
    """B81: an acknowledgement is never encrypted."""
    house = House(mode, lambda req: silence)
    assert house.post(request_of()) == ACK == Answer(200, b"success", "text/plain; charset=utf-8")
    assert house.post(request_of()) == ACK  # a duplicate, too
    assert len(house.heard) == 1


def test_without_a_handler_there_is_silence():
    """An unknown kind that nobody wants is no error (B67)."""
    server = WxMpServer(token=TOKEN, mode="plain", store=MemoryStore())
    for xml in (packet(), event(), packet(kind="new_kind"), event("new_event")):
        assert server._exchange.answer(*plain(xml), now=NOW) == ACK


@pytest.mark.parametrize(
    "missing",
    ["ToUserName", "FromUserName", "MsgType"],
)
@pytest.mark.parametrize("left", ["", "<{0}></{0}>", "<{0}/>", "<{0}><![CDATA[]]></{0}>", "<{0}> </{0}>"])
def test_a_push_without_an_identity_is_acknowledged_and_no_more(missing, left):
    """B66: nobody to answer, no handler, no claim; WeChat must not retry it either."""
    house = House()
    value = {"ToUserName": "gh_1", "FromUserName": "o_1", "MsgType": "text"}[missing]
    xml = packet().replace(f"<{missing}><![CDATA[{value}]]></{missing}>", left.format(missing))
    assert value == "text" or value not in xml
    assert house.post(plain(xml)) == ACK
    assert (house.heard, len(house.store)) == ([], 0)


@pytest.mark.parametrize(
    ("xml", "name"),
    [
        ("<xml><AppId>wx1</AppId><CreateTime>1</CreateTime><InfoType>unauthorized</InfoType></xml>", "unauthorized"),
    ],
)
def test_notices_without_an_identity_are_heard_and_acknowledged(xml, name):
    """The container probe and component notices: there is nobody to answer to."""
    house = House()
    assert house.post(plain(xml)) == ACK
    assert [(type(req), req.event) for req in house.heard] == [(EventReqMsg, name)]


def unlucky(req):
    raise RuntimeError("the password is hunter2")


@pytest.mark.parametrize("written", ["a\x0bb]]>c", " a]]> "])
def test_a_text_that_no_xml_may_hold_is_heard_as_its_user_wrote_it(written):
    """WeChat escapes nothing; what is signed is WeChat's all the same."""
    assert content_of(House().post(plain(packet(written)))) == f"echo {written}".replace("\x0b", "").strip()


def test_a_try_that_wechat_has_given_up_on_is_hung_up_on():
    """A server error without a word: WeChat pushes again."""
    clock = FastClock(jumps=True, wall=lambda: NOW)
    server = WxMpServer(token=TOKEN, mode="plain", store="memory:", on_message=lambda req: clock.sleep(8))
    with clock.foreground():
        answer = server.with_clock(clock)._exchange.answer(*plain(), now=NOW)
    assert answer == Answer(503, b"", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("handler", "logged"),
    [
        (unlucky, "unlucky"),
        (lambda req: 42, "int"),
        (lambda req: {"content": "a"}, "dict"),
        (lambda req: ImageRspMsg(""), "media_id"),
        (lambda req: ImageRspMsg(7), "media_id"),
    ],
)
def test_a_bug_in_a_handler_is_an_error_text_and_a_line_in_the_log(handler, logged, caplog):
    """B80, B83: WeChat must not retry a bug nor show its fault notice; nothing of the exception goes out."""
    house = House(answer=handler, error_text="oops")
    answers = [house.post(plain()) for _ in range(3)]
    assert {content_of(answer) for answer in answers} == {"oops"}
    assert all(b"hunter2" not in answer.body and b"Error" not in answer.body for answer in answers)
    assert len(house.heard) == 1
    assert logged in caplog.text
    assert TOKEN not in caplog.text


def test_a_bug_without_an_error_text_is_silence():
    """The setting may be empty."""
    assert House(answer=unlucky, error_text="").post(plain()) == ACK


# -- the order of checks ---------------------------------------------------------------------------------------------

STEPS = [
    # Everything from this step on is wrong; the log names the first.
    ("size", "x=1", b"x" * (128 * 1024 + 1), TOO_LARGE),
    ("params", f"signature=bad&timestamp={NOW - 9999}", b"not xml", FORBIDDEN),
    ("params", f"signature=bad&signature=bad&timestamp={NOW - 9999}&nonce=n", b"not xml", FORBIDDEN),
    ("clock", f"signature=bad&timestamp={NOW - 9999}&nonce=n&encrypt_type=raw", b"not xml", FORBIDDEN),
    ("downgrade", f"signature=bad&timestamp={NOW}&nonce=n&encrypt_type=raw", b"not xml", FORBIDDEN),
    ("xml", f"signature=bad&timestamp={NOW}&nonce=n&encrypt_type=aes", b"not xml", FORBIDDEN),
    ("signature", f"timestamp={NOW}&nonce=n&encrypt_type=aes", b"<xml><Encrypt>bad</Encrypt></xml>", FORBIDDEN),
    (
        "decrypt",
        f"timestamp={NOW}&nonce=n&encrypt_type=aes&msg_signature={sign(TOKEN, str(NOW), 'n', 'bad')}",
        b"<xml><Encrypt>bad</Encrypt></xml>",
        FORBIDDEN,
    ),
    ("xml", *safe("not xml"), FORBIDDEN),
    ("xml", *safe(packet(more="<FromUserName>o_2</FromUserName>")), FORBIDDEN),
]


@pytest.mark.parametrize(("reason", "given", "body", "answer"), STEPS)
def test_each_check_comes_before_the_dearer_ones(reason, given, body, answer, caplog):
    """Size, parameters, clock, mode, signature, decryption, XML; then only the store and the handler."""
    house = House("safe")
    assert house.post((given, body)) == answer
    assert f"refused reason={reason} remote=192.0.2.1" in caplog.text
    assert (house.heard, len(house.store)) == ([], 0)


def test_a_body_at_the_limit_is_read():
    """And one byte more is not."""
    xml = packet("x" * 2000)
    limit = len(xml.encode())
    assert House(max_body=limit).post(plain(xml)).status == 200
    assert House(max_body=limit - 1).post(plain(xml)) == TOO_LARGE


# -- refusals --------------------------------------------------------------------------------------------------------

LAUGHS = "<!DOCTYPE xml [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><xml><A>&b;</A></xml>"


def resigned(encrypted):
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    return query(encrypt_type="aes", msg_signature=sign(TOKEN, str(NOW), "n1", encrypted)), body


SAFE_QUERY, SAFE_BODY = safe()
REFUSALS = {
    "no parameters": ("", SAFE_BODY),
    "nonsense": ("%%%", b"\xff\xfe\0"),
    "empty body": (SAFE_QUERY, b""),
    "wrong msg_signature": safe(msg_signature="0" * 40),
    "no msg_signature": safe(msg_signature=""),
    "msg_signature not ASCII": safe(msg_signature="é"),
    "plain push": plain(),
    "plain push that claims AES": plain(encrypt_type="aes"),
    "encrypt_type raw": safe(encrypt_type="raw"),
    "signature of the empty Encrypt": (
        query(encrypt_type="aes", msg_signature=sign(TOKEN, str(NOW), "n1")),
        b"<xml><Encrypt/></xml>",
    ),
    "two Encrypt": (SAFE_QUERY, SAFE_BODY.replace(b"</xml>", b"<Encrypt>x</Encrypt></xml>")),
    "another token": safe(token="other"),
    "another AppID (B35)": safe(cipher=Cipher(KEY, "wx0000000000000001")),
    "another key": safe(cipher=OLD_CIPHER),
    "garbage for ciphertext": resigned("A" * 64),
    "not Base64": resigned("!"),
    "truncated ciphertext": resigned(CIPHER.encrypt(packet().encode())[:-24]),
    "an hour old (B30)": safe(timestamp=NOW - 3600),
    "from tomorrow": safe(timestamp=NOW + 86400),
    "entities in the outer XML (B60)": (SAFE_QUERY, LAUGHS.encode()),
    "entities in the inner XML": safe(LAUGHS),
    "broken inner XML (B47)": safe("<xml><A>"),
    "empty inner XML": safe(""),
    "inner JSON": safe('{"ToUserName": "gh_1"}'),
    "inner XML not UTF-8": resigned(CIPHER.encrypt(b"<xml><A>\xff</A></xml>")),
    "two senders": safe(packet(more="<FromUserName>o_2</FromUserName>")),
    "a sender with children": safe(packet().replace("<![CDATA[o_1]]>", "<a>o_1</a>")),
    "too deep": safe(f"<xml>{'<a>' * 20}{'</a>' * 20}</xml>"),
    "duplicate nonce": (SAFE_QUERY + "&nonce=n2", SAFE_BODY),
    "markup in the timestamp": (SAFE_QUERY.replace(str(NOW), "]]></TimeStamp>"), SAFE_BODY),
}


@pytest.mark.parametrize("request_", REFUSALS.values(), ids=REFUSALS.keys())
def test_every_refusal_is_the_same_answer_and_leaves_no_trace(request_):
    """B35, B46, B47: nobody learns which check failed, and a refused copy does not spoil the good one after it."""
    house = House("safe")
    assert house.post(request_) == FORBIDDEN
    assert (house.heard, len(house.store)) == ([], 0)
    assert unsealed(house.post(safe()))["Content"] == "echo 你好"


@pytest.mark.parametrize(
    ("skew", "answered"),
    [
        (0, True),
        (-20, True),  # a slow network
        (-240, True),  # honest skew (B31)
        (120, True),
        (-300, True),
        (300, True),
        (-301, False),
        (301, False),
        (-3600, False),
        (-86400, False),
        (86400, False),
    ],
)
def test_the_window_is_five_minutes_either_way(skew, answered, caplog):
    """B30: outside, the log says how far, so that a wrong server clock can be told from a replay."""
    answer = House().post(plain(timestamp=NOW + skew))
    if answered:
        assert content_of(answer) == "echo 你好"
    else:
        assert answer == FORBIDDEN
        assert f"skew={skew:+d}s" in caplog.text


@pytest.mark.parametrize(("window", "skew", "answered"), [(0, -(10**8), True), (10, 10, True), (10, -11, False)])
def test_the_window_is_a_setting_and_zero_is_off(window, skew, answered):
    """For the GET, too."""
    house = House(window=window)
    assert (house.post(plain(timestamp=NOW + skew)).status == 200) is answered
    got = house.exchange.verify_url(query(NOW + skew, echostr="e"), now=NOW)
    assert got == (Answer(200, b"e") if answered else FORBIDDEN)


# -- the log of refusals ---------------------------------------------------------------------------------------------


def test_strangers_cannot_flood_the_log(caplog):
    """B123: a few lines a minute for each reason, no traceback; the next minute tells again."""
    house = House()
    caplog.clear()
    for _ in range(200):
        house.post(plain(token="other"))
        house.post(("", b""))
    reasons = [message.split()[1] for message in caplog.messages]
    assert {reason.rstrip(":") for reason in reasons} == {"reason=signature", "reason=params"}
    assert len(reasons) <= 2 * (RefusalLog.BURST + 1)
    assert all(record.exc_info is None and record.levelno == logging.WARNING for record in caplog.records)
    before = len(reasons)
    house.post(plain(token="other", timestamp=NOW + 60), now=NOW + 60)
    assert len(caplog.messages) == before + 1


def test_a_refused_line_holds_nothing_of_the_sender(caplog):
    """B122: no query, no body, one line each."""
    house = House("safe")
    caplog.clear()
    evil = "EVIL\r\nWARNING forged\x1b[31m"
    for request in (
        (urlencode({"signature": evil, "timestamp": NOW, "nonce": evil}), evil.encode()),
        (urlencode({"signature": evil, "timestamp": evil, "nonce": "n"}), evil.encode()),
        (urlencode({"timestamp": NOW, "nonce": "n", "encrypt_type": evil}), evil.encode()),
        (urlencode({"timestamp": NOW, "nonce": "n", "encrypt_type": "aes"}), f"<xml><{evil}/></xml>".encode()),
        (urlencode({evil: evil}), evil.encode()),
        safe(f"<xml><A>{evil}"),
    ):
        assert house.post(request) == FORBIDDEN
    assert caplog.messages
    assert not any("EVIL" in message or "\n" in message or "\x1b" in message for message in caplog.messages)
    assert not any(secret in caplog.text for secret in (TOKEN, KEY, "signature="))


def test_the_refusal_log_counts_per_reason_and_minute(caplog):
    """Its own unit: five, and a word that there is silence now."""
    told = RefusalLog()
    for second in range(0, 50):
        told.tell(BadSignature("does not match"), NOW // 60 * 60 + second, "r")
    told.tell(ClockSkew(-3600), NOW // 60 * 60, "r")
    assert len(caplog.messages) == RefusalLog.BURST + 2
    assert "no more of these lines" in caplog.messages[RefusalLog.BURST]
    assert caplog.messages[-1].startswith("refused reason=clock remote=r: skew=-3600s; probably: ")


def test_a_reason_is_told_five_times_a_minute_with_its_hint_first_and_last(caplog):
    told, hint = RefusalLog(), BadSignature.hint

    def lines(second, times):
        caplog.clear()
        for _ in range(times):
            told.tell(BadSignature("does not match"), NOW // 60 * 60 + second, "192.0.2.1")
        return caplog.messages

    line = "refused reason=signature remote=192.0.2.1: does not match"
    over = f"refused reason=signature: no more of these lines for this minute; probably: {hint}"
    assert lines(0, 4) == [f"{line}; probably: {hint}", line, line, line]
    assert lines(1, 4) == [line, over]
    assert lines(59.9, 1) == []
    assert lines(60, 2) == [f"{line}; probably: {hint}", line]


@pytest.mark.parametrize(
    ("given", "body", "from_cloud", "told"),
    [
        ("a=1", b"<xml/>", True, "云托管"),
        ("a=1", b"", True, "云托管"),  # it never has a signature: that comes first
        (SAFE_QUERY, b"", False, "请求体是空的"),
        (SAFE_QUERY, b"<xml/>", False, "数据格式"),
    ],
)
def test_a_push_that_got_lost_on_its_way_is_told_from_a_forged_one(given, body, from_cloud, told, caplog):
    house = House("safe")
    says_so = {"from_cloud": True} if from_cloud else {}
    assert house.exchange.answer(given, body, now=NOW, **says_so) == FORBIDDEN
    assert "remote=-: " in caplog.text
    assert told in caplog.text
    others = {"云托管", "请求体是空的", "数据格式"} - {told}
    assert not any(other in caplog.text for other in others)


@pytest.mark.parametrize(
    ("given", "wecom"),
    [
        (f"msg_signature=1&timestamp={NOW}&nonce=n&echostr=e", True),
        (f"msg_signature=1&signature=1&timestamp={NOW}&nonce=n&echostr=e", False),
        (f"signature=1&timestamp={NOW}&nonce=n&echostr=e", False),
        (f"timestamp={NOW}&nonce=n&echostr=msg_signature", False),
    ],
)
def test_the_verification_of_a_wecom_account_is_recognized(given, wecom, caplog):
    assert House().exchange.verify_url(given, now=NOW) == FORBIDDEN
    assert "remote=-: " in caplog.text
    assert ("企业微信" in caplog.text) is wecom


def test_whoever_wants_to_see_every_push_gets_a_line_for_each(caplog):
    caplog.set_level(logging.DEBUG, "wx_mp_svr")
    House().post(plain())
    [line] = [message for message in caplog.messages if message.startswith("push ")]
    assert re.fullmatch(r"push kind=TextReqMsg outcome=reply try=[123] ms=[0-9]+", line)


# -- duplicates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "request_of"), [("plain", plain), ("safe", safe)])
def test_a_repeated_push_gets_the_first_answer_without_a_second_run(mode, request_of):
    """B32, B86: WeChat's retries are identical, and never refused."""
    house = House(mode, lambda req: f"run {len(house.heard)}")
    request = request_of()
    answers = [house.post(request, now=NOW + 5 * n) for n in range(4)]
    contents = {unsealed(a)["Content"] if mode == "safe" else content_of(a) for a in answers}
    assert contents == {"run 1"}
    assert len(house.heard) == 1


def test_each_duplicate_is_sealed_afresh():
    """Different ciphertext, same plain reply, the time of each answer."""
    house = House("safe")
    answers = [house.post(safe(), now=NOW + n) for n in range(3)]
    outer = [xmltodict.parse(answer.body)["xml"] for answer in answers]
    assert len({fields["Encrypt"] for fields in outer}) == len({fields["MsgSignature"] for fields in outer}) == 3
    assert [fields["TimeStamp"] for fields in outer] == [str(NOW + n) for n in range(3)]
    assert len({CIPHER.decrypt(fields["Encrypt"]) for fields in outer}) == 1
    assert len(house.heard) == 1


class TellingStore(MemoryStore):
    """Says when somebody looks for a reply: a copy of a push has arrived."""

    def __init__(self):
        super().__init__()
        self.copy_arrived = threading.Event()

    def get(self, key):
        if key.endswith(":page:1"):
            self.copy_arrived.set()
        return super().get(key)


def test_a_duplicate_joins_the_run_in_progress():
    """The handler is still at work when the copy arrives; both get its answer."""
    store = TellingStore()
    house = House(answer=lambda req: "joined" if store.copy_arrived.wait(4) else "alone", store=store)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(house.post, [plain()] * 2))
    assert [content_of(answer) for answer in answers] == ["joined", "joined"]
    assert len(house.heard) == 1


def test_twenty_messages_with_three_copies_each_at_once_run_once_each():
    """B86 under load: every copy gets its own message's answer."""
    house = House()
    # Of one user at most eight would be at work at once.
    requests = [plain(packet(f"m{n}", user=f"o_{n}", msg_id=str(n)), nonce=f"n{n}") for n in range(20)] * 3
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(house.post, requests))
    assert [content_of(answer) for answer in answers] == [f"echo m{n}" for n in range(20)] * 3
    assert sorted(req.msg_id for req in house.heard) == sorted(map(str, range(20)))


def test_two_hundred_messages_at_once_get_their_own_answers():
    """B101: no cross-talk."""
    house = House("safe")
    requests = [safe(packet(f"m{n}", user=f"o_{n}", msg_id=str(n)), nonce=f"n{n}") for n in range(200)]
    with ThreadPoolExecutor(50) as pool:
        answers = [unsealed(answer) for answer in pool.map(house.post, requests)]
    assert [(a["ToUserName"], a["Content"]) for a in answers] == [(f"o_{n}", f"echo m{n}") for n in range(200)]
    assert len(house.heard) == 200


DIFFERENT = {
    "another user, same MsgId (B87)": (packet(), packet(user="o_2")),
    "another account": (packet(), packet(account="gh_2")),
    "another MsgId": (packet(), packet(msg_id="2")),
    "same MsgId, another second": (packet(), packet(created=NOW + 1)),
    "two event keys in one second (B88)": (event(key="V1"), event(key="V2")),
    "two events in one second": (event("CLICK"), event("VIEW")),
    "two card events in one second": (
        event("user_get_card", more="<UserCardCode>1</UserCardCode>"),
        event("user_get_card", more="<UserCardCode>2</UserCardCode>"),
    ),
    "two media checks in one second": (
        event("wxa_media_check", more="<trace_id>1</trace_id>"),
        event("wxa_media_check", more="<trace_id>2</trace_id>"),
    ),
    "an event and a text in one second (B88)": (event(), packet()),
    "an event in the next second": (event(), event(created=NOW + 1)),
    "no MsgId, another text": (packet("a", msg_id=""), packet("b", msg_id="")),
    "a separator moved": (packet(user="o_1", msg_id="23"), packet(user="o_12", msg_id="3")),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different_pushes_run_each(one, other):
    """What WeChat's own rules for duplicates would throw together."""
    house = House()
    house.post(plain(one))
    house.post(plain(other))
    assert len(house.heard) == 2


SAME = {
    "a message": (packet(), packet()),
    "an event (B88)": (event(), event()),
    "an event, other case": (event("CLICK"), event("click")),
    "no MsgId, same packet": (packet(msg_id=""), packet(msg_id="")),
    "white space between elements": (packet(), packet().replace("\n", "")),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_the_same_push_runs_once_whatever_surrounds_it(one, other):
    """Keyed on the decrypted content, not on the URL or the ciphertext."""
    house = House("compatible")
    house.post(safe(one))
    house.post(plain(other, nonce="n2", timestamp=NOW + 1))
    assert len(house.heard) == 1


def test_a_user_gets_no_other_users_answer():
    """B87: 15 people who send voice at once share MsgIds."""
    house = House(answer=lambda req: f"for {req.openid}")
    users = [f"o_{n}" for n in range(15)]
    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(lambda user: house.post(plain(packet(user=user))), users))
    assert [content_of(answer) for answer in answers] == [f"for {user}" for user in users]


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", [CIPHER, OLD_CIPHER], ids=["current", "previous"])
def test_the_reply_is_sealed_with_the_key_that_opened_the_push(cipher):
    """B36: WeChat may still use the previous one."""
    house = House("safe", aes_key_old=OLD_KEY)
    assert unsealed(house.post(safe(cipher=cipher)), cipher)["Content"] == "echo 你好"


def test_a_retry_may_come_under_the_other_key():
    """One run, and each answer under the key of its own request."""
    house = House("safe", aes_key_old=OLD_KEY)
    assert unsealed(house.post(safe(cipher=OLD_CIPHER)), OLD_CIPHER)["Content"] == "echo 你好"
    assert unsealed(house.post(safe(cipher=CIPHER)), CIPHER)["Content"] == "echo 你好"
    assert len(house.heard) == 1


# -- the URL's verification ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
@pytest.mark.parametrize("echostr", ["4375120948345356249", "<b>&\r\nX: 1", "你好", "\udcff\udc80"])
def test_the_echostr_goes_back_byte_for_byte(mode, echostr):
    """B01, B10: as plain text, in every mode the same plain GET."""
    sent = echostr.encode("utf-8", "surrogateescape")
    answer = House(mode).exchange.verify_url(query(echostr=sent), now=NOW)
    assert answer == Answer(200, sent, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "given",
    [
        query(),  # no echostr (B04)
        query(echostr=""),
        query(echostr="e", token="other"),
        query(echostr="e", token=""),
        query(echostr="e", token="None"),
        "echostr=e",
        f"echostr=e&signature={'0' * 40}&timestamp={NOW}&nonce=n",
        f"echostr=e&signature=&timestamp={NOW}&nonce=n",
        f"echostr=e&signature=%C3%A9&timestamp={NOW}&nonce=n",
        f"echostr=e&signature=%ff%00&timestamp={NOW}&nonce=n",
        query(echostr="e") + "&echostr=f",
        query(NOW - 301, echostr="e"),
        query(NOW + 301, echostr="e"),
    ],
)
def test_nobody_else_gets_an_echo(given):
    """B02-B06: the same refusal as for a push."""
    assert House().exchange.verify_url(given, now=NOW) == FORBIDDEN


def test_the_same_verification_may_come_again():
    """Saving the settings twice is no replay; nothing is kept of it."""
    house = House()
    for _ in range(3):
        assert house.exchange.verify_url(query(echostr="e"), now=NOW).body == b"e"
    assert len(house.store) == 0


def test_a_browser_sees_that_the_service_runs():
    """Somebody opened the URL by hand: there is no parameter at all."""
    answer = House().exchange.verify_url("", now=NOW)
    assert (answer.status, answer.content_type) == (200, "text/plain; charset=utf-8")
    assert "微信" in answer.body.decode()
    assert not any(secret in answer.body.decode() for secret in (TOKEN, KEY, APPID))


def test_an_answer_is_a_value():
    """Frozen: nobody changes what goes out."""
    with pytest.raises(AttributeError):
        ACK.status = 500
    assert TextReqMsg() == TextReqMsg()
