"""The AES envelope: known answers, agreement with another library, and every way to be undecipherable.

The ciphertexts that no honest sender would write are made by `seal`, an independent helper on another AES library.
"""

import base64
import json
import os
import re
import secrets
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as OtherCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from store_contract import forked, may_fork
from wechatpy.crypto import WeChatCrypto

from wx_mp_svr.errors import BadCiphertext, ConfigError, Refused
from wx_mp_svr.wire.crypto import Cipher, ReusedCipher, key_of
from wx_mp_svr.wire.signature import sign

HERE = Path(__file__).parent.parent
VECTORS = json.loads((HERE / "vectors.json").read_text("utf-8"))["aes_vectors"]

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OTHER_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"
APPID = "wxb11529c136998cb6"
RECEIVER = APPID.encode()
MESSAGE = "<xml><Content><![CDATA[我是中文]]></Content></xml>".encode()


def by_id(vector):
    return vector["id"]


# -- the independent helper ------------------------------------------------------------------------------------------


def aes(blocks, key=KEY):
    """Encrypt whole blocks: AES-256-CBC, the IV is the key's first half."""
    raw = base64.b64decode(key + "=")
    encryptor = OtherCipher(algorithms.AES(raw), modes.CBC(raw[:16])).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def unaes(blocks, key=KEY):
    """Decrypt whole blocks."""
    raw = base64.b64decode(key + "=")
    decryptor = OtherCipher(algorithms.AES(raw), modes.CBC(raw[:16])).decryptor()
    return decryptor.update(blocks) + decryptor.finalize()


def b64(data):
    return base64.b64encode(data).decode()


def seal(message=MESSAGE, appid=RECEIVER, *, filler=b"0123456789abcdef", length=None, padding=None, key=KEY):
    """Write a ciphertext in which length, AppID and padding (a function of the missing bytes) may be wrong at will."""
    plain = filler + (struct.pack(">I", len(message)) if length is None else length) + message + appid
    missing = 32 - len(plain) % 32
    plain += bytes([missing]) * missing if padding is None else padding(missing)
    return b64(aes(plain, key))


# -- what holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("v", VECTORS, ids=by_id)
def test_published_ciphertexts_open(v):
    """Requests and replies alike, JSON body (V1, V2) and XML: the body is bytes to us."""
    opened = Cipher(v["encoding_aes_key"], v["receiver_id"]).decrypt(v["encrypt"])
    assert opened == v["plaintext"].encode()
    assert len(opened) == v["plaintext_bytes"]


@pytest.mark.parametrize("v", VECTORS, ids=by_id)
def test_with_the_published_filler_the_ciphertext_is_the_published_one(v):
    """Byte for byte, for the vectors of both directions."""
    cipher = Cipher(v["encoding_aes_key"], v["receiver_id"])
    assert cipher.encrypt(v["plaintext"].encode(), filler=v["random16"].encode()) == v["encrypt"]


def test_the_vectors_json_body_is_read_as_it_came():
    """WeChat's worked example holds JSON; the cipher does not mind."""
    v = next(v for v in VECTORS if v["id"] == "V1")
    opened = json.loads(Cipher(v["encoding_aes_key"], v["receiver_id"]).decrypt(v["encrypt"]))
    assert (opened["Event"], opened["debug_str"], opened["CreateTime"]) == ("debug_demo", "hello world", 1714112445)


def test_the_published_reply_packet_opens():
    """V7's packet as it stands in the samples."""
    packet = (HERE / "samples/rsp-encrypted.xml").read_text("utf-8")
    encrypted = re.search(r"<Encrypt><!\[CDATA\[(.*?)\]\]>", packet)[1]
    v = next(v for v in VECTORS if v["id"] == "V7")
    assert Cipher(v["encoding_aes_key"], v["receiver_id"]).decrypt(encrypted).decode() == v["plaintext"]
    assert sign(v["token"], v["timestamp"], v["nonce"], encrypted) in packet


def test_what_we_seal_wechatpy_opens():
    """A peer that shares no code with us."""
    encrypted = Cipher(KEY, APPID).encrypt(MESSAGE)
    packet = {"Encrypt": encrypted}
    peer = WeChatCrypto("spamtest", KEY, APPID)
    opened = peer.decrypt_message(packet, sign("spamtest", "1409735669", "n", encrypted), "1409735669", "n")
    assert opened == MESSAGE.decode()


def test_what_wechatpy_seals_we_open():
    """And the other way round."""
    packet = WeChatCrypto("spamtest", KEY, APPID).encrypt_message(MESSAGE.decode(), "n", "1409735669")
    encrypted = re.search(r"<Encrypt><!\[CDATA\[(.*?)\]\]>", packet)[1]
    assert Cipher(KEY, APPID).decrypt(encrypted) == MESSAGE


@given(st.binary(max_size=500))
def test_any_bytes_come_back(message):
    """The length says where the message ends, so that it may end like padding or like an AppID."""
    cipher = Cipher(KEY, APPID)
    assert cipher.decrypt(cipher.encrypt(message)) == message
    assert cipher.decrypt(seal(message)) == message


@pytest.mark.parametrize("pad", range(1, 33))
def test_every_pad_length_opens_and_is_written(pad):
    """1 to 32: a 16-byte unpadder rejects half of WeChat's packets. What is aligned already gets a full block."""
    message = b"m" * ((-20 - len(APPID) - pad) % 32 + 32)
    encrypted = Cipher(KEY, APPID).encrypt(message, filler=b"0123456789abcdef")
    assert encrypted == seal(message, padding=lambda missing: bytes([pad]) * pad)
    assert unaes(base64.b64decode(encrypted))[-pad - 1 :] == APPID.encode()[-1:] + bytes([pad]) * pad
    assert Cipher(KEY, APPID).decrypt(encrypted) == message


@pytest.mark.parametrize("filler", [bytes(16), b"\xff" * 16, bytes(range(240, 256)), b"]]>\0</xml>\r\n\x20abc"])
def test_the_filler_is_opaque_bytes(filler):
    """Hex digits in every capture, but nobody promised."""
    assert Cipher(KEY, APPID).decrypt(seal(filler=filler)) == MESSAGE


@pytest.mark.parametrize("message", [b"", b"\0", "😀".encode(), b"\xff\xfe", b"x" * 100_000], ids=len)
def test_the_length_counts_bytes(message):
    """Not characters."""
    plain = unaes(base64.b64decode(Cipher(KEY, APPID).encrypt(message)))
    assert struct.unpack(">I", plain[16:20]) == (len(message),)
    assert plain[20:].startswith(message + APPID.encode())


def test_each_sealing_takes_fresh_random_bytes():
    """The IV is fixed: without them equal replies would have equal ciphertexts, down to the first block."""
    sealed = {Cipher(KEY, APPID).encrypt(MESSAGE) for _ in range(50)}
    assert len({text[:20] for text in sealed}) == 50
    fillers = {unaes(base64.b64decode(text))[:16] for text in sealed}
    assert len(fillers) == 50
    assert {len(filler) for filler in fillers} == {16}


# -- what does not ---------------------------------------------------------------------------------------------------

GOOD = seal()
GOOD_BYTES = base64.b64decode(GOOD)
BARE = len(MESSAGE) + len(APPID)


def flipped(position):
    data = bytearray(GOOD_BYTES)
    data[position] ^= 1
    return b64(bytes(data))


UNDECIPHERABLE = {
    # Base64 (B40)
    "empty": "",
    "blank": " ",
    "one character": "A",
    "two": "AA",
    "one character short": GOOD[:-1],
    "three characters short": GOOD[:-3],
    "not Base64": "!" * 64,
    "URL-safe alphabet": "-_" * 32,
    "a blank inside": GOOD[:10] + " " + GOOD[10:],
    "a newline inside": GOOD[:64] + "\n" + GOOD[64:],
    "a NUL inside": GOOD[:64] + "\0" + GOOD[64:],
    "not ASCII": "é" * 64,
    "full-width": "Ａ" * 64,
    "a lone surrogate": "\ud800" * 64,
    "an escaped byte": "\udcff" * 64,
    # size (B41)
    **{f"{size} bytes": b64(b"\x5a" * size) for size in (1, 15, 16, 17, 31, 32, 33, 48, 64)},
    "one byte more": b64(GOOD_BYTES + b"\0"),
    "one byte less": b64(GOOD_BYTES[:-1]),
    # padding (B42)
    "pad 0": seal(padding=lambda missing: bytes(missing)),
    "pad 33": seal(padding=lambda missing: bytes([33]) * (missing + 32)),
    "pad 255": seal(padding=lambda missing: b"\xff" * missing),
    "pad one too high": seal(padding=lambda missing: bytes([missing + 1]) * missing),
    "pad one too low": seal(padding=lambda missing: bytes([missing - 1]) * missing),
    "first pad byte wrong": seal(padding=lambda missing: b"\0" + bytes([missing]) * (missing - 1)),
    "only the last pad byte right": seal(padding=lambda missing: bytes(missing - 1) + bytes([missing])),
    "ISO 10126 padding": seal(padding=lambda missing: b"\xa5" * (missing - 1) + bytes([missing])),
    "no padding at all": seal(message=b"m" * (64 - 20 - len(APPID)), padding=lambda missing: b""),
    "nothing but padding": b64(aes(b"\x20" * 32)),
    "padding longer than the text": b64(aes(b"\x20" * 16)),
    "padding over the length": b64(aes(b"f" * 14 + b"\x12" * 18)),
    "padding up to the head": b64(aes(b"f" * 16 + b"\x00\x00\x00\x00" + b"\x0c" * 12)),  # no AppID
    # length (B43)
    "length one too high": seal(length=struct.pack(">I", len(MESSAGE) + 1)),
    "length one too low": seal(length=struct.pack(">I", len(MESSAGE) - 1)),
    "length 0": seal(length=bytes(4)),
    "length over the AppID": seal(length=struct.pack(">I", BARE)),
    "length over AppID and padding": seal(length=struct.pack(">I", BARE + 32 - (20 + BARE) % 32)),
    "length over the end": seal(length=struct.pack(">I", 100_000)),
    "length 2**31": seal(length=b"\x80\0\0\0"),
    "length 2**32 - 1": seal(length=b"\xff" * 4),
    "length minus 20": seal(length=struct.pack(">i", -20)),
    "length little-endian": seal(length=struct.pack("<I", len(MESSAGE))),
    # AppID (B44)
    "another AppID": seal(appid=b"wx2c2769f8efd9abc2"),
    "no AppID": seal(appid=b""),
    "AppID cut": seal(appid=APPID[:-1].encode()),
    "AppID beheaded": seal(appid=APPID[1:].encode()),
    "AppID and more": seal(appid=APPID.encode() + b"0"),
    "AppID twice": seal(appid=APPID.encode() * 2),
    "AppID in capitals": seal(appid=APPID.upper().encode()),
    "AppID and NUL": seal(appid=APPID.encode() + b"\0"),
    "AppID and blank": seal(appid=APPID.encode() + b" "),
    "AppID after a blank": seal(appid=b" " + APPID.encode()),
    "AppID not UTF-8": seal(appid=b"\xff\xfe\xfd"),
    # key and blocks (B45)
    "another key": seal(key=OTHER_KEY),
    "first block missing": b64(GOOD_BYTES[16:]),
    "last block missing": b64(GOOD_BYTES[:-16]),
    "last two blocks missing": b64(GOOD_BYTES[:-32]),
    "blocks exchanged": b64(GOOD_BYTES[16:32] + GOOD_BYTES[:16] + GOOD_BYTES[32:]),
    "twice": b64(GOOD_BYTES * 2),
    "a zero block behind": b64(GOOD_BYTES + bytes(16)),
    "a bit of the last block flipped": flipped(-1),
    "a bit before the last block flipped": flipped(-17),
    "random 32 bytes": b64(bytes(range(32))),
    "random 64 bytes": b64(bytes(range(64))),
    "random 320 bytes": b64(bytes(i * 7 % 256 for i in range(320))),
}


@pytest.mark.parametrize("encrypted", UNDECIPHERABLE.values(), ids=UNDECIPHERABLE.keys())
def test_whatever_is_wrong_the_error_is_the_same(encrypted):
    """A difference would be an oracle (B46): same class, same text, same number."""
    with pytest.raises(BadCiphertext) as refusal:
        Cipher(KEY, APPID).decrypt(encrypted)
    error = refusal.value
    assert isinstance(error, Refused)
    assert (type(error), str(error), error.http_status, error.wx_code, error.reason) == (
        BadCiphertext,
        "cannot be decrypted",
        403,
        -40007,
        "decrypt",
    )


@given(st.binary(max_size=400))
def test_random_bytes_open_or_are_refused_and_nothing_else(data):
    """No exception of Python's own, whatever strangers send."""
    with pytest.raises(BadCiphertext):
        Cipher(KEY, APPID).decrypt(b64(data))


@given(st.text(max_size=100))
def test_random_text_is_refused_and_nothing_else(text):
    """The text of Encrypt is a stranger's."""
    with pytest.raises(BadCiphertext):
        Cipher(KEY, APPID).decrypt(text)


@given(st.binary(min_size=32, max_size=96).map(lambda data: data[: len(data) // 16 * 16]))
def test_random_plaintext_is_refused_and_nothing_else(plain):
    """Even somebody who has the key cannot make us slice at the wrong place."""
    with pytest.raises(BadCiphertext):
        Cipher(KEY, APPID).decrypt(b64(aes(plain)))


def test_a_packet_without_padding_is_refused():
    """Even if it ends with a zero, and with nothing behind its message."""
    sealed = seal(b"eleven here\0", b"", padding=lambda missing: b"")
    with pytest.raises(BadCiphertext):
        Cipher(KEY, "").decrypt(sealed)


def test_another_accounts_message_is_refused():
    """The AppID inside decides whom it is for; the same key does not help."""
    with pytest.raises(BadCiphertext):
        Cipher(KEY, "wx2c2769f8efd9abc2").decrypt(Cipher(KEY, APPID).encrypt(MESSAGE))


# -- the key (B51) ---------------------------------------------------------------------------------------------------


def test_a_key_is_the_base64_of_32_bytes():
    """And the cipher uses those very bytes."""
    raw = bytes(range(32))
    assert key_of(b64(raw)[:-1]) == raw
    assert key_of("A" * 43) == bytes(32)


@pytest.mark.parametrize("last", "GHEF")
def test_the_last_characters_two_low_bits_do_not_count(last):
    """Up to four EncodingAESKeys are the same key; WeChat's own sample key is not the canonical one."""
    assert key_of(KEY[:-1] + last) == base64.b64decode(KEY[:-1] + "E=")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("abc", id="short"),
        pytest.param("k" * 42, id="42"),
        pytest.param("k" * 44, id="44"),
        pytest.param(KEY + "=", id="44 with its ="),
        pytest.param("k" * 42 + "=", id="42 and ="),  # Base64 of 31 bytes
        pytest.param("k" * 41 + "==", id="41 and =="),
        pytest.param("=" * 43, id="nothing but ="),
        pytest.param("k" * 20 + "=" + "k" * 22, id="= inside"),
        pytest.param("k" * 42 + "\n", id="newline"),
        pytest.param(" " + "k" * 42, id="blank"),
        pytest.param("k" * 42 + "-", id="URL-safe alphabet"),
        pytest.param("k" * 42 + "!", id="not Base64"),
        pytest.param("k" * 42 + "\0", id="NUL"),
        pytest.param("k" * 42 + "ｋ", id="full-width"),
        pytest.param("钥" * 43, id="Chinese"),
        pytest.param("k" * 42 + "\ud800", id="lone surrogate"),
    ],
)
def test_a_key_that_is_none_is_a_configuration_error_at_once(key):
    """At start with the reason, never during a push; the message does not hold the key."""
    for make in (key_of, lambda bad: Cipher(bad, APPID)):
        with pytest.raises(ConfigError) as error:
            make(key)
        assert isinstance(error.value, ValueError)
        assert "43" in str(error.value)
        assert not key or (key not in str(error.value) and "kkk" not in str(error.value))


def test_nothing_shows_the_key():
    """Neither the cipher's repr nor its str."""
    key = b64(secrets.token_bytes(32))[:-1]
    cipher = Cipher(key, APPID)
    assert key not in repr(cipher) + str(cipher)
    assert repr(key_of(key)) not in repr(cipher)


# -- the cipher of the hot path ----------------------------------------------------------------------------------------


def test_a_reused_cipher_and_a_fresh_one_open_what_the_other_sealed():
    """Message after message: only the random filler, which nobody reads, depends on what came before."""
    key, appid = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx2c2769f8efd9abc2"
    reused, fresh = ReusedCipher(key, appid), Cipher(key, appid)
    for number in range(40):
        message = f"第{number}条".encode() * number
        assert fresh.decrypt(reused.encrypt(message)) == message
        assert reused.decrypt(fresh.encrypt(message)) == message
        with pytest.raises(BadCiphertext):
            reused.decrypt(fresh.encrypt(message)[:-4] + "AAAA")


def test_a_reused_cipher_serves_many_threads():
    cipher = ReusedCipher("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx2c2769f8efd9abc2")
    messages = [str(number).encode() * 50 for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda message: cipher.decrypt(cipher.encrypt(message)), messages)) == messages


def test_no_filler_is_used_twice(monkeypatch):
    """Under a fixed IV it is all that makes two equal messages differ: fresh ones from the system, however many at once."""
    asked = []

    def urandom(size, urandom=os.urandom):
        asked.append(urandom(size))
        return asked[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    cipher = ReusedCipher("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx2c2769f8efd9abc2")
    fillers = [cipher._filler() for _ in range(3 * 64 + 1)]
    assert len(set(fillers)) == 193
    assert all(filler in b"".join(asked) for filler in fillers)
    assert len(asked) == 4


@may_fork
def test_a_forked_child_seals_differently():
    """Neither its fillers nor the state of its CBC are its parent's."""
    cipher = ReusedCipher("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx2c2769f8efd9abc2")
    cipher.encrypt(b"before")
    with forked(lambda: [cipher.encrypt(b"x"), cipher._filler()]) as child:
        sealed, filler = child()
    assert (sealed, filler) != (cipher.encrypt(b"x"), cipher._filler())
    assert sealed[:20] != cipher.encrypt(b"x")[:20]
    assert cipher.decrypt(sealed) == b"x"
