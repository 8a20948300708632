"""Which push is which: all copies of one have one key, and no other push has it."""

import pytest
from wechat import TEXT_FIELDS as TEXT

from wx_mp_svr.delivery.push import push_key, user_key
from wx_mp_svr.messages import read_msg

IMAGE = {**TEXT, "MsgType": "image", "PicUrl": "http://a", "MediaId": "m"}
EVENT = {**TEXT, "MsgType": "event", "Event": "CLICK", "EventKey": "k"}
del EVENT["MsgId"]
CARD = {**EVENT, "Event": "user_get_card", "UserCardCode": "7"}
PUBLISHED = {**EVENT, "Event": "PUBLISHJOBFINISH", "PublishEventInfo": {"publish_id": "5"}}


def key_of(fields, xml=b"<xml/>"):
    return push_key(read_msg(fields), xml)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEXT, {**TEXT, "MsgId": "2"}),
        (TEXT, {**TEXT, "Content": "edited"}),  # a saved packet, tried with another text
        (TEXT, {**TEXT, "FromUserName": "o2"}),  # users share ids
        (TEXT, {**TEXT, "ToUserName": "gh_2"}),
        (TEXT, {**TEXT, "CreateTime": "1700000001"}),
        (TEXT, {**TEXT, "CreateTime": "xxxx"}),
        ({**TEXT, "CreateTime": "yyyy"}, {**TEXT, "CreateTime": "xxxx"}),
        (EVENT, {**EVENT, "EventKey": "other"}),
        (EVENT, {**EVENT, "Event": "VIEW"}),
        (EVENT, {**TEXT, "CreateTime": EVENT["CreateTime"]}),  # an event and a text in one second
        (CARD, {**CARD, "UserCardCode": "8"}),  # two cards in one second
        (PUBLISHED, {**PUBLISHED, "PublishEventInfo": {"publish_id": "6"}}),
        ({**EVENT, "MsgID": "1"}, {**EVENT, "MsgID": "2"}),
        ({**EVENT, "trace_id": "a"}, {**EVENT, "trace_id": "b"}),
        ({**EVENT, "Jobs": [{"id": "1"}, {"id": "2"}]}, {**EVENT, "Jobs": [{"id": "1"}, {"id": "3"}]}),
    ],
)
def test_two_pushes_have_two_keys(one, other):
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEXT, dict(reversed(TEXT.items()))),
        (IMAGE, {**IMAGE, "PicUrl": "http://b"}),  # MsgId says it is the same
        (EVENT, {**EVENT, "Event": "click"}),
    ],
)
def test_copies_of_a_push_have_one_key(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        (TEXT, "p:1700000000:f1c609ae7d74b2279307e80efa269266"),
        (IMAGE, "p:1700000000:5964bc5e85ae6f48795c87d8dca804a9"),
        (EVENT, "p:1700000000:9545d3f874f3bbb9311e23c907200388"),
        (CARD, "p:1700000000:bcb14de0e4a796e453f189528b21ef95"),
        ({**TEXT, "MsgId": ""}, "p:1700000000:e643b52e2ebe066b610b1f1993071c20"),
        ({**TEXT, "CreateTime": "xxxx"}, "p:0:a9c18170b55ed520fc1de02eb671ce43"),
    ],
)
def test_a_key_is_the_same_in_every_version(fields, key):
    """While one takes the place of another both run, and copies of a push come to both."""
    assert key_of(fields) == key
    assert user_key(read_msg(fields)) == "u:d443333847e9c16193eadc417802daf4"


def test_half_a_character_is_no_reason_to_fail():
    """No packet holds one, but a text that somebody gives to FakeWeChat may."""
    assert key_of({**TEXT, "Content": "\ud83d"}) != key_of(TEXT)


def test_a_message_without_msg_id_is_known_by_its_packet():
    nameless = {name: value for name, value in TEXT.items() if name != "MsgId"}
    assert key_of(nameless, b"a") != key_of(nameless, b"b")
    assert key_of(nameless, b"a") == key_of(nameless, b"a")


def test_a_user_is_one_of_one_account():
    """The same OpenID at another account is somebody else; no separator can be moved from one part to the other."""
    keys = {user_key(read_msg({**TEXT, **who})) for who in ({}, {"FromUserName": "o2"}, {"ToUserName": "gh_2"})}
    keys.add(user_key(read_msg({**TEXT, "ToUserName": "gh_1', 'o", "FromUserName": "1"})))
    assert len(keys) == 4
