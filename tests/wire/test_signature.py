"""The signature: WeChat's published digests hold, and every way to get one wrong is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from wx_mp_svr.errors import BadSignature, Refused
from wx_mp_svr.wire.signature import sign, verify

VECTORS = json.loads((Path(__file__).parent.parent / "vectors.json").read_text("utf-8"))
SIGNED = VECTORS["signature_vectors"] + [v for v in VECTORS["aes_vectors"] if v["signature"]]
SEALED = [v for v in VECTORS["aes_vectors"] if v["msg_signature"]]

TOKEN, TIMESTAMP, NONCE = "AAAAA", "1714036504", "1514711492"
GOOD = "f464b24fc39322e44b38aa78f5edd27bd1441696"  # S1, from WeChat's documentation


def by_id(vector):
    return vector["id"]


@pytest.mark.parametrize("v", SIGNED, ids=by_id)
def test_three_parts_give_the_published_signature(v):
    """`signature` proves knowledge of the Token: GET, plain POST and AES POST alike."""
    parts = (v["token"], v["timestamp"], v["nonce"])
    assert sign(*parts) == v["signature"]
    verify(v["signature"], *parts)


@pytest.mark.parametrize("v", SEALED, ids=by_id)
def test_the_ciphertext_as_fourth_part_gives_the_published_msg_signature(v):
    """`msg_signature` covers the body; requests and replies are signed alike."""
    parts = (v["token"], v["timestamp"], v["nonce"], v["encrypt"])
    assert sign(*parts) == v["msg_signature"]
    verify(v["msg_signature"], *parts)


def test_the_order_in_which_the_parts_are_given_does_not_matter():
    """WeChat sorts them."""
    assert sign(NONCE, TOKEN, TIMESTAMP) == sign(TOKEN, TIMESTAMP, NONCE) == GOOD


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("10", "9", "a"), "109a"),  # strings, not numbers
        (("b", "B", "1"), "1Bb"),  # digits < upper case < lower case
        (("", "a"), "a"),
        (("你", "z"), "z你"),
    ],
)
def test_parts_sort_as_strings_and_join_without_a_separator(parts, joined):
    """Worked out by hand."""
    assert sign(*parts) == hashlib.sha1(joined.encode()).hexdigest()


@pytest.mark.parametrize(
    "claimed",
    [
        pytest.param("", id="empty"),
        pytest.param(GOOD[:-1], id="truncated"),
        pytest.param(GOOD[1:], id="beheaded"),
        pytest.param(GOOD + "0", id="extended"),
        pytest.param(GOOD + "\0", id="NUL behind"),
        pytest.param("\0" * 40, id="NULs"),
        pytest.param(GOOD + "\n", id="newline behind"),
        pytest.param(" " + GOOD, id="blank before"),
        pytest.param(GOOD.upper(), id="upper case"),
        pytest.param(GOOD[:-1] + "７", id="full-width digit"),
        pytest.param("é" * 40, id="not ASCII"),
        pytest.param("签名" * 20, id="Chinese"),
        pytest.param("\udcff" * 40, id="escaped bytes"),
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param("😀", id="beyond the BMP"),
        pytest.param("0" * 40, id="zeros"),
        pytest.param("None", id="None in words"),
        pytest.param(GOOD * 2000, id="very long"),
        pytest.param(hashlib.sha1(f"{TOKEN}{TIMESTAMP}{NONCE}".encode()).hexdigest(), id="unsorted"),
        pytest.param(hashlib.sha256(f"{NONCE}{TIMESTAMP}{TOKEN}".encode()).hexdigest(), id="sha256"),
        pytest.param(hashlib.sha256(f"{NONCE}{TIMESTAMP}{TOKEN}".encode()).hexdigest()[:40], id="sha256 cut"),
        pytest.param(hashlib.md5(f"{NONCE}{TIMESTAMP}{TOKEN}".encode()).hexdigest(), id="md5"),
        pytest.param(hashlib.sha1(b"").hexdigest(), id="digest of nothing"),
        pytest.param(sign("", TIMESTAMP, NONCE), id="empty token"),
        pytest.param(sign("None", TIMESTAMP, NONCE), id="token None"),
        pytest.param(sign("AAAAa", TIMESTAMP, NONCE), id="other token"),
        pytest.param(sign(TOKEN, TIMESTAMP), id="without the nonce"),
        pytest.param(sign(TOKEN, "1714036505", NONCE), id="other second"),
    ],
)
def test_any_other_claim_is_refused_and_nothing_but_refused(claimed):
    """Whatever strangers claim ends in BadSignature, never in a TypeError (compare_digest) or UnicodeError."""
    with pytest.raises(BadSignature) as refusal:
        verify(claimed, TOKEN, TIMESTAMP, NONCE)
    assert isinstance(refusal.value, Refused)
    assert (refusal.value.http_status, refusal.value.wx_code, refusal.value.reason) == (403, -40001, "signature")


@pytest.mark.parametrize("part", ["\udcff", "\ud800", "\0", "９", "😀", "x" * 100_000])
def test_parts_may_be_any_text(part):
    """A part that no request can have still signs without an exception, and holds only for itself."""
    verify(sign(TOKEN, part), TOKEN, part)
    with pytest.raises(BadSignature):
        verify(GOOD, TOKEN, part)


def test_the_error_holds_neither_token_nor_digest():
    """It ends up in a log."""
    with pytest.raises(BadSignature) as refusal:
        verify("0" * 40, "SECRETTOKEN", TIMESTAMP, NONCE)
    assert "SECRETTOKEN" not in str(refusal.value)
    assert sign("SECRETTOKEN", TIMESTAMP, NONCE) not in str(refusal.value)


def test_an_empty_fourth_part_is_the_plain_signature():
    """Why the envelope must refuse an empty Encrypt before it compares (B23)."""
    assert sign(TOKEN, TIMESTAMP, NONCE, "") == GOOD
