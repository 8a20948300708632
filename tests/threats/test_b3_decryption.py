"""Threats B3: whatever is wrong with a ciphertext, the answer is the same."""

import base64
import struct
import time
import xml.etree.ElementTree as ET

import pytest
from live import APPID, TOKEN, Live, assert_refused, fresh, warnings_of
from strange_input import FORGERIES, aligned, full, noise, pad, sealed, uncbc
from wechat import HttpAnswer, sign, text

from wx_mp_svr import ConfigError, WxMpServer


@pytest.fixture(scope="module")
def refusal(safe: Live) -> HttpAnswer:
    """What a wrong msg_signature gets."""
    letter = safe.wechat.letter(text("reference"))
    answer = safe.wechat.post({**letter.query, "msg_signature": "0" * 40}, letter.body)
    assert_refused(answer)
    return answer


ONE_OF_EACH = ("b40-one-character", "b41-17-bytes", "b42-pad-33", "b43-ffffffff", "b44-another", "b47-no-xml")


@pytest.mark.parametrize("name", list(FORGERIES))
def test_b46_no_failure_can_be_told_from_another(safe, refusal, name):
    """An oracle would decrypt messages byte by byte: status, headers and body are the same for all of them."""
    letter = safe.wechat.envelope(FORGERIES[name])
    answer = safe.refuses(letter.query, letter.body)
    assert answer.comparable == refusal.comparable


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_b46_nor_in_compatible_mode(compatible, refusal, name):
    letter = compatible.wechat.envelope(FORGERIES[name])
    answer = compatible.refuses(letter.query, letter.body)
    assert answer.comparable == refusal.comparable


def test_b46_the_ground_truth_is_accepted(safe):
    """What the forgeries are changed from is good, so each of them fails for its own reason alone."""
    for plain_bytes in (pad(full()), pad(aligned(0)), pad(aligned(5))):
        xml = plain_bytes[20 : 20 + struct.unpack(">I", plain_bytes[16:20])[0]].decode()
        letter = safe.wechat.envelope(sealed(plain_bytes))
        assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "inside"


def test_b46_the_log_has_one_word_for_all_of_them(caplog):
    with fresh() as live:
        for name in ONE_OF_EACH[:5]:  # the last one is refused for its XML
            letter = live.wechat.envelope(FORGERIES[name])
            live.wechat.post(letter.query, letter.body)
    refused = [line for line in warnings_of(caplog) if line.startswith("refused ") and "remote=" in line]
    assert len(refused) == 5
    assert len({line.split("; probably:")[0] for line in refused}) == 1  # the first one of a minute has a hint
    assert refused[0].startswith("refused reason=decrypt remote=127.0.0.1")


def test_b40_blanks_around_the_ciphertext_are_left_away(aes):
    """The signature is over the text without them."""
    xml = text("blanks")
    letter = aes.wechat.letter(xml, "safe")
    body = letter.body.replace(b"<Encrypt><![CDATA[", b"<Encrypt>\n  <![CDATA[ ").replace(b"]]></Enc", b" ]]>\n </Enc")
    assert aes.wechat.open(aes.wechat.post(letter.query, body), xml)["Content"] == "blanks"


def test_b48_nothing_is_decrypted_before_msg_signature_holds(caplog):
    """So that only somebody who knows the Token could measure how long decryption takes."""
    names = ["b40-one-character", "b42-pad-33", "b44-another", "b45-another-key", "b47-no-xml"]
    with fresh() as live:
        for name in names:
            letter = live.wechat.envelope(FORGERIES[name], msg_signature="0" * 40)
            live.refuses(letter.query, letter.body)
    refused = [line for line in warnings_of(caplog) if line.startswith("refused ") and "remote=" in line]
    assert len(refused) == len(names)
    assert all(line.startswith("refused reason=signature ") for line in refused)


def test_b49_every_pad_length_works(safe):
    seen = set()
    for count in range(1, 33):
        xml = text("p" * count, MsgId=4900 + count, FromUserName=f"oPad{count:02}")
        plain_bytes = pad(full(xml.encode()))
        seen.add(plain_bytes[-1])
        letter = safe.wechat.envelope(sealed(plain_bytes))
        assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "p" * count
    assert seen == set(range(1, 33))


@pytest.mark.parametrize(
    "filler",
    [bytes(16), b"\xff" * 16, noise(16), b"<xml>\0\xff\xfe</xml>\n\n"],
    ids=["zeros", "ones", "noise", "markup"],
)
def test_b49_the_filler_is_any_16_bytes(safe, filler):
    filler = filler[:16].ljust(16, b"\0")
    xml = text("filler", FromUserName="oFiller" + filler.hex())
    letter = safe.wechat.envelope(sealed(pad(filler + full(xml.encode())[16:])))
    assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "filler"


@pytest.mark.parametrize("content", ["hello", "我是中文", "😀", "x" * 31, "x" * 32, "x" * 33])
def test_b50_a_reply_is_sealed_as_wechat_prescribes(aes, content):
    letter = aes.wechat.letter(text(content))
    root = ET.fromstring(aes.wechat.post(letter.query, letter.body).body)
    fields = {element.tag: element.text or "" for element in root}
    assert sorted(fields) == ["Encrypt", "MsgSignature", "Nonce", "TimeStamp"]
    assert fields["MsgSignature"] == sign(TOKEN, fields["TimeStamp"], fields["Nonce"], fields["Encrypt"])
    assert abs(int(fields["TimeStamp"]) - time.time()) < 60
    ciphertext = base64.b64decode(fields["Encrypt"], validate=True)
    assert len(ciphertext) % 32 == 0
    plain_bytes = uncbc(ciphertext)
    count = plain_bytes[-1]
    assert 1 <= count <= 32
    assert plain_bytes.endswith(bytes([count]) * count)
    (length,) = struct.unpack(">I", plain_bytes[16:20])
    assert plain_bytes[20 + length : -count] == APPID.encode()
    assert ET.fromstring(plain_bytes[20 : 20 + length]).findtext("Content") == content


def test_b50_every_reply_has_a_filler_of_its_own(aes):
    """Under a fixed IV it is all that makes two equal replies differ."""
    letter = aes.wechat.letter(text("same"))
    answers = [aes.wechat.post(letter.query, letter.body).body for _ in range(20)]
    sealed_texts = [ET.fromstring(body).findtext("Encrypt") or "" for body in answers]
    fillers = {uncbc(base64.b64decode(value))[:16] for value in sealed_texts}
    assert len(fillers) == 20
    assert len({value[:22] for value in sealed_texts}) == 20


@pytest.mark.parametrize(
    "key",
    [
        "k" * 42,
        "k" * 44,
        "k" * 42 + "=",
        "k" * 43 + "=",
        "k" * 42 + "!",
        "k" * 42 + "你",
        " " + "k" * 42,
        "k" * 42 + "\n",
        "k",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["aes_key", "aes_key_old"])
def test_b51_a_key_that_is_none_is_a_config_error(key, name):
    with pytest.raises(ConfigError) as caught:
        Live(**{name: key})
    assert isinstance(caught.value, ValueError)
    assert f"WX_MP_{name.upper()}" in str(caught.value)
    assert len(key) < 3 or key not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "ab", "a" * 33, "with blank", "中文令牌", '"quoted"', "tok-en"])
def test_b51_a_token_that_is_none_is_a_config_error(token):
    with pytest.raises(ConfigError) as caught:
        Live(token=token)
    assert "WX_MP_TOKEN" in str(caught.value)
    assert len(token) < 3 or token not in str(caught.value)


def test_b51_no_token_at_all_is_a_config_error():
    with pytest.raises(ConfigError, match="WX_MP_TOKEN"):
        WxMpServer()


@pytest.mark.parametrize("last", "FGHE")
def test_b51_a_key_whose_last_bits_are_discarded_is_accepted(last):
    """The official sample key is one of these."""
    key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF" + last
    with fresh(aes_key=key) as live:
        assert live.wechat.ask(text("sample key"))["Content"] == "sample key"
