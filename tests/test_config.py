"""The settings: where they come from, what is wrong with them, and that no secret shows."""

import dataclasses
import re
import typing

import pytest

from wx_mp_svr import config
from wx_mp_svr.config import GivenSettings, Settings
from wx_mp_svr.errors import ConfigError

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
SECRET = "f00dfacef00dfacef00dfacef00dface"  # 32 hex digits, as an AppSecret has
PLAIN = {"token": "spamtest"}
SAFE = {"token": "spamtest", "aes_key": KEY, "appid": "wx2c2769f8efd9abc2"}


def load(arguments=None, app_config=None, environ=None, prefix="WX_MP_"):
    return config.load(PLAIN if arguments is None else arguments, app_config or {}, environ or {}, prefix)


# -- what is wrong ---------------------------------------------------------------------------------------------------

PROBLEMS = [
    # settings, the variable, what English holds, what Chinese holds
    ({"token": ""}, "TOKEN", "is missing", "缺少 Token"),
    ({"token": "ab"}, "TOKEN", "3 to 32 letters and digits", "3-32 位字母或数字"),
    ({"token": "a" * 33}, "TOKEN", "3 to 32 letters and digits", "3-32 位字母或数字"),
    ({"token": "my_token"}, "TOKEN", "3 to 32 letters and digits", "3-32 位字母或数字"),
    ({"token": "spam\0test"}, "TOKEN", "3 to 32 letters and digits", "3-32 位字母或数字"),
    ({"token": " spamtest"}, "TOKEN", "blanks", "空格"),
    ({"token": "spamtest\n"}, "TOKEN", "blanks", "换行"),
    ({"token": "spamtest\u3000"}, "TOKEN", "blanks", "空格"),
    ({"token": '"spamtest"'}, "TOKEN", "quotation marks", "引号"),
    ({"token": "“spamtest”"}, "TOKEN", "quotation marks", "引号"),
    ({"token": "‘spamtest’"}, "TOKEN", "quotation marks", "引号"),
    ({"token": "'spamtest"}, "TOKEN", "quotation marks", "引号"),
    ({"token": "ｓｐａｍtest"}, "TOKEN", "full-width", "半角"),
    ({"token": "令牌令牌"}, "TOKEN", "full-width", "半角"),
    ({**SAFE, "appid": ""}, "APPID", "is missing", "缺少 AppID"),
    ({**SAFE, "appid": "gh_97417a04a28d"}, "APPID", "original ID", "原始ID"),
    ({**SAFE, "appid": SECRET}, "APPID", "AppSecret", "AppSecret"),
    ({**SAFE, "appid": "wx 123"}, "APPID", "characters that no AppID has", "不会有的字符"),
    ({**SAFE, "appid": " wx2c2769f8efd9abc2"}, "APPID", "blanks", "空格"),
    ({**SAFE, "appid": "'wx2c2769f8efd9abc2'"}, "APPID", "quotation marks", "引号"),
    ({**SAFE, "appid": "ｗｘ2c2769f8efd9abc2"}, "APPID", "full-width", "全角"),
    ({**PLAIN, "appid": "gh_97417a04a28d"}, "APPID", "original ID", "原始ID"),
    ({**SAFE, "aes_key": KEY[:-1]}, "AES_KEY", "42 characters", "43 位"),
    ({**SAFE, "aes_key": KEY + "="}, "AES_KEY", "leave out the =", "去掉末尾的 ="),
    ({**SAFE, "aes_key": KEY + "H"}, "AES_KEY", "44 characters", "43 位"),
    ({**SAFE, "aes_key": KEY[:-1] + "!"}, "AES_KEY", "not Base64", "43 位"),
    ({**SAFE, "aes_key": KEY[:-1] + "-"}, "AES_KEY", "not Base64", "43 位"),
    ({**SAFE, "aes_key": KEY[:-1] + "="}, "AES_KEY", "exactly 43", "43 位"),
    ({**SAFE, "aes_key": SECRET}, "AES_KEY", "32 characters", "43 位"),
    ({**SAFE, "aes_key": KEY + "\n"}, "AES_KEY", "blanks", "换行"),
    ({**SAFE, "aes_key": f"'{KEY}'"}, "AES_KEY", "quotation marks", "引号"),
    ({**SAFE, "aes_key": KEY[:-1] + "Ｇ"}, "AES_KEY", "full-width", "半角"),
    ({**SAFE, "aes_key_old": KEY[:-1]}, "AES_KEY_OLD", "42 characters", "43 位"),
    ({**SAFE, "aes_key_old": KEY + "="}, "AES_KEY_OLD", "leave out the =", "去掉末尾的 ="),
    ({**SAFE, "aes_key_old": " " + KEY}, "AES_KEY_OLD", "blanks", "空格"),
    ({**PLAIN, "mode": "encrypted"}, "MODE", "plain, compatible or safe", "plain（明文）"),
    ({**PLAIN, "mode": "Safe"}, "MODE", "plain, compatible or safe", "safe（安全）"),
    ({**SAFE, "mode": "plain"}, "MODE", "an AES key is set", "却设置了 AES_KEY"),
    ({**PLAIN, "mode": "safe"}, "MODE", "AES_KEY is missing", "缺少 AES_KEY"),
    ({**PLAIN, "mode": "compatible"}, "MODE", "AES_KEY is missing", "缺少 AES_KEY"),
    ({**PLAIN, "path": "wx"}, "PATH", "begin with /", "以 / 开头"),
    ({**PLAIN, "path": ""}, "PATH", "begin with /", "以 / 开头"),
    ({**PLAIN, "path": "/wx?a=1"}, "PATH", "printable ASCII without ? #", "不含 ? # < >"),
    ({**PLAIN, "path": "/wx#a"}, "PATH", "printable ASCII without ? #", "不含 ? # < >"),
    ({**PLAIN, "path": "/<int:a>"}, "PATH", "begin with /", "以 / 开头"),
    ({**PLAIN, "path": "/w x"}, "PATH", "begin with /", "以 / 开头"),
    ({**PLAIN, "path": "/微信"}, "PATH", "begin with /", "以 / 开头"),
    ({**PLAIN, "path": "http://a/wx"}, "PATH", "begin with /", "以 / 开头"),
    ({**PLAIN, "port": -1}, "PORT", "0 to 65535", "0 到 65535"),
    ({**PLAIN, "port": 65536}, "PORT", "0 to 65535", "0 到 65535"),
    ({**PLAIN, "port": True}, "PORT", "whole number", "整数"),
    ({**PLAIN, "port": 80.5}, "PORT", "whole number", "整数"),
    ({**PLAIN, "port": "http"}, "PORT", "whole number", "整数"),
    ({**PLAIN, "port": "9" * 5000}, "PORT", "whole number", "整数"),
    ({**PLAIN, "window": -1}, "WINDOW", "whole number", "整数"),
    ({**PLAIN, "window": 86401}, "WINDOW", "0 to 86400", "0 到 86400"),
    ({**PLAIN, "window": "5 min"}, "WINDOW", "whole number", "整数"),
    ({**PLAIN, "max_body": 0}, "MAX_BODY", "1024 to", "1024 到"),
    ({**PLAIN, "max_body": 1023}, "MAX_BODY", "1024 to", "1024 到"),
    ({**PLAIN, "max_body": 1024**3}, "MAX_BODY", "1024 to", "1024 到"),
    ({**PLAIN, "max_body": "64k"}, "MAX_BODY", "whole number", "整数"),
    ({**PLAIN, "store": "mysql://a:secret@b/c"}, "STORE", "memory:, sqlite:PATH or redis:", "应为 memory:"),
    ({**PLAIN, "store": "sqlite:"}, "STORE", "memory:, sqlite:PATH or redis:", "sqlite:路径"),
    *(
        ({**PLAIN, name: value}, name.upper(), "whole number", "整数")
        for name in ("tries", "max_held", "max_jobs", "max_queued", "breaker")
        for value in (-1, 1.5, "many", True, 10**9)
    ),
    *(
        ({**PLAIN, name: value}, name.upper(), "must be a number", "数字")
        for name in ("held_after", "grace", "keep_answers")
        for value in (-1, 0, "long", True, "nan", "inf")
    ),
    ({**PLAIN, "keep_sessions": 1e9}, "KEEP_SESSIONS", "must be a number above 0", "大于 0 的数字"),
    ({**PLAIN, "hold": 5.0}, "HANG_UP", "hold < 5 < hang_up < 6", "早于 5 秒"),
    ({**PLAIN, "hang_up": 5.0}, "HANG_UP", "hold < 5 < hang_up < 6", "晚于微信的 5 秒"),
    ({**PLAIN, "hang_up": "6.5"}, "HANG_UP", "hold < 5 < hang_up < 6", "晚于微信的 5 秒"),
    ({**PLAIN, "hold": "soon"}, "HOLD", "must be a number", "必须是数字"),
    ({**PLAIN, "rerun_lost": "maybe"}, "RERUN_LOST", "1 or 0", "1 或 0"),
    # not text, as from a JSON or TOML file, or from Flask's from_prefixed_env
    ({"token": 12345678}, "TOKEN", "", ""),
    ({"token": b"spamtest"}, "TOKEN", "", ""),
    ({**SAFE, "aes_key": KEY.encode()}, "AES_KEY", "", ""),
    ({**SAFE, "appid": 2276998}, "APPID", "", ""),
    ({**PLAIN, "path": 5}, "PATH", "", ""),
    ({**PLAIN, "mode": 1}, "MODE", "text, in quotation marks", "文本"),
]


IN_TEXT = [row for row in PROBLEMS if all(isinstance(value, str) for value in row[0].values())]


def changed(row):
    """The setting that is wrong, without the ones around it."""
    return f"{row[1]} {row[0].get(row[1].lower())!r:.50}"


@pytest.mark.parametrize(("settings", "variable", "english", "chinese"), PROBLEMS, ids=map(changed, PROBLEMS))
def test_each_mistake_is_named_with_its_cure_in_both_languages(settings, variable, english, chinese):
    """The variable, what to do, the same in Chinese, and no secret."""
    with pytest.raises(ConfigError) as error:
        load(settings)
    message = str(error.value)
    named = [line.split()[0] for line in message.splitlines() if line.startswith("  WX_MP_")]
    assert f"WX_MP_{variable}" in named
    assert english in message
    assert chinese in message
    assert isinstance(error.value, ValueError)
    assert re.search("[\u4e00-\u9fff]", message)
    for secret in ("token", "aes_key", "aes_key_old"):
        value = settings.get(secret) or "spamtest"
        if len(value if isinstance(value, str) else repr(value)) > 2:
            assert str(value) not in message
    assert SECRET not in message
    assert "secret" not in message  # a store's password
    assert KEY[:10] not in message


@pytest.mark.parametrize(("settings", "variable", "english", "chinese"), PROBLEMS, ids=map(changed, PROBLEMS))
def test_app_config_is_checked_alike(settings, variable, english, chinese):
    """Whatever the source, a mistake is a ConfigError at start."""
    with pytest.raises(ConfigError) as error:
        load({}, {f"WX_MP_{name.upper()}": value for name, value in settings.items()})
    assert f"WX_MP_{variable} " in str(error.value)


@pytest.mark.parametrize(("settings", "variable", "english", "chinese"), IN_TEXT, ids=map(changed, IN_TEXT))
def test_the_environment_is_checked_alike(settings, variable, english, chinese):
    """There everything is text."""
    with pytest.raises(ConfigError) as error:
        load({}, {}, {f"WX_MP_{name.upper()}": value for name, value in settings.items()})
    assert f"WX_MP_{variable} " in str(error.value)


LIMITS = [
    # setting, the least, the most
    ("port", 0, 65535),
    ("window", 0, 86400),
    ("max_body", 1024, 16_777_216),
    ("tries", 1, 4),
    ("max_held", 1, 100_000),
    ("max_jobs", 1, 100_000),
    ("max_queued", 1, 100_000),
    ("breaker", 0, 1_000_000),
]


@pytest.mark.parametrize(("name", "least", "most"), LIMITS, ids=[row[0] for row in LIMITS])
def test_a_whole_number_may_be_at_its_limits_and_not_beyond(name, least, most):
    for value in (least, most):
        assert getattr(load({**PLAIN, name: value}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=f"{name.upper()} must be a whole number from {least} to {most}\n"):
            load({**PLAIN, name: value})


def test_all_mistakes_are_told_at_once():
    """One start, one list."""
    with pytest.raises(ConfigError) as error:
        load(
            {"token": "a b", "aes_key": "short", "appid": "gh_1", "path": "wx", "port": 0, "window": "x", "max_body": 5}
        )
    message = str(error.value)
    for name in ("TOKEN", "AES_KEY", "APPID", "PATH", "WINDOW", "MAX_BODY"):
        assert f"  WX_MP_{name} " in message
    assert "WX_MP_PORT" not in message
    assert "6 wrong setting(s)" in message
    assert "6 处" in message


def test_a_config_error_lists_its_problems():
    """So that nobody has to read them out of the message."""
    with pytest.raises(ConfigError) as error:
        load({}, {}, {"WX_MP_TOKEN": "a b", "WX_MP_PORT": "x"})
    assert [setting for setting, _, _ in error.value.problems] == ["WX_MP_PORT", "WX_MP_TOKEN"]
    for setting, english, chinese in error.value.problems:
        assert f"  {setting} {english}\n    {chinese}" in str(error.value)
    assert error.value.problems[0].chinese == "必须是整数"
    assert ConfigError("something else").problems == ()


def test_each_setting_is_complained_about_once():
    """The first cause is the one to cure."""
    with pytest.raises(ConfigError) as error:
        load({}, {}, {"WX_MP_TOKEN": "", "WX_MP_PORT": "x"})
    message = str(error.value)
    assert (message.count("WX_MP_TOKEN"), message.count("WX_MP_PORT")) == (1, 1)


@pytest.mark.parametrize("name", ["TOKEN", "AES_KEY", "AES_KEY_OLD", "APPID", "MODE", "PATH", "HOST", "PORT", "WINDOW"])
def test_an_empty_environment_variable_is_a_mistake(name):
    """B124: `WX_MP_TOKEN=` in a unit file means that somebody forgot to fill it in."""
    environ = {"WX_MP_TOKEN": "spamtest", f"WX_MP_{name}": ""}
    with pytest.raises(ConfigError) as error:
        load({}, {}, environ)
    assert f"WX_MP_{name} is set but empty" in str(error.value)
    assert "为空" in str(error.value)


def test_an_empty_variable_under_an_argument_does_not_matter():
    """The argument goes before it, so nobody looks."""
    assert load({"token": "spamtest"}, {}, {"WX_MP_TOKEN": ""}).token == "spamtest"


def test_whoever_asks_for_plain_mode_may_leave_the_key_empty():
    """As `WX_MP_AES_KEY=` of a unit file does; another empty one is still a mistake."""
    plain = {"WX_MP_TOKEN": "spamtest", "WX_MP_MODE": "plain", "WX_MP_AES_KEY": ""}
    assert load({}, {}, plain).mode == "plain"
    with pytest.raises(ConfigError) as error:
        load({}, {}, plain | {"WX_MP_APPID": ""})
    assert [setting for setting, _, _ in error.value.problems] == ["WX_MP_APPID"]


def test_an_empty_error_text_means_silence():
    """The only setting that may be empty: acknowledge instead of saying something."""
    assert load({}, {}, {"WX_MP_TOKEN": "spamtest", "WX_MP_ERROR_TEXT": ""}).error_text is None
    assert load({**PLAIN, "error_text": ""}).error_text is None
    assert load({**PLAIN, "error_text": "oops"}).error_text == "oops"
    assert load().error_text


# -- where they come from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "app_config", "environ", "port"),
    [
        (None, None, None, 5001),
        (None, None, "3", 3),
        (None, 2, "3", 2),
        (None, "2", "3", 2),
        (1, 2, "3", 1),
        (1, None, "3", 1),
        ("1", None, None, 1),
        (0, 2, "3", 0),  # 0 is given
        (None, 0, "3", 0),
        (1, "nonsense", "nonsense", 1),  # what is not used is not looked at
    ],
)
def test_an_argument_goes_before_app_config_before_the_environment(argument, app_config, environ, port):
    """And that before the default. None is not given."""
    settings = load(
        {"token": "spamtest", "port": argument},
        {"WX_MP_PORT": app_config, "port": 9, "PORT": 9},
        {"PORT": "9"} | ({} if environ is None else {"WX_MP_PORT": environ}),
    )
    assert settings.port == port


def test_another_prefix_reads_another_account():
    """Two accounts in one environment; its problems carry its names."""
    environ = {"WX_MP_TOKEN": "first", "SHOP_TOKEN": "second", "SHOP_PATH": "/shop"}
    assert load({}, {}, environ).token == "first"
    shop = load({}, {}, environ, "SHOP_")
    assert (shop.token, shop.path) == ("second", "/shop")
    with pytest.raises(ConfigError) as error:
        load({}, {}, {"WX_MP_TOKEN": "first", "SHOP_PORT": "x"}, "SHOP_")
    assert "SHOP_TOKEN" in str(error.value)
    assert "SHOP_PORT" in str(error.value)
    assert "WX_MP_" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "8080", 8080),
        ("PORT", " 8080 ", 8080),
        ("WINDOW", "0", 0),
        ("MAX_BODY", "1024", 1024),
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("HOLD", "4", 4.0),
        *(("RERUN_LOST", text, False) for text in ("0", "false", "No", "OFF")),
        *(("RERUN_LOST", text, True) for text in ("1", "TRUE", "Yes", "on")),
        ("SLOW_TEXT", r"稍等\n再点", "稍等\n再点"),  # its only way to write a line end
        ("FETCH_WORDS", r"a\nb", r"a\nb"),
        ("PATH", "/", "/"),
        ("PATH", "/a/b/", "/a/b"),
        ("APPID", "wx2c2769f8efd9abc2", "wx2c2769f8efd9abc2"),
    ],
)
def test_the_environments_text_becomes_the_settings_type(name, text, value):
    """Read once, at start."""
    read = getattr(load({}, {}, {"WX_MP_TOKEN": "spamtest", f"WX_MP_{name}": text}), name.lower())
    assert (read, type(read)) == (value, type(value))


def test_a_program_and_a_file_of_its_own_have_line_ends_and_need_no_backslash():
    assert load({**PLAIN, "slow_text": r"a\nb"}).slow_text == r"a\nb"
    assert load(app_config={"WX_MP_SLOW_TEXT": r"a\nb"}).slow_text == r"a\nb"


def test_plain_mode_in_the_program_goes_before_a_key_of_the_environment():
    environ = {"WX_MP_AES_KEY": KEY, "WX_MP_AES_KEY_OLD": KEY}
    settings = load({**PLAIN, "mode": "plain"}, {}, environ)
    assert (settings.mode, settings.aes_key, settings.aes_key_old) == ("plain", "", "")
    for arguments, more in (({**PLAIN, "mode": "plain", "aes_key": KEY}, {}), (PLAIN, {"WX_MP_MODE": "plain"})):
        with pytest.raises(ConfigError, match="an AES key is set"):
            load(arguments, {}, environ | more)


DEMO = {"WX_MP_TOKEN": "xxx", "WX_MP_APPID": "wx0000000000000000", "WX_MP_AES_KEY": "x" * 43}
DEMO_WITHOUT_A_KEY = {name: value for name, value in DEMO.items() if name != "WX_MP_AES_KEY"}
ONES_OWN = {}
ACCOUNTS = [
    # arguments, app.config, the environment, whose account it is
    ({}, {}, {}, DEMO),
    ({"port": 80, "token": None}, {"WX_MP_PORT": 80}, {"TOKEN": "spamtest"}, DEMO),
    ({"mode": "safe"}, {}, {}, DEMO),
    ({"mode": "plain"}, {}, {}, DEMO_WITHOUT_A_KEY),
    ({}, {}, {"WX_MP_MODE": "plain", "WX_MP_AES_KEY": ""}, DEMO_WITHOUT_A_KEY),
    ({}, {}, {"WX_MP_AES_KEY": ""}, ONES_OWN),
    ({}, {}, {"WX_MP_MODE": "plain", "WX_MP_AES_KEY": KEY}, ONES_OWN),
    *(({name: "x"}, {}, {}, ONES_OWN) for name in ("token", "appid", "aes_key", "aes_key_old")),
    ({}, {"WX_MP_TOKEN": "spamtest"}, {}, ONES_OWN),
    ({}, {}, {"WX_MP_APPID": "wx1"}, ONES_OWN),
]


@pytest.mark.parametrize(("arguments", "app_config", "environ", "account"), ACCOUNTS)
def test_the_demos_account_is_for_those_who_have_set_none(arguments, app_config, environ, account):
    assert config.demo_account(arguments, app_config, environ) == account


def test_the_demos_account_has_the_names_of_its_prefix():
    given = config.demo_account({}, {}, {"WX_MP_TOKEN": "spamtest"}, "SHOP_")
    assert given == {name.replace("WX_MP_", "SHOP_"): value for name, value in DEMO.items()}
    assert load({}, {}, given, "SHOP_").demo_values


@pytest.mark.parametrize(("window", "seconds"), [(0, 600), (300, 600), (301, 602), (86400, 172800)])
def test_a_push_is_known_for_as_long_as_it_could_be_replayed(window, seconds):
    """From a window before its timestamp to a window after it, and never less than ten minutes."""
    assert load({**PLAIN, "window": window}).keep_seconds == seconds


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        (PLAIN, "plain"),
        ({**PLAIN, "mode": "plain"}, "plain"),
        (SAFE, "safe"),
        ({**SAFE, "mode": "safe"}, "safe"),
        ({**SAFE, "mode": "compatible"}, "compatible"),
        ({**SAFE, "aes_key_old": KEY[::-1][1:] + "A"}, "safe"),
    ],
)
def test_the_mode_is_safe_with_a_key_and_plain_without(settings, mode):
    """Unless somebody says otherwise."""
    assert load(settings).mode == mode


def test_defaults_hold_when_only_the_token_is_given():
    """What the README's table says; the AppID is needed only with a key."""
    settings = load()
    assert (settings.host, settings.port, settings.path) == ("127.0.0.1", 5001, "/wx_mp_cb")
    assert (settings.window, settings.max_body, settings.mode, settings.appid) == (300, 131072, "plain", "")


@pytest.mark.parametrize("token", ["abc", "a" * 32, "ABC123"])
def test_every_token_that_wechat_allows_is_accepted(token):
    """3 to 32 letters and digits."""
    assert load({"token": token}).token == token


@pytest.mark.parametrize("last", "GHEF")
def test_keys_that_differ_in_discarded_bits_are_accepted(last):
    """WeChat's own sample key is one of them (B51)."""
    assert load({**SAFE, "aes_key": KEY[:-1] + last}).aes_key == KEY[:-1] + last


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_repr_and_str_hide_secrets_and_show_the_rest():
    """B120: it ends up in logs and bug reports."""
    settings = load({**SAFE, "aes_key_old": "Z" * 42 + "A"})
    for shown in (repr(settings), str(settings), f"{settings}", f"{settings!r}"):
        for secret in ("spamtest", KEY, "ZZZ"):
            assert secret not in shown
        for part in ("appid='wx2c2769f8efd9abc2'", "port=5001"):
            assert part in shown
    assert "PASSWORD" not in repr(load({**SAFE, "store": "redis://:PASSWORD@127.0.0.1/0"}))


def test_every_setting_says_what_it_is_for():
    """In Chinese: the README's table is made of it. Whatever sounds secret is one."""
    for f in dataclasses.fields(Settings):
        assert re.search("[\u4e00-\u9fff]", f.metadata["about"]), f.name
        assert f.repr != (f.name in ("token", "aes_key", "aes_key_old", "store")), f.name


def test_settings_are_frozen():
    """Validated once, at start."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().token = "other"


# -- warnings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "demo"),
    [
        ({"token": "xxx"}, True),
        ({**SAFE, "token": "xxx"}, True),
        ({**SAFE, "aes_key": "x" * 43}, True),
        ({**SAFE, "appid": "wx0000000000000000"}, True),
        (PLAIN, False),
        (SAFE, False),
    ],
)
def test_the_demos_values_are_recognised_and_said_loudly(settings, demo):
    """B124: they work, and everybody knows them."""
    loaded = load(settings)
    assert loaded.demo_values is demo
    warning = [text for text in config.warnings(loaded) if "demo" in text]
    assert len(warning) == demo
    assert all("演示" in text for text in warning)


def test_plain_mode_is_warned_about():
    """B34: one leaked URL forges any message."""
    assert any("plain mode" in text and "明文模式" in text for text in config.warnings(load()))
    [compatible] = config.warnings(load({**SAFE, "mode": "compatible"}))
    assert "compatible mode" in compatible
    assert "兼容模式" in compatible
    assert list(config.warnings(load(SAFE))) == []


def test_a_window_that_is_never_over_is_warned_about():
    [said] = config.warnings(load({**SAFE, "window": 0}))
    assert said.startswith("window=0: an old request")
    assert list(config.warnings(load({**SAFE, "window": 1}))) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WX_MP_APP_ID", "WX_MP_APPID"),
        ("WX_MP_ENCODING_AES_KEY", "WX_MP_AES_KEY"),
        ("WX_MP_AESKEY", "WX_MP_AES_KEY"),
        ("WX_MP_PROT", "WX_MP_PORT"),
        ("WX_MP_TOKEN", None),
        ("WX_MP_SOMETHING_ELSE", None),  # the user's own
        ("WX2_TOKN", None),
        *((f"WX_MP_{account}_TOKEN", None) for account in ("2", "CN", "SHOP1")),  # of a second account
        ("WX_MP_THE_TOKEN", "WX_MP_TOKEN"),
        ("WX_MP_2_TOKN", "WX_MP_TOKEN"),
    ],
)
def test_a_misspelt_name_is_said(name, meant):
    """Else the bot would run in plain mode, and nobody would know why."""
    said = list(config.misspelt({name: "Secret123"}, "WX_MP_"))
    text = f"{name} is not read; did you mean {meant}? / 没有 {name} 这个设置，是不是 {meant}？"
    assert said == ([text] if meant else [])


def test_warnings_hold_no_secret():
    """They are logged."""
    for settings in (PLAIN, SAFE, {**SAFE, "token": "xxx"}):
        text = "\n".join(config.warnings(load(settings)))
        assert settings["token"] == "xxx" or settings["token"] not in text
        assert KEY not in text


def test_editors_see_every_setting():
    """With its kind; by argument None counts as not given."""
    given = typing.get_type_hints(GivenSettings)
    assert list(given) == [f.name for f in dataclasses.fields(Settings)]
    for f in dataclasses.fields(Settings):
        assert given[f.name] == (typing.Any if f.type is typing.Any else f.type | None)
