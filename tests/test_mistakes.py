"""What people paste and write wrong: which settings each mistake is said of, at its very edge."""

import pytest

from wx_mp_svr.config import Settings
from wx_mp_svr.mistakes import MAX_TEXT_BYTES, mistakes

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
APPID = "wx2c2769f8efd9abc2"
PLAIN = {"token": "spamtest", "mode": "plain"}
SAFE = {"token": "spamtest", "mode": "safe", "aes_key": KEY, "appid": APPID}

SAID_OF = [
    # settings, of which a mistake is said, in this order
    (PLAIN, []),
    (SAFE, []),
    ({**SAFE, "mode": "compatible", "aes_key_old": KEY[::-1]}, []),
    ({**SAFE, "token": KEY, "aes_key": "spamtest"}, ["token", "aes_key", "token", "aes_key"]),
    ({**SAFE, "token": KEY, "aes_key": "ABC"}, ["token", "aes_key", "token", "aes_key"]),
    ({**SAFE, "token": "+" * 43, "aes_key": "a" * 32}, ["token", "aes_key", "token", "aes_key"]),
    ({**SAFE, "token": KEY, "aes_key": "a" * 33}, ["token", "aes_key"]),
    ({**SAFE, "token": KEY, "aes_key": "ab"}, ["token", "aes_key"]),
    ({**SAFE, "token": KEY[1:], "aes_key": "spamtest"}, ["token", "aes_key"]),
    ({**SAFE, "appid": ""}, ["appid"]),
    ({**PLAIN, "appid": ""}, []),
    ({**PLAIN, "appid": "gh_97417a04a28d"}, ["appid"]),
    ({**PLAIN, "appid": "f00dface" * 4}, ["appid"]),
    ({**PLAIN, "appid": "F00DFACE" * 4}, ["appid"]),
    ({**PLAIN, "appid": "f00dface" * 4 + "0"}, []),
    ({**PLAIN, "appid": "wx.1"}, ["appid"]),
    ({**PLAIN, "appid": "wx_-1"}, []),
    ({**PLAIN, "appid": "wx微信"}, ["appid", "appid"]),
    ({**PLAIN, "appid": " wx1"}, ["appid", "appid"]),
    ({**PLAIN, "appid": "wx\u200b1"}, ["appid", "appid", "appid"]),
    ({**PLAIN, "token": ""}, ["token", "token"]),
    ({**PLAIN, "token": "ab"}, ["token"]),
    ({**PLAIN, "token": "a" * 33}, ["token"]),
    ({**PLAIN, "token": "“abc”"}, ["token", "token", "token"]),
    ({**SAFE, "aes_key": KEY + "="}, ["aes_key", "aes_key"]),
    ({**SAFE, "aes_key": KEY + "a"}, ["aes_key"]),
    ({**SAFE, "aes_key": KEY[:-1] + "="}, ["aes_key"]),
    ({**SAFE, "aes_key": KEY[2:] + "+/"}, []),
    ({**PLAIN, "aes_key_old": KEY}, ["aes_key_old"]),
    ({**SAFE, "aes_key_old": KEY + "="}, ["aes_key_old", "aes_key_old"]),
    ({**PLAIN, "mode": "Safe"}, ["mode", "mode"]),
    ({**SAFE, "mode": "plain"}, ["mode"]),
    ({**PLAIN, "mode": "compatible"}, ["mode"]),
    *(({**PLAIN, "path": path}, []) for path in ("/", "/a/b~!", "/%20")),
    *(({**PLAIN, "path": path}, ["path"]) for path in ("", "a", "/ ", "/\x7f", "/?", "/#", "/<", "/>")),
    *(
        ({**PLAIN, "store": store}, [])
        for store in ("", "memory:", "memory:x", "sqlite:a", "redis://a", "rediss://a", "unix://a")
    ),
    *(
        ({**PLAIN, "store": store}, ["store"])
        for store in ("sqlite:", "redis:", "redis://", "redisss://a", "unix://", "Memory:", "a memory:", 5)
    ),
    ({**PLAIN, "fetch_words": " \n"}, ["fetch_words"]),
    ({**PLAIN, "held_after": 4.3}, ["hang_up"]),
    ({**PLAIN, "held_after": 4.29}, []),
    ({**PLAIN, "hold": 4.999, "hang_up": 5.001}, []),
    *(({**PLAIN, name: 5}, ["hang_up"]) for name in ("hold", "hang_up")),
    ({**PLAIN, "hang_up": 5.999}, []),
    *(({**PLAIN, "hang_up": late}, ["hang_up"]) for late in (6, 7)),
]


@pytest.mark.parametrize(("settings", "names"), SAID_OF, ids=str)
def test_each_mistake_is_said_of_its_setting(settings, names):
    said = list(mistakes(Settings(**settings)))
    assert [name for name, _, _ in said] == names
    assert all(english.isascii() and not chinese.isascii() for _, english, chinese in said)


PLAIN_TEXTS = ["error_text", "busy_text", "lost_text", "expired_text", "end_text"]
LINK_BYTES = len(
    '<a href="weixin://bizmsgmenu?msgmenucontent=999999999-9999&msgmenuid=wxmp-999999999-9999-ffffff"></a>'
)


@pytest.mark.parametrize("name", [*PLAIN_TEXTS, "slow_text", "ready_text"])
def test_a_text_and_its_link_fit_into_a_reply(name):
    link = {"fetch_words": "w", "fetch_label": "l"}
    most = MAX_TEXT_BYTES - (0 if name in PLAIN_TEXTS else LINK_BYTES + 2)
    assert list(mistakes(Settings(**PLAIN, **link, **{name: "a" * most}))) == []
    [(said_of, english, chinese)] = mistakes(Settings(**PLAIN, **link, **{name: "a" * (most + 1)}))
    with_link = name not in PLAIN_TEXTS
    assert said_of == name
    assert english.startswith(f"is {'with its link ' if with_link else ''}2048 bytes long; WeChat takes 2047")
    assert chinese.startswith(f"{'连同链接' if with_link else ''}有 2048 字节，微信最多收 2047 字节")
    assert list(mistakes(Settings(**PLAIN, **{name: None}))) == []


def test_a_page_has_room_for_text_beside_its_link():
    label = "a" * (MAX_TEXT_BYTES // 2 - LINK_BYTES - 1)
    assert list(mistakes(Settings(**PLAIN, fetch_words="w", next_label=label))) == []
    assert [name for name, _, _ in mistakes(Settings(**PLAIN, fetch_words="w", next_label=f"{label}b"))] == [
        "next_label"
    ]


@pytest.mark.parametrize("missing", ["get", "get_many", "set", "add", "incr", "delete"])
def test_a_store_of_ones_own_has_all_verbs(missing):
    class Whole:
        get = get_many = set = add = incr = delete = None

    assert list(mistakes(Settings(**PLAIN, store=Whole()))) == []
    delattr(Whole, missing)
    [(name, english, chinese)] = mistakes(Settings(**PLAIN, store=Whole()))
    assert name == "store"
    assert missing in english
    assert missing in chinese
