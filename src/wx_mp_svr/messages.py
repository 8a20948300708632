"""From the fields of a packet to the message that they are. Knows nothing of XML or handlers."""

from .errors import BadXml
from .fields import Fields, Raw, build, text
from .req_msg import ALIASES, KINDS, EventReqMsg, ReqMsg


def read_msg(fields: Fields) -> ReqMsg | None:
    """Build the message that *fields* describe.

    Returns:
        The typed message; a general one for a kind that we do not know; None when WeChat left out who sends what to whom
        (MsgType, FromUserName or ToUserName missing or empty): there is nothing to answer then. Component notices
        have none of the three and are general events.

    Raises:
        BadXml: One of the three stands twice or has children, so that two readers could see two different users.
    """
    msg_type, sender, account = fields.get("MsgType", ""), fields.get("FromUserName", ""), fields.get("ToUserName", "")
    if not (isinstance(msg_type, str) and isinstance(sender, str) and isinstance(account, str)):
        raise BadXml("MsgType, FromUserName and ToUserName stand once and hold text")
    # In lower case: WeChat mixes cases, and its test tools differ again.
    kind = msg_type.strip().lower()
    if not kind:
        return build(EventReqMsg, fields, raw=Raw(fields)) if "InfoType" in fields else None
    if not sender.strip() or not account.strip():
        return None
    if kind == "event":
        # Not at the top: the events take longer to make than everything else of ours together.
        from .events import EVENTS

        name = text(fields.get("Event")).lower()
        return build(EVENTS.get(ALIASES.get(name, name), EventReqMsg), fields, raw=Raw(fields))
    return build(KINDS.get(kind, ReqMsg), fields, raw=Raw(fields))
