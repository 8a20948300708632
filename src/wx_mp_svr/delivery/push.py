"""Which push is which: the identity that all copies of a push share, and no other push has.

MsgId alone will not do (users share ids), nor do sender and second (two events fit into one): WeChat's own rules are too
weak. Everything is hashed, since the parts are a stranger's text of any length. Knows nothing of stores or tries.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..fields import text
from ..req_msg import EventReqMsg, ReqMsg, TextReqMsg
from ..store import digest


def push_key(req: ReqMsg, xml: bytes) -> str:
    """Return what is the same for all copies of a push, and for no other.

    Args:
        req: The message.
        xml: Its plain packet, the only identity of a message without MsgId.
    """
    created = text(req.raw.get("CreateTime"))
    if isinstance(req, EventReqMsg) and req.msg_type:
        parts = [created, req.event.lower(), req.event_key, *_ids(req.raw)]
    elif req.msg_id:
        # With the text: somebody who tries a bot with a saved packet edits the text and forgets the MsgId.
        parts = [created, req.msg_id, req.content if isinstance(req, TextReqMsg) else ""]
    else:
        parts = [hashlib.sha256(xml).hexdigest()]
    # No text of an XML document holds the character between them, so that no two pushes look the same.
    whole = "\0".join((req.to_user_name, req.from_user_name, *parts)).encode(errors="surrogatepass")
    # The time goes first: it keeps what is written together together, in a store that is sorted by key.
    return f"p:{req.create_time or 0}:{hashlib.blake2b(whole, digest_size=16).hexdigest()}"


def user_key(req: ReqMsg) -> str:
    """Return what stands for one user of one account."""
    return "u:" + digest(req.to_user_name, req.from_user_name)


def _ids(fields: Mapping[str, Any]) -> Iterator[str]:
    """Find whatever id an event carries (MsgID, publish_id, UserCardCode, trace_id, ...), on all levels."""
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):  # an abstract class is slow to ask
                yield from _ids(item)
            elif isinstance(item, str) and name.lower().endswith(("id", "code")):
                yield f"{name}={item}"
