"""The error tree: each refusal knows its answer, its word for the log, and what was probably wrong."""

import pytest

from wx_mp_svr import errors
from wx_mp_svr.errors import (
    BadCiphertext,
    BadParams,
    BadSignature,
    BadXml,
    ClockSkew,
    ConfigError,
    Downgrade,
    Refused,
    ReplyError,
    TooLarge,
    WxMpError,
)

REFUSALS = [
    # status, the number in WeChat's sample library, word for the log
    (Refused, 403, None, "refused"),
    (BadParams, 403, None, "params"),
    (ClockSkew, 403, None, "clock"),
    (BadSignature, 403, -40001, "signature"),
    (Downgrade, 403, None, "downgrade"),
    (BadCiphertext, 403, -40007, "decrypt"),
    (BadXml, 403, -40002, "xml"),
    (TooLarge, 413, None, "size"),
]


@pytest.mark.parametrize(("refusal", "status", "code", "reason"), REFUSALS)
def test_every_refusal_knows_its_answer(refusal, status, code, reason):
    assert (refusal.http_status, refusal.wx_code, refusal.reason) == (status, code, reason)
    assert {Refused, *Refused.__subclasses__()} == {row[0] for row in REFUSALS}


def test_a_refusal_of_no_kind_has_no_hint():
    assert Refused("x").hint == ""


@pytest.mark.parametrize(
    ("skew", "text", "english", "chinese"),
    [
        (-400, "skew=-400s", "clock is 400 s fast", "服务器时钟快了 400 秒"),
        (400, "skew=+400s", "clock is 400 s slow", "服务器时钟慢了 400 秒"),
        (0, "skew=+0s", "clock is 0 s fast", "服务器时钟快了 0 秒"),
    ],
)
def test_a_request_from_the_past_says_that_our_clock_may_be_fast(skew, text, english, chinese):
    refused = ClockSkew(skew)
    assert (str(refused), refused.skew_seconds) == (text, skew)
    assert english in refused.hint
    assert chinese in refused.hint


def test_mistakes_of_the_author_are_value_errors_and_all_are_ours():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ReplyError, ValueError)
    ours = [value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__]
    assert all(issubclass(error, WxMpError) for error in ours)


def test_problems_are_kept_whatever_holds_them():
    problem = ("WX_MP_TOKEN", "is missing", "缺少 Token")
    assert ConfigError("x", iter([problem])).problems == (problem,)
    assert (ConfigError("x").problems, str(ConfigError("x", [problem]))) == ((), "x")
