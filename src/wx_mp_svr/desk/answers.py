"""What came back from a bot, or from what stands in front of it, in words: tables of causes and fixes.

Tries and results in, findings out. Asks nobody itself. Our own refusal is always the same; whatever else refuses is
somebody in front of the bot.
"""

import html
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from ..testing import Mode, Result, Try
from ..testing.judge import Check, is_chunked, without_links
from ..wire import HELLO
from .findings import Finding, Words, cut
from .reaching import unreachable

SKEW_ERROR = 300  # seconds; a server's `window`
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|div|script)", re.IGNORECASE)
_ECHO_BACK = "原样返回 echostr：HTTP 200、text/plain，前后不加任何内容"
_SEVERAL = "多半是几个实例里有一个设置不同或没有运行；"


def _text(attempt: Try) -> str:
    try:
        return attempt.reply.decode()
    except UnicodeDecodeError:
        return attempt.reply.decode("gb18030", "replace")  # as block pages in China still are


def begins(reply: bytes) -> str:
    """Return how a reply begins; never a control character."""
    return repr(cut(reply[:4096].decode(errors="replace")))


# -- who refused -------------------------------------------------------------------------------------------------------


def is_ours(attempt: Try) -> bool:
    """Whether it was wx-mp-svr that refused; it never says more."""
    kind = attempt.headers.get("content-type", "").partition(";")[0].strip()
    return (attempt.status, kind, attempt.reply) == (403, "text/plain", b"forbidden")


# A page's own number (京ICP备12345号) stands at the foot of any Chinese site and blocks nothing.
_NUMBER = re.compile(r"ICP\s*[备证]\s*\d*", re.IGNORECASE)
_BLOCK_PAGE = re.compile(
    r"(未|没有|尚未|非法|完成)[^<。]{0,12}备案|备案[^<。]{0,12}(拦截|阻断)|webblock", re.IGNORECASE
)
_BLOCK_PLACE = re.compile(r"webblock|beian|\bicp\b|备案", re.IGNORECASE)


def _blocked(attempt: Try, text: str) -> bool:
    return (
        attempt.headers.get("server", "").lower() == "beaver"
        or bool(_BLOCK_PLACE.search(attempt.headers.get("location", "")))
        or bool(_BLOCK_PAGE.search(_NUMBER.sub("", text)))
    )


def _ngrok(*codes: str) -> Callable[[Try, str], bool]:
    names = [f"ERR_NGROK_{code}" for code in codes]
    return lambda t, text: any(name in t.headers.get("ngrok-error-code", "") or name in text for name in names)


# Whatever the status is; the first that is true names the cause.
_FRONTS: tuple[tuple[Callable[[Try, str], bool], str, str], ...] = (
    (
        _blocked,
        "被云厂商拦截：域名多半没有备案，或没有在这家云接入备案",
        "到云厂商的备案控制台办理（在服务器本机上检查可能看不到这个拦截）",
    ),
    (_ngrok("3200", "3004"), "ngrok 的隧道没有运行", "启动 ngrok，并核对域名：免费的域名重启后可能会变"),
    (_ngrok("8012"), "ngrok 连不上程序", "启动服务，核对 ngrok 转发到的端口"),
    (_ngrok("6024"), "ngrok 的提示页挡在程序前面", "免费的 ngrok 会这样：换付费域名或别的内网穿透"),
    (lambda t, text: "HTTPS port" in text, "用 http:// 访问了 HTTPS 的端口", "公众平台的 URL 改成 https:// 开头"),
    (
        lambda t, text: t.status in (400, 403) and "csrf" in text.lower(),
        "被 CSRF 保护拒绝",
        "对这个路径关闭 CSRF 检查（Flask-WTF：csrf.exempt）",
    ),
    (
        lambda t, text: t.status == 401,
        "要求先登录（HTTP 401）",
        "对这个路径关闭登录（nginx：auth_basic off），或在程序里放行",
    ),
)

_LOG = "看服务器日志里 refused reason= 后面的词"
_STATUSES: dict[int, Words] = {
    404: (
        "这个路径不存在（HTTP 404）",
        "核对 URL 的路径（默认 /wx_mp_cb）和 nginx 的 location；也可能 server_name 与域名不一致，是默认站点在回答",
    ),
    405: ("不接受这种请求方法（HTTP 405）", "让这个路径同时接受 GET 和 POST"),
    413: ("请求体被嫌太大（HTTP 413）", "nginx：client_max_body_size 1m;"),
    426: ("要求更新的 HTTP 版本（HTTP 426）", "微信用 HTTP/1.0：让代理或 CDN 接受它"),
    429: ("请求太多，被限流（HTTP 429）", "对这个路径放宽 nginx 的 limit_req，或 CDN、WAF 的频率限制"),
    500: ("程序出错（HTTP 500）", "看服务器日志中的错误堆栈"),
    502: ("代理连不上程序（HTTP 502）", "启动服务，核对 nginx 的 proxy_pass 端口"),
    503: ("服务不可用（HTTP 503）", "看服务器日志；服务是否过载或正在重启"),
    504: ("代理等不到程序的回答（HTTP 504）", "把 nginx 的 proxy_read_timeout 设为 10s，并看服务器日志"),
    **{
        code: (f"CDN 连不上源站（HTTP {code}）", "核对 CDN 里源站的地址、端口和协议，并看源站的日志")
        for code in (*range(520, 528), 530)
    },
}
_DROPPED = ("ConnectionResetError", "RemoteDisconnected", "BrokenPipeError", "ConnectionAbortedError")


def front(attempt: Try) -> Words | None:
    """Name somebody in front of the bot who is known by his page or headers."""
    text = _text(attempt)
    return next(((cause, fix) for look, cause, fix in _FRONTS if look(attempt, text)), None)


def _no_answer(attempt: Try, url: str) -> Words | None:
    """Name what is wrong when there is no HTTP 200."""
    if attempt.status is None and attempt.error == "timeout":
        return "5 秒内没有回答", "看程序是否卡住；单线程的服务请用 gunicorn -k gthread --threads 512"
    if attempt.status is None and attempt.error.startswith(_DROPPED):
        return (
            "连上了，但对方马上断开，没有回答",
            "多半是 Docker 或 frp 转发到的程序没有运行，或它在容器里只听 127.0.0.1（设 WX_MP_HOST=0.0.0.0）；看服务器日志",
        )
    if attempt.status is None and (words := unreachable(attempt.error, url)):
        return words
    if attempt.status is None and not url:
        return f"程序自己出错了（{cut(attempt.error)}）", "看终端里的错误堆栈"
    if attempt.status is None:
        return f"连上了，但没有得到 HTTP 回答（{cut(attempt.error)}）", "确认这个端口上是 HTTP 服务，并看服务器日志"
    if is_ours(attempt):
        return (
            "请求被服务器拒绝（HTTP 403）",
            f"核对两边的 Token、EncodingAESKey、AppID 和加解密方式；{_LOG}",
        )
    if known := front(attempt):
        return known
    if 300 <= attempt.status < 400:
        return _redirect(url, attempt.headers.get("location", ""))
    return None if attempt.status == 200 else _STATUSES.get(attempt.status) or _refused(attempt)


def _refused(attempt: Try) -> Words:
    """Name a status that is not ours and has no cure of its own."""
    said = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", _text(attempt)[:4096])).split())
    who = "，".join(filter(None, [f"HTTP {attempt.status}", attempt.headers.get("server", "")[:40]]))
    cause = f"{'POST' if attempt.body else 'GET'} 被服务前面的程序拒绝（{who}）" + (
        f"，它说 {cut(said)!r}" if said else ""
    )
    if attempt.status not in (400, 401, 403, 406, 418, 444):
        return f"HTTP 状态是 {attempt.status}，微信只认 200", "让这个地址返回 200；看服务器日志"
    return (
        cause,
        "在 nginx、CDN、WAF 或 before_request 中放行这个路径（若程序不是用 wx-mp-svr 写的，也可能是 Token 不一致）",
    )


def _redirect(url: str, location: str) -> Words:
    # Never shown whole: it may repeat the signed query.
    target, asked = urlsplit(location), urlsplit(url)
    same_host = not target.hostname or target.hostname == asked.hostname
    if same_host and target.scheme == "https" and asked.scheme == "http":
        return "http 被重定向到 https，微信不跟随跳转", "公众平台的 URL 改成 https:// 开头"
    if same_host and target.path != asked.path and target.path.rstrip("/") == asked.path.rstrip("/"):
        return f"被重定向到 {target.path!r}（差一个斜杠），微信不跟随跳转", f"公众平台的 URL 路径改成 {target.path}"
    shown = f"{target.scheme}://{target.netloc}{target.path}" if target.netloc else target.path
    return f"被重定向到 {cut(shown, 80)!r}，微信不跟随跳转", "让这个地址直接回答（不要跳转到登录页或别的域名）"


def _compressed(attempt: Try) -> bool:
    return attempt.reply[:2] == b"\x1f\x8b" or attempt.headers.get("content-encoding", "identity") != "identity"


# -- the verification --------------------------------------------------------------------------------------------------

# In this order: the first that is true names the fault.
_ECHOES: tuple[tuple[Callable[[Try, bytes], bool], str, str], ...] = (
    (lambda t, e: _compressed(t), "回答被压缩了（gzip），微信不解压", "对这个地址关闭压缩（nginx：gzip off）"),
    (
        lambda t, e: not t.reply,
        "返回的内容是空的",
        _ECHO_BACK + "（处理 GET 的函数要 return echostr；别的程序在 Token 不一致时也可能这样）",
    ),
    (
        lambda t, e: t.reply == e and is_chunked(t),
        "回答是分块（chunked）发送的，微信用 HTTP/1.0，读不懂分块",
        "回答要带 Content-Length（多半是代理或框架在流式发送）",
    ),
    (lambda t, e: t.reply == b"\xef\xbb\xbf" + e, "内容前面有 BOM", "把源文件存为「UTF-8 无 BOM」，" + _ECHO_BACK),
    (lambda t, e: t.reply.strip() == b'"%b"' % e, "内容带了引号（JSON）", "不要用 jsonify 或返回 JSON，" + _ECHO_BACK),
    (lambda t, e: t.reply.strip() == e, "内容前后多了换行或空格", _ECHO_BACK + "（不要用 print 或 echo 输出）"),
    (lambda t, e: HELLO.encode() == t.reply, "查询参数丢了：程序没有收到 signature 等参数", "让反向代理保留查询参数"),
    (lambda t, e: t.reply == b"success", "返回了 success 而不是 echostr", _ECHO_BACK),
    (
        lambda t, e: bool(_HTML.match(t.reply)),
        "返回的是 HTML 网页",
        "这个地址多半是网站而不是程序：核对路径、nginx 的 location，以及 server_name 是否与域名一致",
    ),
    (lambda t, e: e in t.reply, "echostr 前后多了别的内容", _ECHO_BACK),
)


class Asked(NamedTuple):
    """One verification and what was to come back."""

    attempt: Try
    echostr: str


def verification(asked: Sequence[Asked], url: str, skew: float | None = None) -> Finding:
    """Say how the GETs went with which WeChat verifies a URL; one alone may be lucky."""
    name = "接入验证（GET）"
    bad = [one for one in asked if not one.attempt.good]
    if not bad:
        slowest = max(one.attempt.elapsed for one in asked)
        return Finding("ok", name, f"{slowest:.1f} 秒内原样返回 echostr（{len(asked)} 次）")
    if len(bad) == len(asked):
        return Finding("error", name, *_unverified(bad[0], url, skew))
    if bad == [asked[0]] and bad[0].attempt.error == "timeout":
        cause = f"第一次超过 5 秒没有回答，第二次 {asked[1].attempt.elapsed:.1f} 秒：多半是冷启动"
        return Finding("warning", name, cause, "让程序常驻（例如最小实例数 1），不要在第一个请求里才加载")
    cause, fix = _unverified(bad[0], url, skew)
    return Finding(
        "error", name, f"{len(asked)} 次中有 {len(bad)} 次失败：{cause}", fix if _is_old(bad[0]) else _SEVERAL + fix
    )


def _is_old(one: Asked) -> bool:
    """Whether somebody gave us the echostr of an earlier question."""
    return (
        one.attempt.status == 200
        and one.attempt.reply != one.echostr.encode()
        and bool(re.fullmatch(rb"\d{18,19}", one.attempt.reply))
    )


def _unverified(one: Asked, url: str, skew: float | None) -> Words:
    attempt, echostr = one
    if attempt.status == 403 and skew is not None and abs(skew) > SKEW_ERROR:
        return "请求被拒绝：时钟相差太大，时间戳过期", "校准服务器时钟（timedatectl set-ntp true）"
    if is_ours(attempt):
        fix = (
            "两边和公众平台填同一个 Token 后重启；日志里 refused reason=signature 是它，clock 是时钟，params 是参数丢了"
        )
        return "被服务器拒绝（HTTP 403）：多半是服务器上的 Token 与这里的 WX_MP_TOKEN 不一致", fix
    if words := _no_answer(attempt, url):
        return words
    if _is_old(one):
        return "得到的是以前的 echostr：CDN 或 nginx 缓存了这个地址", "对这个路径关闭缓存（nginx：proxy_cache off）"
    other = (f"返回的不是 echostr，而是 {begins(attempt.reply)}", "核对两边的 Token；" + _ECHO_BACK)
    return next(((cause, fix) for look, cause, fix in _ECHOES if look(attempt, echostr.encode())), other)


# -- a message ---------------------------------------------------------------------------------------------------------

# By the names that the judge gives to its checks. Those that are missing are elements that must not be empty.
_TITLES = {
    "HTTP 200": "状态码是 200",
    "Content-Length": "有 Content-Length，不分块",
    "success": "已收到，不回复用户",
    "no BOM": "开头没有 BOM",
    "no control characters": "没有控制字符",
    "well-formed XML": "XML 格式正确",
    "not nested too deep": "XML 嵌套不太深",
    "root <xml>": "根元素是 <xml>",
    "plain reply": "明文模式用明文回复",
    "encrypted reply": "密文的四个元素齐全",
    "MsgSignature": "回复的签名正确",
    "decrypt": "能用 EncodingAESKey 和 AppID 解密",
    "no element twice": "元素不重复",
    "ToUserName": "收件人是刚才的用户",
    "FromUserName": "发件人是本公众号",
    "CreateTime": "时间是 Unix 秒",
    "MsgType": "是七种回复类型之一",
    "line ends": "换行是真的换行",
    "Content <= 2047 bytes": "文本不超过 2047 字节",
    "ArticleCount": "图文条数正确",
    "at most 1 articles": "图文不超过一条",
    "at most 8 articles": "图文不超过八条",
    "articles have a Title": "每条图文都有标题",
    "echostr": "原样返回 echostr",
}


def title_of(check: str) -> str:
    """Return a check's name in Chinese."""
    return _TITLES.get(check, "必填的元素不为空")


_CHECKS: dict[str, Words] = {
    "Content-Length": ("回复是分块（chunked）发送的，微信用 HTTP/1.0，读不懂分块", "回复要带 Content-Length"),
    "no BOM": ("回复前面有 BOM", "把源文件存为「UTF-8 无 BOM」"),
    "no control characters": ("回复中有 XML 不允许的控制字符", "回复前去掉控制字符"),
    "root <xml>": ("回复的根元素不是 <xml>", "按微信的格式回复"),
    "plain reply": ("明文模式下回复了密文", "两边用同一种加解密方式"),
    "MsgSignature": ("回复的 MsgSignature 不对", "核对 Token；签名用的是 Token、TimeStamp、Nonce、Encrypt"),
    "decrypt": ("回复解不开：EncodingAESKey 或 AppID 与这里的不一致", "两边填同一个 EncodingAESKey 和 AppID"),
    "ToUserName": ("ToUserName 不是发消息的用户", "回复时交换 ToUserName 和 FromUserName"),
    "FromUserName": ("FromUserName 不是公众号", "回复时交换 ToUserName 和 FromUserName"),
    "CreateTime": ("CreateTime 不是秒数", "填整数秒，例如 int(time.time())"),
    "MsgType": ("MsgType 不是回复类型", "用 text、image、voice、video、music 或 news"),
    "no element twice": ("回复里有重复的元素", "每个元素只写一次"),
    "ArticleCount": ("ArticleCount 与图文条数不符", "填 Articles 里 item 的个数"),
    "Content <= 2047 bytes": ("文本超过 2047 字节，一个汉字是 3 字节", "缩短它，或分成几条（wx-mp-svr 会自动分页）"),
    "line ends": (r"文本里有反斜杠加 n，用户看到的就是 \n", r'换行要写真的换行：Python 里是 "\n"，不是 r"\n" 或 "\\n"'),
    "at most 1 articles": ("回复普通消息只能有一条图文，其余的用户看不到", "只回复一条图文"),
    "at most 8 articles": ("回复事件最多八条图文，其余的用户看不到", "最多回复八条图文"),
    "articles have a Title": ("有一条图文没有标题", "给每条图文写上 Title"),
}


def _bad_reply(attempt: Try) -> Words:
    """Name what is wrong with an answer of HTTP 200 that WeChat would not take."""
    reply, check = attempt.reply, next(check for check in attempt.checks if check.level == "wrong")
    if _compressed(attempt):
        return "回复被压缩了（gzip），微信不解压", "对这个地址关闭压缩（nginx：gzip off）"
    if _HTML.match(reply):
        return "回复的是 HTML 网页", "看服务器日志；核对 nginx 的 location 和程序的 POST 处理"
    if check.name == "encrypted reply" and b"<MsgType>" in reply:
        return "安全模式下回复了明文", "回复也要加密：给服务器设置 WX_MP_AES_KEY"
    if check.name == "encrypted reply":
        return f"密文的格式不对（{check.detail}）", "元素名是 Encrypt、MsgSignature、TimeStamp、Nonce"
    if reply.lstrip()[:1] in (b'"', b"{", b"["):
        return f"回复的是 JSON：{begins(reply)}", "回复 XML，或原样返回 success（不带引号）"
    if check.name == "well-formed XML":
        return f"回复不是合格的 XML：{begins(reply)}", "按微信的格式回复 XML，或返回 success"
    return check_words(check)


def check_words(check: Check) -> Words:
    """Name what one check has found."""
    return _CHECKS.get(check.name, (f"{check.name}：{check.detail}", "按微信的格式回复"))


def try_words(attempt: Try, url: str) -> Words:
    """Name what is wrong with one delivery of a push.

    Args:
        attempt: One that was not good.
        url: Who was asked; "" for a bot in this process.
    """
    return _no_answer(attempt, url) or _bad_reply(attempt)


class Texts(NamedTuple):
    """What a bot says to its users by itself: when a handler failed, and when one is slow."""

    faults: frozenset[str]
    slow: tuple[str, ...]


def message(results: Sequence[Result], mode: Mode, url: str, plain_works: Callable[[], bool], texts: Texts) -> Finding:
    """Say whether a message came back right.

    Args:
        results: The push, and the very same once more.
        mode: The account's.
        url: Where it was sent.
        plain_works: Asked when an encrypted push was not answered.
        texts: What the bot says by itself.
    """
    name = "明文消息（POST）" if mode == "plain" else "加密消息（POST）"
    last = results[0].tries[-1]
    if last.good:
        return _answered(name, results, url, texts)
    if is_ours(last) and mode == "plain":
        cause = "明文消息被拒绝：服务器多半用的是安全模式"
        return Finding("error", name, cause, f"这里也设置 WX_MP_AES_KEY 和 WX_MP_APPID；{_LOG}")
    if mode != "plain" and last.status is not None and plain_works():
        fix = "给服务器设置 WX_MP_AES_KEY 和 WX_MP_APPID 后重启"
        return Finding("error", name, "服务器只懂明文：没有启用加密", fix)
    if is_ours(last):
        cause = "密文被拒绝：多半是服务器上的 EncodingAESKey 或 AppID 与这里的不一致"
        fix = (
            "两边和公众平台填同样的值，重启服务；"
            "日志里 refused reason=decrypt 是它，signature、params、xml 是请求在路上被改了"
        )
        return Finding("error", name, cause, fix)
    return Finding("error", name, *try_words(last, url))


_KINDS = {
    "text": "文本",
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "music": "音乐",
    "news": "图文",
    "transfer_customer_service": "转人工客服的",
}


def _answered(name: str, results: Sequence[Result], url: str, texts: Texts) -> Finding:
    result, tries = results[0], [attempt for result in results for attempt in result.tries]
    last, content = result.tries[-1], cut(without_links(result.content))
    bad = [attempt for attempt in tries if not attempt.good and attempt.error != "timeout"]
    harmful = [check for check in last.checks if check.level == "harmful"]
    if bad:
        cause, fix = try_words(bad[0], url)
        return Finding("error", name, f"{len(tries)} 次推送中有 {len(bad)} 次失败：{cause}", _SEVERAL + fix)
    if result.content in texts.faults:
        return Finding("error", name, f"处理函数多半出错了，用户看到：{content}", "看服务器日志中的错误堆栈")
    if result.content.startswith(texts.slow):
        cause = f"处理函数没有在 5 秒内完成（{result.elapsed:.1f} 秒，第 {last.number} 次推送），用户看到：{content}"
        return Finding("warning", name, cause, "用户要点链接才看到回复；尽量快些回复")
    if last.number > 1:
        cause = f"第 {last.number} 次推送才有回复（{result.elapsed:.1f} 秒），用户看到：{content or '（没有内容）'}"
        return Finding("warning", name, cause, "处理函数超过了 5 秒；微信一共只推送三次，尽量快些回复")
    if not result.type:
        return Finding("warning", name, "收到了，但没有回复内容", "若处理函数应当回复，请看服务器日志")
    if harmful:
        return Finding("warning", name, *check_words(harmful[0]))
    said = f"{max(result.elapsed, 0.1):.1f} 秒内得到{_KINDS[result.type]}回复" + (f"：{content}" if content else "")
    leads_on = any(link.menu_id.startswith("wxmp-") for link in result.links)  # as wx-mp-svr pages an answer
    return Finding("ok", name, said + ("（用户点链接看余下的）" if leads_on else ""))
