"""What came back, in words: the tables of causes row by row. `test_causes` tells the same of real servers."""

import pytest

from wx_mp_svr.desk import answers
from wx_mp_svr.desk.answers import Asked, Texts, message, title_of, try_words, verification
from wx_mp_svr.testing import Result, Try
from wx_mp_svr.testing.judge import Check
from wx_mp_svr.wire import HELLO

URL, LOCAL = "http://bot.example/wx", "http://127.0.0.1:5001/wx"
ECHOSTR = "1234567890123456789"
PLAIN = {"content-type": "text/plain; charset=utf-8"}
OURS = (403, b"forbidden", PLAIN)


def tried(status=200, reply=b"", headers=None, *, error="", body=b"<xml/>", checks=(), elapsed=0.25, number=1):
    checks = [Check(*check) for check in checks] or [Check("HTTP 200", "ok" if status == 200 else "wrong")]
    return Try(number, 0.0, elapsed, "", body, status, reply, "", error, checks, headers or {})


def asked(*given, **more):
    """A verification; it is good when the echostr came back."""
    attempt = tried(*given, body=b"", **more)
    right = attempt.status == 200 and attempt.reply == ECHOSTR.encode()
    attempt.checks = [Check("echostr", "ok" if right else "wrong")]
    return Asked(attempt, ECHOSTR)


# -- who refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reply", "headers", "ours"),
    [
        (*OURS, True),
        (403, b"forbidden", {"content-type": "text/plain"}, True),
        (403, b"forbidden", {"content-type": "text/html"}, False),
        (403, b"forbidden", {}, False),
        (403, b"Forbidden", PLAIN, False),
        (401, b"forbidden", PLAIN, False),
    ],
)
def test_our_own_refusal_is_always_the_same(status, reply, headers, ours):
    assert answers.is_ours(tried(status, reply, headers)) is ours


BLOCKED, NOT_BLOCKED = "被云厂商拦截", "HTTP 404"
PAGES = [
    # what a page or its headers say, and whether a cloud has blocked the domain
    *((page, {}, BLOCKED) for page in ("网站未备案", "没有完成备案", "尚未接入备案", "非法备案", "完成接入备案")),
    *((page, {}, BLOCKED) for page in ("备案信息不符，已拦截", "备案号有误，阻断访问", "/WebBlock/index")),
    *(("", {"location": place}, BLOCKED) for place in ("/webblock", "//BEIAN.example/", "/?icp=1", "/备案")),
    ("", {"server": "Beaver"}, BLOCKED),
    ("", {"server": "nginx", "location": "/epic"}, NOT_BLOCKED),
    ("京ICP备12345678号", {}, NOT_BLOCKED),
    ("未找到 沪icp备 12345678号", {}, NOT_BLOCKED),
    ("没有这一页。备案", {}, NOT_BLOCKED),
    ("没有" + "字" * 13 + "备案", {}, NOT_BLOCKED),
]


@pytest.mark.parametrize(("page", "headers", "cause"), PAGES)
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_page_that_blocks_is_told_from_one_that_has_a_number(page, headers, cause, encoding):
    assert cause in try_words(tried(404, page.encode(encoding), headers), URL)[0]


FRONTS = [
    *((404, {"ngrok-error-code": f"ERR_NGROK_{code}"}, b"", "ngrok 的隧道没有运行") for code in (3200, 3004)),
    *((404, {}, b"<p>ERR_NGROK_%d</p>" % code, "ngrok 的隧道没有运行") for code in (3200, 3004)),
    (502, {"ngrok-error-code": "ERR_NGROK_8012"}, b"", "ngrok 连不上程序"),
    (200, {}, b"ERR_NGROK_6024", "ngrok 的提示页"),
    (404, {"ngrok-error-code": "ERR_NGROK_9999"}, b"", "这个路径不存在"),
    (400, {}, b"sent to an HTTPS port", "用 http:// 访问了 HTTPS 的端口"),
    *((status, {}, b"CSRF failed", "被 CSRF 保护拒绝") for status in (400, 403)),
    (500, {}, b"CSRF failed", "程序出错"),
    (401, {}, b"", "要求先登录"),
]


@pytest.mark.parametrize(("status", "headers", "page", "cause"), FRONTS)
def test_somebody_in_front_is_known_by_his_page_or_headers(status, headers, page, cause):
    assert cause in try_words(tried(status, page, headers), URL)[0]


STATUSES = {
    404: "路径不存在",
    405: "请求方法",
    413: "太大",
    426: "HTTP 版本",
    429: "限流",
    500: "程序出错",
    502: "代理连不上程序",
    503: "服务不可用",
    504: "代理等不到程序",
    **dict.fromkeys([520, 521, 522, 523, 524, 525, 526, 527, 530], "CDN 连不上源站"),
    **dict.fromkeys([400, 403, 406, 418, 444], "POST 被服务前面的程序拒绝"),
    **dict.fromkeys([201, 299, 402, 451, 501, 519, 528, 529, 531], "微信只认 200"),
}


@pytest.mark.parametrize(("status", "cause"), STATUSES.items())
def test_a_status_has_its_cause(status, cause):
    said, fix = try_words(tried(status), URL)
    assert cause in said
    assert f"HTTP {status}" in said or f"HTTP 状态是 {status}，" in said
    assert fix


def test_who_refuses_is_quoted_without_tags_and_with_a_name():
    page = b"<h1>Request  blocked</h1>\n&lt;by&gt; <b>us</b>" + b" " * 5000 + b"never seen"
    refused = tried(403, page, {"server": "waf/2" + "x" * 40})
    assert try_words(refused, URL)[0] == (
        f"POST 被服务前面的程序拒绝（HTTP 403，waf/2{'x' * 35}），它说 'Request blocked <by> us'"
    )
    assert try_words(tried(403, body=b""), URL)[0] == "GET 被服务前面的程序拒绝（HTTP 403）"


NO_ANSWERS = [
    # what Python says, of which URL, cause
    ("timeout", URL, "5 秒内没有回答"),
    *(
        (f"{kind}: gone", URL, "对方马上断开")
        for kind in ("ConnectionResetError", "RemoteDisconnected", "BrokenPipeError", "ConnectionAbortedError")
    ),
    ("ConnectionRefusedError: [Errno 111]", URL, "没有程序在监听这个端口"),
    ("TimeoutError: timed out", URL, "连接超时"),
    ("gaierror: unknown", URL, "域名解析失败"),
    ("BadStatusLine: x", URL, "没有得到 HTTP 回答（BadStatusLine: x）"),
    ("KeyError: 'a'", "", "程序自己出错了（KeyError: 'a'）"),
]


@pytest.mark.parametrize(("error", "url", "cause"), NO_ANSWERS)
def test_where_no_answer_came_it_is_said_why(error, url, cause):
    assert cause in try_words(tried(None, error=error), url)[0]


def test_who_listens_nowhere_on_this_machine_is_told_to_start():
    refused = tried(None, error="ConnectionRefusedError: [Errno 111]")
    assert "先启动服务" in try_words(refused, LOCAL)[1]
    assert "先启动 nginx 和服务" in try_words(refused, URL)[1]


REDIRECTS = [
    # the URL, where it is sent, cause; a location is never shown whole, since it may repeat the signed query
    (URL, "https://bot.example/wx?signature=1", "http 被重定向到 https，"),
    ("https://bot.example/wx", "https://bot.example/login?signature=1", "被重定向到 'https://bot.example/login'，"),
    (URL, "/wx/?signature=1", "被重定向到 '/wx/'（差一个斜杠）"),
    (URL + "/", "http://bot.example/wx?signature=1", "被重定向到 '/wx'（差一个斜杠）"),
    (URL, "http://other.example/wx/?signature=1", "被重定向到 'http://other.example/wx/'，"),
    (URL, "https://other.example/wx?signature=1", "被重定向到 'https://other.example/wx'，"),
    (URL, "/wx?signature=1", "被重定向到 '/wx'，"),
    (URL, "/" + "x." * 60, f"被重定向到 '/{'x.' * 39}…'，"),
    (URL, "", "被重定向到 ''，"),
]


@pytest.mark.parametrize(("url", "location", "cause"), REDIRECTS)
@pytest.mark.parametrize("status", [300, 302, 399])
def test_a_redirect_says_where_to(url, location, cause, status):
    said, fix = try_words(tried(status, b"", {"location": location}), url)
    assert said.startswith(cause)
    assert "signature" not in said + fix


def test_what_begins_an_answer_is_shown_without_control_characters():
    assert answers.begins(b"\x1b[31m\xff") == repr("\x1b[31m\ufffd")
    assert answers.begins(b"a." * 3000) == repr("a." * 30 + "…")


# -- the verification --------------------------------------------------------------------------------------------------

ECHO = ECHOSTR.encode()
ECHOES = [
    (b"\x1f\x8b\x08", {}, "被压缩了"),
    (ECHO + b" ", {"content-encoding": "br"}, "被压缩了"),
    (ECHO + b" ", {"content-encoding": "identity"}, "前后多了换行或空格"),
    (b"", {}, "是空的"),
    (b"\xef\xbb\xbf" + ECHO, {}, "BOM"),
    (b' "%b"\n' % ECHO, {}, "带了引号（JSON）"),
    (ECHO + b"\n", {}, "前后多了换行或空格"),
    (HELLO.encode(), {}, "查询参数丢了"),
    (b"success", {}, "返回了 success"),
    *(
        (b" <%b>" % tag, {}, "HTML 网页")
        for tag in (b"!DOCTYPE html", b"html", b"head", b"Body", b"div x='%b'" % ECHO, b"script")
    ),
    (b"<p>", {}, "返回的不是 echostr，而是 '<p>'"),
    (b"x" + ECHO, {}, "前后多了别的内容"),
    (b"9" * 18, {}, "以前的 echostr"),
    (b"9" * 19, {}, "以前的 echostr"),
    (b"9" * 17, {}, "而是 '" + "9" * 17),
    (b"9" * 20, {}, "而是 '" + "9" * 20),
]


@pytest.mark.parametrize(("reply", "headers", "cause"), ECHOES)
def test_an_echo_that_is_none_has_a_cause(reply, headers, cause):
    found = verification([asked(200, reply, headers)], URL)
    assert (found.level, found.name) == ("error", "接入验证（GET）")
    assert cause in found.cause
    assert found.fix


def test_an_echo_in_chunks_is_none():
    one = asked(200, ECHO, {"transfer-encoding": "chunked"})
    one.attempt.checks = [Check("echostr", "wrong")]
    assert "分块" in verification([one], URL).cause


RIGHT, REFUSED, LATE = asked(200, ECHO, elapsed=1.26), asked(*OURS), asked(None, error="timeout")
SERIES = [
    # what came back to several questions, level, cause
    ([RIGHT], "ok", "1.3 秒内原样返回 echostr（1 次）"),
    ([asked(200, ECHO), RIGHT, asked(200, ECHO)], "ok", "1.3 秒内原样返回 echostr（3 次）"),
    ([LATE, RIGHT, RIGHT], "warning", "第一次超过 5 秒没有回答，第二次 1.3 秒"),
    ([LATE, RIGHT, LATE], "error", "3 次中有 2 次失败：5 秒内没有回答"),
    ([RIGHT, LATE], "error", "2 次中有 1 次失败：5 秒内没有回答"),
    ([REFUSED, RIGHT], "error", "2 次中有 1 次失败：被服务器拒绝（HTTP 403）"),
    ([REFUSED, LATE], "error", "被服务器拒绝（HTTP 403）"),
]


@pytest.mark.parametrize(("series", "level", "cause"), SERIES)
def test_one_answer_alone_may_be_lucky(series, level, cause):
    found = verification(series, URL)
    assert (found.level, found.cause.startswith(cause)) == (level, True), found
    assert found.fix.startswith("多半是几个实例里有一个") == ("次失败" in cause)


def test_an_old_echo_among_right_ones_is_a_cache_and_no_other_instance():
    found = verification([RIGHT, asked(200, b"9" * 19)], URL)
    assert "2 次中有 1 次失败：得到的是以前的 echostr" in found.cause
    assert found.fix.startswith("对这个路径关闭缓存")


@pytest.mark.parametrize(
    ("given", "skew", "cause"),
    [
        (OURS, 301, "时钟相差太大"),
        (OURS, -301, "时钟相差太大"),
        (OURS, 300, "多半是服务器上的 Token"),
        (OURS, None, "多半是服务器上的 Token"),
        ((403, b"blocked"), 301, "时钟相差太大"),
        ((500, b"oops"), 301, "程序出错"),
    ],
)
def test_a_refused_question_may_be_the_clocks_fault(given, skew, cause):
    assert cause in verification([asked(*given)], URL, skew).cause


# -- a message ---------------------------------------------------------------------------------------------------------

TEXTS = Texts(frozenset({"出错了", "太忙"}), ("请稍候",))
MENU = '<a href="weixin://bizmsgmenu?msgmenucontent=a&msgmenuid={id}">下一页</a>'


def pushed(*tries, kind="text", content="好", elapsed=0.5):
    return Result("<xml/>", list(tries) or [tried()], kind, content, {}, elapsed)


def judged(*results, mode="safe", plain_works=False):
    found = message(results, mode, URL, lambda: plain_works, TEXTS)
    assert found.name == ("明文消息（POST）" if mode == "plain" else "加密消息（POST）")
    return found.level, found.cause


SLOW = tried(number=2)
ANSWERED = [
    (pushed(), "ok", "0.5 秒内得到文本回复：好"),
    (pushed(elapsed=0.04), "ok", "0.1 秒内得到文本回复：好"),
    (pushed(content="好" + MENU.format(id="wxmp-1")), "ok", "0.5 秒内得到文本回复：好下一页（用户点链接看余下的）"),
    (pushed(content="好" + MENU.format(id="1")), "ok", "0.5 秒内得到文本回复：好下一页"),
    *(
        (pushed(kind=kind, content=""), "ok", f"0.5 秒内得到{words}回复")
        for kind, words in {
            "image": "图片",
            "voice": "语音",
            "video": "视频",
            "music": "音乐",
            "news": "图文",
            "transfer_customer_service": "转人工客服的",
        }.items()
    ),
    (pushed(kind="", content=""), "warning", "收到了，但没有回复内容"),
    (pushed(content="出错了"), "error", "处理函数多半出错了，用户看到：出错了"),
    (pushed(content="太忙"), "error", "处理函数多半出错了，用户看到：太忙"),
    (
        pushed(content="请稍候：看", elapsed=5.24),
        "warning",
        "处理函数没有在 5 秒内完成（5.2 秒，第 1 次推送），用户看到：请稍候：看",
    ),
    (pushed(tried(None, error="timeout"), SLOW), "warning", "第 2 次推送才有回复（0.5 秒），用户看到：好"),
    (
        pushed(tried(None, error="timeout"), SLOW, kind="", content=""),
        "warning",
        "第 2 次推送才有回复（0.5 秒），用户看到：（没有内容）",
    ),
    (pushed(tried(500), SLOW), "error", "2 次推送中有 1 次失败：程序出错（HTTP 500）"),
    (
        pushed(tried(checks=[("line ends", "harmful")])),
        "warning",
        r"文本里有反斜杠加 n，用户看到的就是 \n",
    ),
]


@pytest.mark.parametrize(("result", "level", "cause"), ANSWERED)
def test_an_answer_is_shown_with_what_the_user_has_of_it(result, level, cause):
    assert judged(result) == (level, cause)


def test_the_same_push_once_more_counts_too():
    assert judged(pushed(), pushed(tried(*OURS))) == (
        "error",
        "2 次推送中有 1 次失败：请求被服务器拒绝（HTTP 403）",
    )
    assert judged(pushed(), pushed())[0] == "ok"


REFUSALS = [
    # the last try, mode, whether the bot answers plain messages, cause
    (tried(*OURS), "plain", False, "明文消息被拒绝"),
    (tried(*OURS), "plain", True, "明文消息被拒绝"),
    (tried(*OURS), "safe", False, "密文被拒绝"),
    (tried(*OURS), "compatible", False, "密文被拒绝"),
    (tried(*OURS), "safe", True, "服务器只懂明文"),
    (tried(500), "safe", True, "服务器只懂明文"),
    (tried(500), "plain", True, "程序出错（HTTP 500）"),
    (tried(500), "safe", False, "程序出错（HTTP 500）"),
    (tried(None, error="timeout"), "safe", True, "5 秒内没有回答"),
]


@pytest.mark.parametrize(("last", "mode", "plain_works", "cause"), REFUSALS)
def test_a_push_that_was_not_taken_has_a_cause(last, mode, plain_works, cause):
    level, said = judged(pushed(last, kind="fault"), mode=mode, plain_works=plain_works)
    assert (level, cause in said) == ("error", True), said


NOT_XML, ENVELOPE = ("well-formed XML", "wrong", "x"), ("encrypted reply", "wrong", "missing: Nonce")
REPLIES = [
    (b"\x1f\x8b\x08", {}, NOT_XML, "被压缩了"),
    (b"<xml>", {"content-encoding": "gzip"}, NOT_XML, "被压缩了"),
    (b"<html>", {}, NOT_XML, "HTML 网页"),
    (b"<xml><MsgType>text</MsgType></xml>", {}, ENVELOPE, "安全模式下回复了明文"),
    (b"<xml></xml>", {}, ENVELOPE, "密文的格式不对（missing: Nonce）"),
    *((b" " + json, {}, NOT_XML, f"回复的是 JSON：' {json.decode()}'") for json in (b'"a"', b"{}", b"[]")),
    (b"<xml", {}, NOT_XML, "回复不是合格的 XML：'<xml'"),
    (b"<a/>", {}, ("root <xml>", "wrong", "x"), "根元素不是 <xml>"),
    (b"<xml/>", {}, ("Image.MediaId", "wrong", "missing"), "Image.MediaId：missing"),
]


@pytest.mark.parametrize(("reply", "headers", "check", "cause"), REPLIES)
def test_a_reply_that_wechat_would_not_take_has_a_cause(reply, headers, check, cause):
    attempt = tried(200, reply, headers, checks=[("HTTP 200", "ok"), ("line ends", "harmful"), check])
    assert cause in try_words(attempt, URL)[0]


CHECKS = {
    "Content-Length": "分块",
    "no BOM": "BOM",
    "no control characters": "控制字符",
    "root <xml>": "根元素",
    "plain reply": "明文模式",
    "MsgSignature": "MsgSignature",
    "decrypt": "解不开",
    "ToUserName": "ToUserName 不是",
    "FromUserName": "FromUserName 不是",
    "CreateTime": "CreateTime 不是",
    "MsgType": "MsgType 不是",
    "no element twice": "重复",
    "ArticleCount": "ArticleCount 与",
    "Content <= 2047 bytes": "超过 2047 字节",
    "line ends": "反斜杠",
    "at most 1 articles": "只能有一条图文",
    "at most 8 articles": "最多八条图文",
    "articles have a Title": "没有标题",
    "Video.MediaId": "Video.MediaId：x",
}


@pytest.mark.parametrize(("name", "cause"), CHECKS.items())
def test_what_a_check_finds_is_named(name, cause):
    assert cause in answers.check_words(Check(name, "wrong", "x"))[0]


def test_every_check_has_a_title_and_those_of_required_elements_share_one():
    titles = {name: title_of(name) for name in {*CHECKS, "HTTP 200", "success", "encrypted reply", "echostr"}}
    assert [name for name, title in titles.items() if title == "必填的元素不为空"] == ["Video.MediaId"]
    assert len(set(titles.values())) == len(titles)
