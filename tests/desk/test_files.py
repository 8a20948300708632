"""Files that are handed to a command are refused before anything is pushed, with line and reason."""

import json

import pytest

from wx_mp_svr.desk.files import FileError, as_shown, packet, talk

GOOD = "<xml><MsgType>text</MsgType><Content>你好</Content></xml>"
TALK = {"pushes": [{"xml": GOOD}]}


def refused_by(read, file, text):
    """What is said of a file with that text."""
    file.write_text(text, "utf-8")
    with pytest.raises(FileError) as caught:
        read(str(file))
    return str(caught.value)


PACKETS = [
    ("<xml>\n<A>1</B>\n</xml>", "第 2 行：开始和结束的标签对不上"),
    ("\n\n<xml>\n<A>1</B></xml>", "第 4 行：开始和结束的标签对不上"),
    ("<xml>\n<A>1</A>\n", "第 2 行：没有写完"),
    ("", "第 1 行：没有写完（或者是空的）"),
    ("<xml>\n<A>a & b</A></xml>", "第 2 行：有 XML 里不能这样写的字符：& 要写成 &amp;"),
    ("<xml><A>&nbsp;</A></xml>", "没有这个实体"),
    ("<xml/>\n<xml/>", "</xml> 后面还有内容"),
    ("<xml><A><![CDATA[x</A></xml>", "CDATA 没有结束"),
    ("<a>" * 20 + "</a>" * 20, "嵌套超过 16 层"),
    ("<xml><A>\x01</A></xml>", "有 XML 里不能这样写的字符"),
]


@pytest.mark.parametrize(("text", "words"), PACKETS)
def test_a_packet_that_is_not_well_formed(text, words, tmp_path):
    file = tmp_path / "packet.xml"
    said = refused_by(packet, file, text)
    assert words in said
    assert str(file) in said


TALKS = [
    ('{"pushes": [\n{"xml": "<xml/>"}\n{}]}', "第 3 行：不是 XML，也不是合格的 JSON"),
    ("你好", "第 1 行：不是 XML，也不是合格的 JSON"),
    ("[]", "没有对话"),
    ('{"pushes": []}', "没有对话"),
    ('{"pushes": [{"xml": 1}]}', "没有对话"),
    (json.dumps({"pushes": [{"xml": GOOD}, {"xml": "<xml><A></xml>"}]}), "第 2 次推送 第 1 行：开始和结束的标签对不上"),
    ("<xml>", "talk.json 第 1 行：没有写完"),
]


@pytest.mark.parametrize(("text", "words"), TALKS)
def test_a_talk_that_is_none(text, words, tmp_path):
    assert words in refused_by(talk, tmp_path / "talk.json", text)


def test_what_is_no_text_or_not_there(tmp_path):
    file = tmp_path / "packet.xml"
    file.write_bytes("<xml>\n<A>好</A></xml>".encode("gbk"))
    with pytest.raises(FileError, match="不是 UTF-8 文件（第 2 行）"):
        packet(str(file))
    with pytest.raises(FileError, match="读不了"):
        packet(str(tmp_path))
    with pytest.raises(FileError, match="No such file"):
        talk(str(tmp_path / "nothing"))


def test_what_is_right_is_taken(tmp_path):
    """Also with a BOM and blanks around it."""
    file = tmp_path / "packet.xml"
    file.write_text(f"\ufeff\n{GOOD}\n", "utf-8")
    assert GOOD in packet(str(file))
    assert talk(str(file)) == (None, [{"xml": GOOD}])
    file.write_text(json.dumps(TALK), "utf-8")
    assert talk(str(file)) == (TALK, TALK["pushes"])


REPLY = {"type": "text", "parts": ["好", {"label": "看"}], "fields": {}}
NOT_SAVED = [
    {"id": "1"},
    {"copy_of": "1"},
    {"reply": "好"},
    {"reply": {}},
    {"reply": {**REPLY, "type": 1}},
    {"reply": {**REPLY, "parts": "好"}},
    {"reply": {**REPLY, "fields": []}},
    {"reply": {**REPLY, "parts": [1]}},
    {"reply": {**REPLY, "parts": ["好", {}]}},
    {"reply": {**REPLY, "parts": [{"label": 1}, "好"]}},
]


@pytest.mark.parametrize("push", NOT_SAVED)
def test_a_push_that_the_simulator_has_not_saved_is_refused(push, tmp_path):
    said = refused_by(talk, tmp_path / "talk.json", json.dumps({"pushes": [{"xml": GOOD}, {"xml": GOOD, **push}]}))
    assert "里的第 2 次推送不是模拟器保存的样子" in said


@pytest.mark.parametrize("push", [{}, {"id": 1, "copy_of": 2}, {"id": None, "reply": None}, {"reply": REPLY}])
def test_a_push_that_it_may_have_saved_is_taken(push, tmp_path):
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"pushes": [{"xml": GOOD, **push}]}), "utf-8")
    assert talk(str(file))[1] == [{"xml": GOOD, **push}]


def reply(kind, fields=None, *parts):
    return {"reply": {"type": kind, "parts": list(parts), "fields": fields or {}}}


AS_SHOWN = [
    ({}, "（没有保存）"),
    ({"reply": None}, "（没有保存）"),
    (reply("text", {}, "好", {"label": "看", "href": "1"}), "好看"),
    (reply("text"), "（没有回复）"),
    (reply(""), "（没有回复）"),
    (reply("image", {"Image": {"MediaId": "媒"}, "CreateTime": "1"}), '[图片] {"MediaId": "媒"}'),
    (reply("voice", {"Voice": {"B": "1", "A": "2"}}), '[语音] {"A": "2", "B": "1"}'),
    (reply("video", {"Video": {}}), "[视频] {}"),
    (reply("music", {}), "[音乐] null"),
    (reply("news", {"Articles": {"item": []}, "News": 1}), '[图文] {"item": []}'),
]


@pytest.mark.parametrize(("push", "words"), AS_SHOWN)
def test_what_the_user_has_seen_of_a_saved_reply(push, words):
    assert as_shown(push) == words


def test_the_line_is_that_of_the_file_also_where_it_begins_with_blank_ones(tmp_path):
    file = tmp_path / "packet.xml"
    assert "第 5 行" in refused_by(packet, file, "\n \n\n<xml>\n</a>\n")
    file.write_bytes(b"a\nb\n\xff\nc\n")
    with pytest.raises(FileError, match="第 3 行"):
        packet(str(file))
    assert "有不能写进文件的字符" in refused_by(talk, file, json.dumps({"pushes": [{"xml": "<a>\ud800</a>"}]}))
    deep = "<a>" * 16 + "</a>" * 16
    file.write_text(f"\n{deep}\n", "utf-8")
    assert packet(str(file)) == f"\n{deep}\n"
    assert talk(str(file)) == (None, [{"xml": deep}])
