"""What people paste and write wrong in the settings, and the cure for each.

Settings in, (name, what to do, the same in Chinese) out; none of them holds a value. Knows nothing of where settings come
from.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

MAX_TEXT_BYTES = 2047  # of a text reply that WeChat delivers
_LINK = (  # of the longest kind
    '<a href="weixin://bizmsgmenu?msgmenucontent={words}999999999-9999&msgmenuid=wxmp-999999999-9999-ffffff">{label}</a>'
)

OLD_NAMES = {
    "Server": "write `from wx_mp_svr import WxMpServer` / 现在叫 WxMpServer，见 demo/README.md 的「从别的库迁移」",
    "WxMpReqMsg": "write `from wx_mp_svr import ReqMsg` / 现在叫 ReqMsg，见 demo/README.md 的「从别的库迁移」",
    "WxMpRspMsg": "write `from wx_mp_svr import RspMsg` / 现在叫 RspMsg，见 demo/README.md 的「从别的库迁移」",
}
"""What an old program imports, and the new way."""

OLD_METHODS = {
    "set_message_handler": "@server.on_message",
    "set_event_handler": "@server.on_subscribe or @server.on_event",
    "set_error_handler": "@server.on_error",
    "handler": "@server.on_message",
    "filter": '@server.text("...")',
    "key_click": '@server.event("CLICK", key="...")',
    "subscribe": "@server.on_subscribe",
    "click": '@server.event("CLICK")',
}
"""What old programs, and those for WeRoBot, call."""

VERBS = ("get", "get_many", "set", "add", "incr", "delete")  # of a store

Words = Iterator[tuple[str, str, str]]
"""Of each mistake the setting, what to do, and the same in Chinese."""


def mistakes(s: Any) -> Words:
    """Look at every setting that is no number.

    Args:
        s: The settings, as `config.Settings` has them.
    """
    if re.fullmatch(r"[A-Za-z0-9+/]{43}", s.token) and re.fullmatch(r"[A-Za-z0-9]{3,32}", s.aes_key):
        yield "token", "and AES_KEY hold each other's value; swap them", "和 EncodingAESKey 填反了：请互换"
        yield "aes_key", "and TOKEN hold each other's value; swap them", "和 Token 填反了：请互换"
    if s.aes_key and not s.appid:
        english = "is missing; it is needed with an EncodingAESKey (the settings page shows it as AppID)"
        chinese = "缺少 AppID：使用 EncodingAESKey 时必填，见公众平台「设置与开发 → 基本配置」的开发者ID(AppID)"
        yield "appid", english, chinese
    yield from _pasted("appid", s.appid)
    if s.appid.startswith("gh_"):
        english = "is the account's original ID (gh_...); the AppID begins with wx"
        yield "appid", english, "这是原始ID（gh_ 开头），AppID 以 wx 开头"
    if re.fullmatch(r"[0-9a-fA-F]{32}", s.appid):
        english = "looks like the AppSecret; the AppID begins with wx"
        yield "appid", english, "这像是 AppSecret，AppID 以 wx 开头；AppSecret 请勿外泄"
    if re.search(r"[^\w-]", s.appid, re.ASCII):
        yield "appid", "holds characters that no AppID has", "含有 AppID 不会有的字符"
    if not s.token:
        english = "is missing; wx-mp-svr keygen makes one, the same is entered in the account's server settings"
        yield "token", english, "缺少 Token：用 wx-mp-svr keygen 生成，与公众平台「服务器配置」里的令牌(Token)一致"
    yield from _pasted("token", s.token)
    if not re.fullmatch(r"[A-Za-z0-9]{3,32}", s.token):
        yield "token", "must be 3 to 32 letters and digits", "必须是 3-32 位字母或数字"
    yield from _mistakes_in_key("aes_key", s.aes_key)
    if s.aes_key_old and not s.aes_key:
        english = "is set, but AES_KEY is missing: the old key only helps out a new one"
        yield "aes_key_old", english, "设置了旧密钥，却缺少 AES_KEY"
    yield from _mistakes_in_key("aes_key_old", s.aes_key_old)
    if s.mode not in ("plain", "compatible", "safe"):
        chinese = "必须是 plain（明文）、compatible（兼容）或 safe（安全）"
        yield "mode", "must be plain, compatible or safe", chinese
    if s.mode == "plain" and s.aes_key:
        chinese = "是 plain（明文），却设置了 AES_KEY：请去掉其中一个"
        yield "mode", "is plain, but an AES key is set; remove one of the two", chinese
    if s.mode != "plain" and not s.aes_key:
        yield "mode", f"is {s.mode}, but AES_KEY is missing", f"是 {s.mode}，但缺少 AES_KEY（EncodingAESKey）"
    if not re.fullmatch(r"/[!-~]*", s.path) or re.search("[?#<>]", s.path):
        yield (
            "path",
            "must begin with / and hold printable ASCII without ? # < >",
            "必须以 / 开头，由可打印的 ASCII 字符组成，不含 ? # < >",
        )
    if isinstance(s.store, str) and s.store and not re.match(r"memory:|sqlite:.|rediss?://.|unix://.", s.store):
        english = "must be memory:, sqlite:PATH or redis://HOST:PORT/DATABASE"
        yield "store", english, "应为 memory:、sqlite:路径 或 redis://主机:端口/库号"
    if not isinstance(s.store, str) and not all(hasattr(s.store, verb) for verb in VERBS):
        verbs = ", ".join(VERBS)
        yield "store", f"must be a URL, or an object with {verbs}", f"应为地址字符串，或带有 {verbs} 的对象"
    if not s.fetch_words.strip():
        yield "fetch_words", "must not be empty: a tap sends it", "不能为空：点击链接时用户会发出它"
    for name in ("error_text", "slow_text", "busy_text", "lost_text", "expired_text", "ready_text", "end_text"):
        link = _LINK.format(words=s.fetch_words, label=s.fetch_label) if name in ("slow_text", "ready_text") else ""
        size = len(((getattr(s, name) or "") + link).encode())
        if size > MAX_TEXT_BYTES:
            with_link = "with its link " if link else ""
            english = f"is {with_link}{size} bytes long; WeChat takes {MAX_TEXT_BYTES}, about 680 Chinese characters"
            yield (
                name,
                english,
                f"{'连同链接' if link else ''}有 {size} 字节，微信最多收 {MAX_TEXT_BYTES} 字节（约 680 个汉字）",
            )
    if len(_LINK.format(words=s.fetch_words, label=s.next_label).encode()) > MAX_TEXT_BYTES // 2:
        yield "next_label", "is too long: there must be room for text beside the link", "太长：链接之外还要有正文的位置"
    if not 0 < s.held_after < s.hold < 5 < s.hang_up < 6:
        rule = "0 < held_after < hold < 5 < hang_up < 6"
        english = f"must come after WeChat's 5 seconds, hold and held_after before them ({rule})"
        yield "hang_up", english, f"必须晚于微信的 5 秒，hold 和 held_after 则必须早于 5 秒（{rule}）"


def _pasted(name: str, value: str) -> Words:
    """Find what goes wrong when a value is copied from a web page or a chat."""
    if value != value.strip():
        yield name, "has blanks around it; remove them", "前后有空格或换行：请去掉"
    if value != value.strip("\"'“”‘’"):
        yield name, "has quotation marks around it; remove them", "前后有引号：请去掉"
    if any(unicodedata.category(character) == "Cf" for character in value.strip()):
        english = "holds characters that cannot be seen (zero width, BOM); type it anew"
        yield name, english, "含有看不见的字符（零宽空格、BOM）：请删掉重新手工输入"
    if not value.isascii():
        english = "holds full-width or Chinese characters; type it in half-width letters"
        yield name, english, "含有全角或中文字符：请改用半角"


def _mistakes_in_key(name: str, key: str) -> Words:
    yield from _pasted(name, key)
    if len(key) == 44 and key.endswith("="):
        yield name, "has 44 characters; leave out the = at its end", "有 44 个字符：请去掉末尾的 ="
    if key and not re.fullmatch(r"[A-Za-z0-9+/]{43}", key):
        english = (
            f"has {len(key)} characters, or some that are not Base64; an EncodingAESKey has exactly 43 (A-Z a-z 0-9)"
        )
        yield name, english, f"长度 {len(key)} 或字符不对：EncodingAESKey 是 43 位字母或数字"
