"""What WeChat posts, in each mode: parameters, downgrades, captured packets, and the sealed reply."""

import json
import re
from pathlib import Path

import pytest
import xmltodict
from wechatpy.crypto import WeChatCrypto

from wx_mp_svr.errors import BadCiphertext, BadParams, BadSignature, BadXml, Downgrade, Refused
from wx_mp_svr.wire import envelope as envelope_module
from wx_mp_svr.wire import xmlio
from wx_mp_svr.wire.crypto import Cipher
from wx_mp_svr.wire.envelope import Envelope, Params, read_params
from wx_mp_svr.wire.signature import sign

HERE = Path(__file__).parent.parent
VECTORS = {v["id"]: v for v in json.loads((HERE / "vectors.json").read_text("utf-8"))["aes_vectors"]}

TOKEN, APPID = "spamtest", "wx2c2769f8efd9abc2"
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OLD_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"
TIMESTAMP, NONCE = "1409735669", "1320562132"
INNER = b"<xml><Content><![CDATA[secret]]></Content></xml>"

CIPHER, OLD_CIPHER = Cipher(KEY, APPID), Cipher(OLD_KEY, APPID)
ENCRYPTED = CIPHER.encrypt(INNER)
OTHER_ENCRYPTED = CIPHER.encrypt(b"<xml><Content>other</Content></xml>")
PLAIN_SIGNATURE = sign(TOKEN, TIMESTAMP, NONCE)
MSG_SIGNATURE = sign(TOKEN, TIMESTAMP, NONCE, ENCRYPTED)
FLIPPED = ("B" if ENCRYPTED[0] == "A" else "A") + ENCRYPTED[1:]


def outer(*encrypted, more=""):
    elements = "".join(f"<Encrypt><![CDATA[{text}]]></Encrypt>" for text in encrypted)
    return f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName>{elements}{more}</xml>".encode()


PLAIN_BODY = b"<xml><ToUserName>gh_1</ToUserName><Content>forged</Content></xml>"
SAFE_BODY = outer(ENCRYPTED)
COMPATIBLE_BODY = outer(ENCRYPTED, more="<FromUserName>o_evil</FromUserName><Content>forged</Content>")

PLAIN = Params(signature=PLAIN_SIGNATURE, timestamp=TIMESTAMP, nonce=NONCE)
AES = Params(PLAIN_SIGNATURE, TIMESTAMP, NONCE, MSG_SIGNATURE, "aes")


def params(**changed):
    """AES parameters as WeChat sends them, changed."""
    return Params(**{name: changed.get(name, getattr(AES, name)) for name in Params._fields})


def envelope(mode, *ciphers):
    return Envelope(TOKEN, mode, () if mode == "plain" else ciphers or (CIPHER,))


# -- parameters ------------------------------------------------------------------------------------------------------

GOOD = f"signature=s&timestamp={TIMESTAMP}&nonce=n"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(GOOD, Params("s", TIMESTAMP, "n"), id="plain"),
        pytest.param(
            f"{GOOD}&openid=o_1&encrypt_type=aes&msg_signature=m",
            Params("s", TIMESTAMP, "n", "m", "aes"),
            id="AES",
        ),
        pytest.param(
            f"nonce=n&echostr=e&timestamp={TIMESTAMP}&signature=s", Params("s", TIMESTAMP, "n", "", "", "e"), id="order"
        ),
        pytest.param(f"c_id=21&token=abc&{GOOD}", Params("s", TIMESTAMP, "n"), id="the URL's own parameters"),
        pytest.param(f"a=1&a=2&{GOOD}&a", Params("s", TIMESTAMP, "n"), id="the URL's own may repeat"),
        pytest.param(f"{GOOD}&&", Params("s", TIMESTAMP, "n"), id="stray &"),
        pytest.param(
            f"{GOOD}&echostr=a%2Bb%20c%26d", Params("s", TIMESTAMP, "n", "", "", "a+b c&d"), id="percent-encoding"
        ),
        pytest.param(f"{GOOD}&echostr=a+b", Params("s", TIMESTAMP, "n", "", "", "a b"), id="a plus sign is a blank"),
        pytest.param(f"{GOOD}&echostr=a=b", Params("s", TIMESTAMP, "n", "", "", "a=b"), id="an equals sign in a value"),
        pytest.param(f"{GOOD}&echostr=%E4%BD%A0", Params("s", TIMESTAMP, "n", "", "", "你"), id="UTF-8"),
        pytest.param(
            f"{GOOD}&echostr=%zz%4", Params("s", TIMESTAMP, "n", "", "", "%zz%4"), id="broken percent-encoding"
        ),
        pytest.param(f"%73ignature=s&%74imestamp={TIMESTAMP}&nonce=n", Params("s", TIMESTAMP, "n"), id="encoded names"),
        pytest.param("signature=s&timestamp=%31409735669&nonce=%21", Params("s", TIMESTAMP, "!"), id="encoded values"),
        pytest.param(
            f"timestamp={TIMESTAMP}&nonce=n", Params("", TIMESTAMP, "n"), id="no signature: for verify to refuse"
        ),
        pytest.param(f"signature[]=s&timestamp={TIMESTAMP}&nonce=n", Params("", TIMESTAMP, "n"), id="signature[]"),
        pytest.param(f"SIGNATURE=s&timestamp={TIMESTAMP}&nonce=n", Params("", TIMESTAMP, "n"), id="capitals"),
        pytest.param(
            f"signature=s&timestamp={TIMESTAMP}&nonce={'~' * 128}", Params("s", TIMESTAMP, "~" * 128), id="nonce of 128"
        ),
        pytest.param(f"{GOOD}&a=".ljust(4096, "b"), Params("s", TIMESTAMP, "n"), id="4096 bytes"),
    ],
)
def test_parameters_are_read(query, expected):
    """Decoded once, whatever their order; what is not WeChat's is left alone (B08)."""
    assert read_params(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(f"{GOOD}&a=".ljust(4097, "b"), id="4097 bytes"),
        pytest.param("", id="nothing"),
        pytest.param("openid=o_1", id="nothing of WeChat's"),
        pytest.param(f"signature=s&timestamp={TIMESTAMP}", id="no nonce"),
        pytest.param("signature=s&nonce=n", id="no timestamp"),
        pytest.param(f"signature=s&timestamp={TIMESTAMP}&nonce=", id="empty nonce"),
        pytest.param("signature=s&timestamp=&nonce=n", id="empty timestamp"),
        pytest.param(f"signature=s&timestamp={TIMESTAMP}&nonce", id="nonce without ="),
        pytest.param(f"signature=s;timestamp={TIMESTAMP};nonce=n", id="semicolons"),
        *(
            pytest.param(
                f"{GOOD}&msg_signature=m&encrypt_type=aes&echostr=e&{name}={value}", id=f"{name} twice: {value}"
            )
            for name in ("signature", "timestamp", "nonce", "msg_signature", "encrypt_type", "echostr")
            for value in ("", "x", TIMESTAMP)
        ),
        pytest.param(f"{GOOD}&%6eonce=n", id="twice, once encoded"),
        pytest.param(f"nonce=&{GOOD}", id="twice, once empty"),
        *(
            pytest.param(f"signature=s&timestamp={timestamp}&nonce=n", id=f"timestamp {timestamp}")
            for timestamp in (
                "140973566",
                "14097356690",
                "-140973566",
                "+1409735669",
                "1409735669.0",
                "0x54080000",
                "1.40973e9",
                "%201409735669",
                "1409735669%20",
                "1409735669%0A",
                "1409735669%00",
                "%EF%BC%91409735669",
                "%D9%A1409735669",
                "%ef%bc%91%ef%bc%94%ef%bc%90%ef%bc%99%ef%bc%97%ef%bc%93%ef%bc%95%ef%bc%96%ef%bc%96%ef%bc%99",
                "1_09735669",
                "%ff409735669",
                "9" * 5000,
            )
        ),
        *(
            pytest.param(f"signature=s&timestamp={TIMESTAMP}&nonce={nonce}", id=f"nonce {nonce[:20]}")
            for nonce in (
                "n" * 129,
                "%20",
                "a+b",
                "a%20b",
                "a%09",
                "n%0A",
                "n%0D%0AX-Injected:%201",
                "n%00",
                "%7F",
                "%EF%BC%91",
                "%E4%BD%A0",
                "%ff",
                "%ED%A0%80",
                "é",
                "x" * 60_000,
            )
        ),
        pytest.param("&".join(f"nonce={n}" for n in range(500)), id="500 parameters"),
        pytest.param("a" * 60_000, id="60 kB"),
        pytest.param("%" * 60_000, id="60 kB of percent signs"),
        pytest.param("&" * 60_000, id="60 kB of &"),
    ],
)
def test_anything_else_is_refused(query):
    """B03, B05, B07, B11-B13: missing, twice (never check one and use the other), or not of its form."""
    with pytest.raises(BadParams) as refusal:
        read_params(query)
    assert (refusal.value.http_status, refusal.value.reason) == (403, "params")


def test_digits_cannot_move_from_the_timestamp_into_the_nonce():
    """The signature has no separators (B13), the timestamp has ten digits."""
    moved = (TIMESTAMP[:-1], TIMESTAMP[-1] + NONCE)
    assert sorted([*moved, "~"])[0] != TIMESTAMP
    with pytest.raises(BadParams):
        read_params(f"signature={PLAIN_SIGNATURE}&timestamp={moved[0]}&nonce={moved[1]}")


def test_markup_in_a_nonce_is_read_and_stays_text():
    """`]]></Nonce><Encrypt>` is printable; `close` escapes it (B74)."""
    query = f"signature=s&timestamp={TIMESTAMP}&nonce=%5D%5D%3E%3C/Nonce%3E%3CEncrypt%3E"
    assert read_params(query).nonce == "]]></Nonce><Encrypt>"


# -- opening ---------------------------------------------------------------------------------------------------------

OPENS = [
    # mode, parameters, body, what comes out, sealed with
    pytest.param("plain", PLAIN, PLAIN_BODY, PLAIN_BODY, None, id="plain: plain"),
    pytest.param(
        "plain", Params(PLAIN_SIGNATURE, TIMESTAMP, NONCE, "", "raw"), PLAIN_BODY, PLAIN_BODY, None, id="plain: raw"
    ),
    pytest.param("compatible", PLAIN, PLAIN_BODY, PLAIN_BODY, None, id="compatible: plain"),
    pytest.param(
        "compatible", AES, COMPATIBLE_BODY, INNER, CIPHER, id="compatible: only what is decrypted counts (B26)"
    ),
    pytest.param("compatible", AES, SAFE_BODY, INNER, CIPHER, id="compatible: AES"),
    pytest.param("safe", AES, SAFE_BODY, INNER, CIPHER, id="safe: AES"),
    pytest.param("safe", AES, COMPATIBLE_BODY, INNER, CIPHER, id="safe: compatible body"),
    pytest.param("safe", AES, outer(f"\n {ENCRYPTED}\n"), INNER, CIPHER, id="safe: blanks around Encrypt"),
    pytest.param("safe", AES, b"\xef\xbb\xbf" + SAFE_BODY, INNER, CIPHER, id="safe: BOM"),
    pytest.param(
        "safe",
        AES,
        f"<xml><AppId>wx1</AppId><Encrypt>{ENCRYPTED}</Encrypt></xml>".encode(),
        INNER,
        CIPHER,
        id="safe: component",
    ),
    pytest.param(
        "safe", params(signature=""), SAFE_BODY, INNER, CIPHER, id="safe: signature missing is no matter (B29)"
    ),
    pytest.param(
        "safe", params(signature="0" * 40), SAFE_BODY, INNER, CIPHER, id="safe: signature says nothing about the body"
    ),
]


@pytest.mark.parametrize(("mode", "given", "body", "xml", "cipher"), OPENS)
def test_what_the_mode_allows_opens(mode, given, body, xml, cipher):
    """The letter knows what it was sealed with, so that the reply is sealed alike."""
    letter = envelope(mode).open(given, body)
    assert (letter.xml, letter.cipher) == (xml, cipher)


EMPTY_SIGNED = params(msg_signature=PLAIN_SIGNATURE)

REFUSED = [
    # mode, parameters, body, error
    *(  # B20-B24: authentication
        pytest.param(mode, given, body, error, id=f"{mode}: {what}")
        for mode in ("safe", "compatible")
        for given, body, error, what in [
            (params(msg_signature="0" * 40), SAFE_BODY, BadSignature, "wrong msg_signature (B20)"),
            (params(msg_signature=PLAIN_SIGNATURE), SAFE_BODY, BadSignature, "the plain signature for msg_signature"),
            (params(msg_signature=""), SAFE_BODY, BadSignature, "no msg_signature (B21)"),
            (params(msg_signature="é"), SAFE_BODY, BadSignature, "msg_signature not ASCII"),
            (params(msg_signature="\udcff"), SAFE_BODY, BadSignature, "msg_signature not UTF-8"),
            (params(msg_signature=MSG_SIGNATURE.upper()), SAFE_BODY, BadSignature, "msg_signature in capitals"),
            (params(nonce="1320562133"), SAFE_BODY, BadSignature, "another nonce"),
            (params(timestamp="1409735670"), SAFE_BODY, BadSignature, "another timestamp"),
            (EMPTY_SIGNED, outer(), BadXml, "no Encrypt (B23)"),
            (EMPTY_SIGNED, outer(""), BadXml, "empty Encrypt (B23)"),
            (EMPTY_SIGNED, outer(" \n"), BadXml, "blank Encrypt (B23)"),
            (EMPTY_SIGNED, b"<xml><Encrypt/></xml>", BadXml, "Encrypt in short form (B23)"),
            (EMPTY_SIGNED, PLAIN_BODY, BadXml, "plain body (B23)"),
            (AES, outer(OTHER_ENCRYPTED), BadSignature, "another ciphertext (B24)"),
            (AES, outer(FLIPPED), BadSignature, "a flipped bit (B24)"),
            (AES, outer(ENCRYPTED, OTHER_ENCRYPTED), BadXml, "two Encrypt, signed first (B25)"),
            (AES, outer(OTHER_ENCRYPTED, ENCRYPTED), BadXml, "two Encrypt, signed last (B25)"),
            (AES, outer(ENCRYPTED, ENCRYPTED), BadXml, "two equal Encrypt (B25)"),
            (AES, f"<xml><Encrypt>{ENCRYPTED}<a/></Encrypt></xml>".encode(), BadXml, "Encrypt with a child"),
            (AES, f"<xml><Encrypt a='b'>{ENCRYPTED}</Encrypt></xml>".encode(), BadXml, "Encrypt with an attribute"),
            (AES, f"<xml><a><Encrypt>{ENCRYPTED}</Encrypt></a></xml>".encode(), BadXml, "Encrypt further down"),
            (AES, b"<!DOCTYPE xml>" + SAFE_BODY, BadXml, "DOCTYPE around it (B60)"),
            (AES, SAFE_BODY[:-1], BadXml, "truncated"),
            (AES, b"", BadXml, "empty body"),
            (AES, b"\xff" + SAFE_BODY, BadXml, "not UTF-8"),
            (AES, b'{"Encrypt": "' + ENCRYPTED.encode() + b'"}', BadXml, "JSON"),
        ]
    ),
    *(  # B22, B27: downgrades
        pytest.param(
            "safe", params(encrypt_type=kind), body, Downgrade, id=f"safe: encrypt_type {kind!r}, {what} body (B22)"
        )
        for kind in ("", "raw", "AES", "aes ", "Aes", "none", "aes\0", "ａｅｓ")
        for body, what in ((PLAIN_BODY, "plain"), (SAFE_BODY, "AES"), (COMPATIBLE_BODY, "compatible"))
    ),
    pytest.param("safe", PLAIN, PLAIN_BODY, Downgrade, id="safe: a plain push (B22)"),
    pytest.param("safe", params(msg_signature=""), PLAIN_BODY, BadXml, id="safe: a plain body that claims AES"),
    pytest.param("compatible", params(encrypt_type=""), PLAIN_BODY, BadXml, id="compatible: msg_signature means AES"),
    pytest.param("compatible", params(msg_signature=""), PLAIN_BODY, BadXml, id="compatible: encrypt_type means AES"),
    pytest.param("compatible", PLAIN, COMPATIBLE_BODY, BadSignature, id="compatible: Encrypt means AES"),
    pytest.param(
        "compatible",
        params(encrypt_type="raw", msg_signature=""),
        COMPATIBLE_BODY,
        BadSignature,
        id="compatible: raw (B27)",
    ),
    pytest.param("compatible", PLAIN, outer(""), BadXml, id="compatible: an empty Encrypt means AES"),
    pytest.param(
        "compatible", PLAIN, b"<xml><Encrypt/><Content>forged</Content></xml>", BadXml, id="compatible: <Encrypt/>"
    ),
    # B28: AES to a server without a key
    pytest.param("plain", AES, SAFE_BODY, Downgrade, id="plain: AES (B28)"),
    pytest.param("plain", params(msg_signature=""), SAFE_BODY, Downgrade, id="plain: encrypt_type aes"),
    pytest.param("plain", params(encrypt_type=""), SAFE_BODY, Downgrade, id="plain: msg_signature"),
    # plain signatures
    *(
        pytest.param(mode, Params(claimed, TIMESTAMP, NONCE), PLAIN_BODY, BadSignature, id=f"{mode}: signature {what}")
        for mode in ("plain", "compatible")
        for claimed, what in [
            ("", "missing"),
            ("0" * 40, "wrong"),
            ("é", "not ASCII"),
            ("\udcff\ud800", "not UTF-8"),
            (MSG_SIGNATURE, "of the ciphertext"),
            (sign("", TIMESTAMP, NONCE), "of an empty token"),
        ]
    ),
]


@pytest.mark.parametrize(("mode", "given", "body", "error"), REFUSED)
def test_anything_else_is_refused_whatever_else_holds(mode, given, body, error):
    """The mode comes from the configuration, never from the request; no sign of AES ever falls back to plain."""
    with pytest.raises(Refused) as refusal:
        envelope(mode).open(given, body)
    assert type(refusal.value) is error
    assert refusal.value.http_status == 403
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "encrypted",
    [
        pytest.param("A" * 64, id="garbage"),
        pytest.param(Cipher(KEY, "wx0000000000000001").encrypt(INNER), id="another AppID"),
        pytest.param(OLD_CIPHER.encrypt(INNER), id="another key"),
        pytest.param("!", id="not Base64"),
        pytest.param("密文", id="not ASCII"),
    ],
)
def test_a_signed_ciphertext_that_does_not_open_is_refused(encrypted):
    """The Token may leak before the key does. All alike, with one key or two."""
    given = params(msg_signature=sign(TOKEN, TIMESTAMP, NONCE, encrypted))
    for ciphers in ((CIPHER,), (CIPHER, Cipher("B" * 43, APPID))):
        with pytest.raises(BadCiphertext) as refusal:
            envelope("safe", *ciphers).open(given, outer(encrypted))
        assert str(refusal.value) == "cannot be decrypted"


@pytest.mark.parametrize("key", ["current", "previous"])
def test_a_push_under_either_key_opens_and_its_reply_is_sealed_alike(key):
    """B36: while keys are exchanged both are in use, and WeChat expects its own back."""
    used = {"current": CIPHER, "previous": OLD_CIPHER}[key]
    encrypted = used.encrypt(INNER)
    both = envelope("safe", CIPHER, OLD_CIPHER)
    letter = both.open(params(msg_signature=sign(TOKEN, TIMESTAMP, NONCE, encrypted)), outer(encrypted))
    assert (letter.xml, letter.cipher) == (INNER, used)
    sealed = xmltodict.parse(both.close("<xml/>", letter.cipher, nonce=NONCE, now=1))["xml"]
    assert used.decrypt(sealed["Encrypt"]) == b"<xml/>"


@pytest.mark.parametrize(
    ("vector", "sample", "modes", "content"),
    [
        ("V8", "req-compat-encrypt.xml", ("compatible", "safe"), "你好"),
        ("V10", "req-safe-encrypt.xml", ("compatible", "safe"), "11"),
    ],
)
def test_captured_packets_open(vector, sample, modes, content):
    """Real pushes of 2014 and 2019, with the URL that they came with."""
    v = VECTORS[vector]
    query = (
        f"signature={v['signature']}&timestamp={v['timestamp']}&nonce={v['nonce']}"
        f"&openid=o_1&encrypt_type=aes&msg_signature={v['msg_signature']}"
    )
    body = (HERE / "samples" / sample).read_bytes()
    cipher = Cipher(v["encoding_aes_key"], v["receiver_id"])
    for mode in modes:
        letter = Envelope(v["token"], mode, (cipher,)).open(read_params(query), body)
        assert letter.xml.decode() == v["plaintext"]
        assert f"<Content><![CDATA[{content}]]></Content>" in letter.xml.decode()


# -- closing ---------------------------------------------------------------------------------------------------------

REPLY = "<xml><Content><![CDATA[你好 ]]]]><![CDATA[> 😀]]></Content></xml>"


def test_wechatpy_verifies_and_opens_what_we_seal():
    """A peer that shares no code with us."""
    sealed = envelope("safe").close(REPLY, CIPHER, nonce=NONCE, now=1413192605)
    fields = xmltodict.parse(sealed)["xml"]
    assert list(fields) == ["Encrypt", "MsgSignature", "TimeStamp", "Nonce"]  # WeChat's spelling, and no ToUserName
    assert (fields["TimeStamp"], fields["Nonce"]) == ("1413192605", NONCE)
    opened = WeChatCrypto(TOKEN, KEY, APPID).decrypt_message(sealed, fields["MsgSignature"], "1413192605", NONCE)
    assert opened == REPLY


def test_we_open_what_wechatpy_seals():
    """As if it were WeChat."""
    packet = WeChatCrypto(TOKEN, KEY, APPID).encrypt_message(INNER.decode(), NONCE, TIMESTAMP)
    given = params(msg_signature=xmltodict.parse(packet)["xml"]["MsgSignature"])
    assert envelope("safe").open(given, packet.encode()).xml == INNER


def test_a_plain_letters_reply_stays_plain():
    """In compatible mode, too: the answer is of the letter's kind."""
    assert envelope("plain").close(REPLY, None, nonce=NONCE, now=1) == REPLY
    assert envelope("compatible").close(REPLY, None, nonce=NONCE, now=1) == REPLY


def test_each_sealing_differs_and_says_the_same():
    """Fresh random bytes and a signature of its own."""
    sealed = [xmltodict.parse(envelope("safe").close(REPLY, CIPHER, nonce=NONCE, now=1))["xml"] for _ in range(3)]
    assert len({fields["Encrypt"] for fields in sealed}) == len({fields["MsgSignature"] for fields in sealed}) == 3
    assert {CIPHER.decrypt(fields["Encrypt"]).decode() for fields in sealed} == {REPLY}


@pytest.mark.parametrize("nonce", ["]]></Nonce><Encrypt>evil</Encrypt><Nonce>", "<&>\"'", "]]>", "%0d%0a"])
def test_the_nonce_goes_back_as_text(nonce):
    """B74: it is a stranger's, and stays in its element."""
    sealed = envelope("safe").close(REPLY, CIPHER, nonce=nonce, now=1413192605)
    fields = xmltodict.parse(sealed)["xml"]
    assert list(fields) == ["Encrypt", "MsgSignature", "TimeStamp", "Nonce"]
    assert fields["Nonce"] == nonce
    assert fields["MsgSignature"] == sign(TOKEN, "1413192605", nonce, fields["Encrypt"])


def test_no_declaration_no_bom_nothing_before_the_root():
    """None of WeChat's samples has any."""
    assert re.match(r"<xml><Encrypt><!\[CDATA\[", envelope("safe").close(REPLY, CIPHER, nonce=NONCE, now=1))


# -- the URL's verification ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
@pytest.mark.parametrize("echostr", ["4375120948345356249", "<script>", "你\udcff", " a\r\nb ", "x" * 10_000])
def test_a_good_get_gets_its_echostr_back(mode, echostr):
    """In all three modes the GET is the same plain one; the echostr is not looked into."""
    assert envelope(mode).verify_url(params(echostr=echostr)) == echostr


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"signature": "0" * 40, "echostr": "e"}, BadSignature),
        ({"signature": "", "echostr": "e"}, BadSignature),
        ({"signature": "é", "echostr": "e"}, BadSignature),
        ({"signature": "", "msg_signature": PLAIN_SIGNATURE, "echostr": "e"}, BadSignature),
        ({"signature": MSG_SIGNATURE, "echostr": ENCRYPTED}, BadSignature),
        ({"nonce": "other", "echostr": "e"}, BadSignature),
        ({"echostr": ""}, BadParams),
    ],
)
def test_without_our_token_there_is_no_echo(mode, changed, error):
    """B02-B04, B08: the echostr is a stranger's text and goes back to WeChat only."""
    with pytest.raises(error):
        envelope(mode).verify_url(params(**changed))


def test_what_a_query_does_not_have_is_empty():
    assert tuple(read_params(f"timestamp={TIMESTAMP}&nonce={NONCE}")) == ("", TIMESTAMP, NONCE, "", "", "")


SIGNATURE, SEALED = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"
USUAL = f"signature={SIGNATURE}&timestamp=1700000000&nonce=1320562132&openid=oABC_d-1"
NEARLY_USUAL = [
    USUAL,
    f"{USUAL}&encrypt_type=aes&msg_signature={SEALED}",
    f"{USUAL}&encrypt_type=raw",
    f"{USUAL}&encrypt_type=aes&msg_signature=",
    f"{USUAL}&encrypt_type=aes",
    f"{USUAL}&openid=oABC",
    USUAL.replace("oABC_d-1", ""),
    USUAL.replace("1320562132", "a~b%2B"),
    USUAL.replace("signature=0", "signature=Z"),
]


@pytest.mark.parametrize("query", NEARLY_USUAL)
def test_what_wechat_usually_sends_is_read_like_anything_else(query):
    """One expression reads it; one more parameter, and it is read piece by piece."""
    assert read_params(query) == read_params(f"{query}&mine=1") == read_params(f"mine=1&{query}")


@pytest.mark.parametrize("query", NEARLY_USUAL[:2])
@pytest.mark.parametrize("nonce", ["1320562132", "aZ09", "9" * 128])
@pytest.mark.parametrize("openid", ["oABC_d-1", "", "o" * 64])
def test_what_wechat_usually_sends_is_read_by_one_expression(query, nonce, openid):
    """In a third of the time, for each push."""
    assert envelope_module._USUAL_QUERY.fullmatch(query.replace("1320562132", nonce).replace("oABC_d-1", openid))


@pytest.mark.parametrize("body", [SAFE_BODY, re.sub(rb"(?<!\])><(?!!)", b">\n<", SAFE_BODY), b"\n" + SAFE_BODY + b"\n"])
@pytest.mark.parametrize("account", [b"gh_1", b"", b"gh_680bdefc8c5d", b"a.b-c@Z"])
def test_no_parser_sees_what_wechat_sends_in_safe_mode_before_it_is_authentic(body, account, monkeypatch):
    monkeypatch.setattr(xmlio, "load", None)
    assert envelope("safe").open(AES, body.replace(b"gh_1", account)).xml == INNER


@pytest.mark.parametrize(
    "again", ["signature=1", "timestamp=1700000000", "nonce=1", "encrypt_type=aes", "msg_signature=1"]
)
def test_a_parameter_behind_what_is_usual_counts_as_one_that_is_given_twice(again):
    with pytest.raises(BadParams):
        read_params(f"{USUAL}&encrypt_type=aes&msg_signature={SEALED}&{again}")
