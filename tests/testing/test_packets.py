"""Packets as WeChat writes them: numbers and seconds that never come twice, and reading what need not be well-formed."""

import time
import xml.etree.ElementTree as ET

import pytest

from wx_mp_svr.testing.packets import (
    MAX_DEPTH,
    MAX_SENDERS,
    depth_of,
    first,
    new_msg_id,
    new_second,
    read_xml,
    renewed,
    write_xml,
)


def test_message_ids_are_as_long_as_wechats_and_grow():
    before, ids, after = time.time_ns() // 100, [new_msg_id() for _ in range(1000)], time.time_ns() // 100
    assert ids == sorted(set(ids))
    assert before - 10 <= ids[0]
    assert ids[-1] <= after + 1000
    assert len(str(ids[0])) == 17


def test_of_one_sender_no_second_comes_twice():
    assert [new_second("o_twice", 100) for _ in range(3)] == [100, 101, 102]
    assert new_second("o_other", 100) == 100
    assert new_second("o_twice", 101) == 103
    assert new_second("o_twice", 200) == 200
    assert new_second("o_twice", 0) == 201


def test_senders_are_forgotten_who_have_been_silent_for_longest():
    assert new_second("o_known", 100) == 100
    for number in range(MAX_SENDERS - 1):
        new_second(f"o_one_of_many_{number}", 100)
    assert new_second("o_known", 100) == 101
    for number in range(MAX_SENDERS):
        new_second(f"o_one_of_others_{number}", 100)
    assert new_second("o_known", 100) == 100


def test_a_packet_is_renewed_where_it_says_when_and_which():
    """The first of each: what stands in a text is the user's."""
    copy = "<CreateTime>1</CreateTime><MsgId>7</MsgId>"
    xml = (
        f"<xml><CreateTime> <![CDATA[1]]>\n</CreateTime><MsgId>\n<![CDATA[7]]> </MsgId><Content>{copy}</Content></xml>"
    )
    before = int(time.time())
    new = renewed(xml)
    assert new.count(copy) == 1
    assert before <= int(first(new, "CreateTime")) <= time.time()
    assert int(first(new, "MsgId")) > 10**15
    assert new.startswith("<xml><CreateTime>1")


def test_a_packet_without_an_id_gets_a_second_of_its_own():
    event = "<xml><FromUserName>o_renewed</FromUserName><CreateTime>1</CreateTime></xml>"
    seconds = [int(first(renewed(event), "CreateTime")) for _ in range(3)]
    assert seconds == [seconds[0] + n for n in range(3)]
    assert abs(seconds[0] - time.time()) < 60
    other = event.replace("o_renewed", "o_renewed_too")
    assert int(first(renewed(other), "CreateTime")) < seconds[-1]
    message = event.replace("</xml>", "<MsgId>1</MsgId></xml>")
    assert int(first(renewed(message), "CreateTime")) < seconds[-1]


def test_what_is_written_looks_as_wechats_and_is_read_again():
    elements = {"Content": "你 ]] & <b>", "Scale": 20, "Info": {"item": [{"A": "1"}, {"A": "2"}], "Empty": ""}}
    xml = write_xml(elements)
    assert xml == (
        "<xml><Content><![CDATA[你 ]] & <b>]]></Content>\n<Scale>20</Scale>\n<Info>\n"
        "<item>\n<A><![CDATA[1]]></A>\n</item>\n<item>\n<A><![CDATA[2]]></A>\n</item>\n"
        "<Empty><![CDATA[]]></Empty>\n</Info>\n</xml>"
    )
    assert read_xml(xml) == {**elements, "Scale": "20"}
    assert read_xml(write_xml({"A": ["1", "2"]})) == {"A": "2"}
    assert read_xml(write_xml({"item": "1"})) == {"item": ["1"]}


@pytest.mark.parametrize("depth", [1, 2, MAX_DEPTH, MAX_DEPTH + 1])
def test_what_is_nested_too_deep_is_not_read(depth):
    xml = f"{'<a>' * depth}x{'</a>' * depth}"
    assert depth_of(ET.fromstring(xml)) == depth
    if depth == MAX_DEPTH:
        assert read_xml(xml)
    if depth > MAX_DEPTH:
        assert read_xml(xml) == {}


def test_counting_ends_one_level_over_what_is_allowed():
    assert MAX_DEPTH == 16
    assert depth_of(ET.fromstring("<a>" * 100 + "</a>" * 100)) == 17
    assert depth_of(ET.fromstring("<a><b/><b><c/></b><b/></a>")) == 3


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<A>1</A><A>2</A>", "1"),
        ("<A>\n <![CDATA[ 你\n好 ]]></A>", "你\n好"),
        ("<A><![CDATA[]]></A>", ""),
        ("<A><![CDATA[a]]>b]]></A>", "a"),
        ("<A> x <b>", "x"),
        ("<A>", ""),
        ("<AB>1</AB>", ""),
        ("<A/>", ""),
        ("", ""),
    ],
)
def test_the_first_text_of_a_name_is_found_in_whatever_there_is(xml, text):
    assert first(f"<xml>{xml}", "A") == text
