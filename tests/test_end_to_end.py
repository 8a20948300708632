"""The demo as users run it: three modes behind three kinds of server, over HTTP, against wechatpy's crypto."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import servers
from waiting import until
from wechat import WeChat, event, packet, text

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"
VECTORS = json.loads((HERE / "vectors.json").read_text())
SIGNATURES = {vector["id"]: vector for vector in VECTORS["signature_vectors"]}
SEALED = {vector["id"]: vector for vector in VECTORS["aes_vectors"]}

# The two captured envelopes are not packets; they are posted as they are, further down (V8, V10).
PACKETS = sorted(
    path
    for pattern in ("req-*.xml", "event-*.xml")
    for path in SAMPLES.glob(pattern)
    if path.name not in ("req-compat-encrypt.xml", "req-safe-encrypt.xml")
)


# -- in all modes, or behind each kind of server ---------------------------------------------------------------------


def test_the_url_is_verified(wechat):
    """The echostr comes back byte for byte; the GET looks alike in all three modes."""
    answer = wechat.verify("5833258582299191661")
    assert (answer.status, answer.body) == (200, b"5833258582299191661")
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    assert answer.header("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("hello", id="ascii"),
        pytest.param("你好，世界", id="chinese"),
        pytest.param("😀👨‍👩‍👧🇨🇳\U0010ffff", id="emoji"),
        pytest.param("a]]>b]]>]]", id="end-of-cdata"),
        pytest.param("  \t indented\n  twice  ", id="blanks"),
        pytest.param("<xml><ToUserName>evil</ToUserName></xml> &amp; &lt;", id="looks-like-xml"),
        pytest.param("]]></Content><ToUserName><![CDATA[evil", id="injection"),
        pytest.param("<!DOCTYPE html>", id="looks-like-a-doctype"),
        pytest.param("字" * 600, id="long"),
    ],
)
def test_text_comes_back_as_it_was_written(front, content):
    reply = front.ask(text(content))
    assert (reply["MsgType"], reply["Content"]) == ("text", content)
    assert reply.names == ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"]


def test_an_image_comes_back(front):
    reply = front.ask(packet(MsgType="image", PicUrl="http://127.0.0.1:9/p.jpg", MediaId="media-1"))
    assert (reply["MsgType"], reply["Image/MediaId"]) == ("image", "media-1")


def test_a_voice_comes_back(front):
    reply = front.ask(packet(MsgType="voice", MediaId="media-2", Format="amr"))
    assert (reply["MsgType"], reply["Voice/MediaId"]) == ("voice", "media-2")


@pytest.mark.parametrize(
    "elements",
    [
        pytest.param({"MsgType": "video", "MediaId": "m", "ThumbMediaId": "t"}, id="video"),
        pytest.param({"MsgType": "shortvideo", "MediaId": "m", "ThumbMediaId": "t"}, id="shortvideo"),
        pytest.param(
            {"MsgType": "location", "Location_X": "23.1", "Location_Y": "113.3", "Scale": "20", "Label": "广州"},
            id="location",
        ),
        pytest.param({"MsgType": "link", "Title": "t", "Description": "d", "Url": "http://127.0.0.1:9/"}, id="link"),
        pytest.param({"MsgType": "file", "Title": "t.pdf"}, id="file"),
        pytest.param({"MsgType": "never_heard_of"}, id="unknown"),
    ],
)
def test_other_messages_are_told_that_they_are_not_echoed(front, elements):
    reply = front.ask(packet(**elements))
    assert (reply["MsgType"], reply["Content"]) == ("text", "暂不支持ECHO的消息类型")


def test_a_new_follower_is_welcomed(wechat):
    assert wechat.ask(event("subscribe", EventKey=""))["Content"] == "欢迎关注"
    assert wechat.ask(event("subscribe", EventKey="qrscene_123", Ticket="t"))["Content"] == "欢迎关注"


@pytest.mark.parametrize("name", ["unsubscribe", "CLICK", "LOCATION", "an_event_of_next_year"])
def test_other_events_are_acknowledged(front, name):
    assert front.ask(event(name, EventKey="k")) is None


def test_a_repeated_push_gets_the_same_reply(wechat):
    """Through two workers as well: whoever is asked, the reply is the same."""
    letter = wechat.letter(xml := text("twice"))
    replies = [wechat.open(wechat.post(letter.query, letter.body), xml) for _ in range(2)]
    assert [reply["Content"] for reply in replies] == ["twice", "twice"]


@pytest.mark.parametrize("front", ["nginx"], indirect=True)
@pytest.mark.parametrize("sample", PACKETS, ids=lambda path: path.stem)
def test_every_sample_is_answered(front, sample):
    """Placeholders, blanks and missing elements included: 200, and the reply, if there is one, is well-formed."""
    reply = front.ask(sample.read_text(encoding="utf-8-sig"))
    is_subscribe = sample.stem in ("event-subscribe", "event-subscribe-emptykey", "event-subscribe-scene")
    assert (reply is not None) == (sample.name.startswith("req-") or is_subscribe)


def test_every_sample_is_there():
    assert len(PACKETS) > 60


def test_a_wrong_signature_is_refused(wechat):
    name = "signature" if wechat.mode == "plain" else "msg_signature"
    letter = wechat.letter(xml := text("forged"))
    good = letter.query[name]
    answer = wechat.post({**letter.query, name: good[::-1]}, letter.body)
    assert (answer.status, answer.body) == (403, b"forbidden")
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    echoed = wechat.get({**wechat.stamp(), "signature": good[::-1], "echostr": "4711"})
    assert (echoed.status, echoed.body) == (403, b"forbidden")
    assert wechat.open(wechat.post(letter.query, letter.body), xml)["Content"] == "forged"  # no trace was left


# -- known answers, byte for byte --------------------------------------------------------------------------------------


def account_of(vector: dict[str, Any]) -> dict[str, str]:
    key = vector.get("encoding_aes_key")
    keys = {"WX_MP_AES_KEY": key, "WX_MP_MODE": "safe"} if key else {"WX_MP_AES_KEY": "0" * 43}
    return {
        "WX_MP_TOKEN": vector["token"],
        "WX_MP_APPID": vector.get("receiver_id", "wx1"),
        "WX_MP_WINDOW": "0",
        **keys,
    }


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, servers.Running]]:
    """One demo for the account of each vector, by the vector's id."""
    owners = {"V1": "V1", "V3": "V3", "V8": "V8", "V10": "V10", "V13": "V13", "S5": "S5"}
    owners |= {"S1": "V1", "S2": "V1", "S3": "V1", "S4": "V8"}  # the same Token
    with ExitStack() as stack, ThreadPoolExecutor(6) as pool:

        def start(name: str) -> servers.Running:
            settings = account_of(SEALED.get(name) or SIGNATURES[name])
            if name == "V8":
                settings["WX_MP_MODE"] = "compatible"
            return stack.enter_context(servers.demo(tmp_path_factory.mktemp(name), **settings))

        names = sorted(set(owners.values()))
        started = dict(zip(names, pool.map(start, names), strict=True))
        yield {vector: started[owner] for vector, owner in owners.items()}


def account(vector: dict[str, Any], server: servers.Running) -> WeChat:
    key, appid = vector.get("encoding_aes_key", "0" * 43), vector.get("receiver_id", "wx1")
    return WeChat(server.url, vector["token"], key, appid)


@pytest.mark.parametrize("name", ["S1", "S2", "S3", "S4", "S5"])
def test_a_published_signature_verifies_the_url(accounts, name):
    vector = SIGNATURES[name]
    query = {key: vector[key] for key in ("signature", "timestamp", "nonce")}
    wechat = account(vector, accounts[name])
    answer = wechat.get({**query, "echostr": vector.get("echostr", "4711")})
    assert (answer.status, answer.body.decode()) == (200, vector.get("echostr", "4711"))
    forged = wechat.get({**query, "nonce": vector["nonce"] + "0", "echostr": "4711"})
    assert (forged.status, forged.body) == (403, b"forbidden")


def post_vector(server: servers.Running, vector: dict[str, Any], body: bytes) -> tuple[WeChat, Any]:
    query = {key: vector[key] for key in ("signature", "timestamp", "nonce", "msg_signature") if vector[key]}
    wechat = account(vector, server)
    return wechat, wechat.post({**query, "encrypt_type": "aes"}, body)


def outer(vector: dict[str, Any]) -> bytes:
    name = re.search(r"gh_\w+", vector["plaintext"])
    assert name
    return (
        f"<xml>\n    <ToUserName><![CDATA[{name[0]}]]></ToUserName>\n"
        f"    <Encrypt><![CDATA[{vector['encrypt']}]]></Encrypt>\n</xml>\n"
    ).encode()


@pytest.mark.parametrize(
    ("name", "sample", "content"),
    [("V8", "req-compat-encrypt.xml", "你好"), ("V10", "req-safe-encrypt.xml", "11"), ("V13", None, "abcdteT")],
)
def test_a_captured_push_is_answered(accounts, name, sample, content):
    """Nothing of these bytes was made by us: they were captured on the way from WeChat."""
    vector = SEALED[name]
    body = (SAMPLES / sample).read_bytes() if sample else outer(vector)
    wechat, answer = post_vector(accounts[name], vector, body)
    reply = wechat.open(answer, vector["plaintext"])
    assert reply["Content"] == content
    assert reply.nonce == vector["nonce"]


def test_the_official_debug_event_is_acknowledged(accounts):
    """V3: its receiver is a component's AppID; its pad of 22 is one that a 16-byte unpadder rejects."""
    _, answer = post_vector(accounts["V3"], SEALED["V3"], outer(SEALED["V3"]))
    assert (answer.status, answer.body) == (200, b"success")


def test_the_official_json_example_is_opened_but_is_no_packet(accounts):
    """V1 holds JSON, which Official Accounts cannot be set to: refused as XML, after it was decrypted."""
    _, answer = post_vector(accounts["V1"], SEALED["V1"], outer(SEALED["V1"]))
    assert (answer.status, answer.body) == (403, b"forbidden")
    until(lambda: "reason=xml" in accounts["V1"].log_text(), accounts["V1"].log_text)
    assert "reason=decrypt" not in accounts["V1"].log_text()


@pytest.mark.parametrize("name", ["V3", "V8", "V10", "V13"])
def test_a_captured_push_with_one_bit_changed_is_refused(accounts, name):
    vector = dict(SEALED[name])
    changed = "A" if vector["encrypt"][40] != "A" else "B"
    vector["encrypt"] = vector["encrypt"][:40] + changed + vector["encrypt"][41:]
    _, answer = post_vector(accounts[name], vector, outer(vector))
    assert (answer.status, answer.body) == (403, b"forbidden")
