"""What strangers send, and what handlers raise: inputs that more than one chapter of the threats needs."""

import base64
import hashlib
import struct
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from live import AES_KEY_OLD, APPID, KEY
from wechat import GH_ID, text


def cbc(plain: bytes, key: bytes = KEY) -> bytes:
    """AES-256-CBC without padding, by another library than the one under test."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def uncbc(sealed: bytes, key: bytes = KEY) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    return decryptor.update(sealed) + decryptor.finalize()


def pad(plain: bytes, block: int = 32) -> bytes:
    count = block - len(plain) % block
    return plain + bytes([count]) * count


FILLER = b"0123456789abcdef"
INNER = text("inside", MsgId=4711, FromUserName="oInside").encode()


def full(xml: bytes = INNER, *, length: bytes | None = None, appid: bytes = APPID.encode()) -> bytes:
    """What stands under the padding."""
    return FILLER + (struct.pack(">I", len(xml)) if length is None else length) + xml + appid


def noise(count: int) -> bytes:
    """Bytes without a pattern, the same in each run."""
    return b"".join(hashlib.sha256(b"noise%d" % n).digest() for n in range(count // 32 + 1))[:count]


def sealed(plain: bytes, key: bytes = KEY) -> str:
    return base64.b64encode(cbc(plain, key)).decode()


def long_pad(last: int) -> bytes:
    """A good message whose pad is longer than 32, every byte of it right."""
    body = full()
    body += b"x" * 0
    while (len(body) + last) % 16:
        body = full(INNER[:-6] + b" " * ((-len(full()) - last) % 16) + b"</xml>")
    return body + bytes([last]) * last


def spoilt_pad(position: int) -> bytes:
    """Padding of 32 whose byte at *position* is wrong."""
    body = full(INNER[:-6] + b" " * (-len(full()) % 32) + b"</xml>")
    whole = bytearray(pad(body))
    assert whole[-1] == 32
    whole[position] ^= 1
    return bytes(whole)


def aligned(count: int) -> bytes:
    """A good message, *count* bytes short of a full block, without its padding."""
    return full(INNER[:-6] + b" " * ((-len(full()) - count) % 32) + b"</xml>")


N = len(INNER)
GOOD = sealed(pad(full()))

FORGERIES: dict[str, str] = {
    # b40: no Base64
    "b40-exclamation-marks": "!!!!",
    "b40-not-ascii": "你好你好",
    "b40-full-width": "ＱＵＦＢ",
    "b40-one-character": "A",
    "b40-blanks-inside": GOOD[:40] + " " + GOOD[40:],
    "b40-newline-inside": GOOD[:40] + "\n" + GOOD[40:],
    "b40-no-padding": sealed(pad(full(INNER + b" "))).rstrip("=") + "A",
    "b40-only-padding": "====",
    "b40-data-after-padding": base64.b64encode(cbc(pad(full()))[:16]).decode() + "AAAA",
    "b40-url-alphabet": "-_-_" * 16,
    "b40-control-character": GOOD[:40] + "\x7f" + GOOD[40:],
    # b41: lengths
    **{f"b41-{count}-bytes": base64.b64encode(noise(count)).decode() for count in (1, 15, 16, 17, 31, 33, 47, 48, 320)},
    "b41-16-bytes-well-padded": sealed(bytes([16]) * 16),
    "b41-32-bytes-well-padded": sealed(FILLER + bytes([16]) * 16),
    "b41-one-byte-more": base64.b64encode(cbc(pad(full())) + b"x").decode(),
    "b41-one-byte-less": base64.b64encode(cbc(pad(full()))[:-1]).decode(),
    # b42: padding
    "b42-pad-0": sealed(aligned(0)[:-1] + b"\0"),
    "b42-pad-0-block": sealed(aligned(0) + bytes(32)),
    "b42-pad-33": sealed(long_pad(33)),
    "b42-pad-48": sealed(long_pad(48)),
    "b42-pad-255": sealed(long_pad(255)),
    "b42-last-byte-255": sealed(aligned(1) + b"\xff"),
    "b42-first-pad-byte": sealed(spoilt_pad(-32)),
    "b42-middle-pad-byte": sealed(spoilt_pad(-16)),
    "b42-second-last-pad-byte": sealed(spoilt_pad(-2)),
    "b42-longer-than-the-message": sealed(bytes([32]) * 16),
    "b42-all-padding": sealed(bytes([32]) * 32),
    "b42-padding-twice": sealed(bytes([32]) * 64),
    "b42-ansi-padding": sealed(aligned(5) + bytes(4) + b"\5"),
    "b42-iso-padding": sealed(aligned(5) + b"\x80" + bytes(4)),
    # b43: the length
    "b43-beyond-the-buffer": sealed(pad(full(length=struct.pack(">I", N + 1000)))),
    "b43-ffffffff": sealed(pad(full(length=b"\xff" * 4))),
    "b43-80000000": sealed(pad(full(length=b"\x80\0\0\0"))),
    "b43-fffffff0": sealed(pad(full(length=b"\xff\xff\xff\xf0"))),
    "b43-one-more": sealed(pad(full(length=struct.pack(">I", N + 1)))),
    "b43-one-less": sealed(pad(full(length=struct.pack(">I", N - 1)))),
    "b43-zero": sealed(pad(full(length=bytes(4)))),
    "b43-covers-the-appid": sealed(pad(full(length=struct.pack(">I", N + len(APPID))))),
    "b43-covers-the-padding": sealed(pad(full(length=struct.pack(">I", len(pad(full())) - 20)))),
    "b43-little-endian": sealed(pad(full(length=struct.pack("<I", N)))),
    "b43-in-characters": sealed(pad(full("<xml>你好</xml>".encode(), length=struct.pack(">I", 13)))),
    # b44: the AppID
    "b44-another": sealed(pad(full(appid=b"wxfedcba9876543210"))),
    "b44-empty": sealed(pad(full(appid=b""))),
    "b44-prefix": sealed(pad(full(appid=APPID[:-1].encode()))),
    "b44-suffix": sealed(pad(full(appid=APPID[1:].encode()))),
    "b44-longer": sealed(pad(full(appid=APPID.encode() + b"0"))),
    "b44-twice": sealed(pad(full(appid=APPID.encode() * 2))),
    "b44-upper-case": sealed(pad(full(appid=APPID.upper().encode()))),
    "b44-nul": sealed(pad(full(appid=APPID.encode() + b"\0"))),
    "b44-blank": sealed(pad(full(appid=APPID.encode() + b" "))),
    "b44-newline": sealed(pad(full(appid=APPID.encode() + b"\n"))),
    "b44-not-utf-8": sealed(pad(full(appid=b"\xff\xfe" + APPID.encode()[2:]))),
    "b44-account-id": sealed(pad(full(appid=GH_ID.encode()))),
    # b45: keys and blocks
    "b45-another-key": sealed(pad(full()), base64.b64decode(AES_KEY_OLD + "=")),
    "b45-zero-key": sealed(pad(full()), bytes(32)),
    **{f"b45-noise-{count}": base64.b64encode(noise(count)).decode() for count in (32, 64, 320, 4096)},
    "b45-first-block-missing": base64.b64encode(cbc(pad(full()))[16:]).decode(),
    "b45-last-block-missing": base64.b64encode(cbc(pad(full()))[:-16]).decode(),
    "b45-block-missing": base64.b64encode(cbc(pad(full()))[:32] + cbc(pad(full()))[48:]).decode(),
    "b45-last-block-twice": base64.b64encode(cbc(pad(full())) + cbc(pad(full()))[-16:]).decode(),
    "b45-not-encrypted": base64.b64encode(pad(full())).decode(),
    # b47: all is well but for the XML inside
    "b47-no-xml": sealed(pad(full(b"hello"))),
    "b47-empty": sealed(pad(full(b""))),
    "b47-blank": sealed(pad(full(b"  \n"))),
    "b47-truncated": sealed(pad(full(INNER[:-8]))),
    "b47-doctype": sealed(pad(full(b"<!DOCTYPE xml>" + INNER))),
    "b47-not-utf-8": sealed(pad(full(b"<xml><MsgType>\xff\xfe</MsgType></xml>"))),
    "b47-json": sealed(pad(full(b'{"MsgType":"text"}'))),
    "b47-two-users": sealed(pad(full(INNER.replace(b"</xml>", b"<FromUserName>o</FromUserName></xml>")))),
    "b47-deep": sealed(pad(full(b"<xml>" + b"<a>" * 500 + b"</a>" * 500 + b"</xml>"))),
}


def bare(inner: str, doctype: str = "") -> bytes:
    head = f"<ToUserName>{GH_ID}</ToUserName><FromUserName>oXml</FromUserName><CreateTime>1</CreateTime>"
    return f"{doctype}<xml>{head}<MsgType>text</MsgType><MsgId>1</MsgId>{inner}</xml>".encode()


def laughs(count: int, base: str = "lol") -> str:
    entities = [f'<!ENTITY a0 "{base}">']
    entities += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, count)]
    return f"<!DOCTYPE xml [{''.join(entities)}]>"


BOMBS = {
    "billion-laughs": bare("<Content>&a9;</Content>", laughs(10)),
    "quadratic": bare(f"<Content>{'&a0;' * 8_000}</Content>", laughs(1, "x" * 10_000)),
    "cycle": bare("<Content>&a;</Content>", '<!DOCTYPE xml [<!ENTITY a "&b;"><!ENTITY b "&a;">]>'),
    "internal": bare("<Content>&a0;</Content>", laughs(1)),
    "internal-unused": bare("<Content>x</Content>", laughs(1)),
    "attribute-default": bare("<Content/>", '<!DOCTYPE xml [<!ATTLIST xml a CDATA "x">]>'),
    "undeclared": bare("<Content>&nothing;</Content>"),
}


NO_PACKETS = {
    "empty": b"",
    "blank": b"  \n\t ",
    "json": b'{"ToUserName":"a","FromUserName":"b","MsgType":"text"}',
    "html": b"<html><body><p>hello</p></body></html>",
    "text": b"hello",
    "binary": noise(500),
    "nul": b"\0" * 100,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(32),
    "truncated": INNER[:-10],
    "truncated-in-tag": INNER[:30],
    "truncated-in-cdata": INNER[: INNER.index(b"inside") + 3],
    "wrong-root": INNER.replace(b"<xml>", b"<root>").replace(b"</xml>", b"</root>"),
    "capital-root": INNER.replace(b"<xml>", b"<XML>").replace(b"</xml>", b"</XML>"),
    "two-roots": bare("<Content>x</Content>") * 2,  # in CDATA it would be a torn text, see B72
    "text-after-root": INNER + b"more",
    "text-only-root": b"<xml>hello</xml>",
    "empty-root": b"<xml></xml>",
    "closed-root": b"<xml/>",
    "mismatched": INNER.replace(b"</MsgType>", b"</MsgTyp>"),
    "list-root": b"<xml><xml></xml></xml></xml>",
    "half-entity": bare("<Content>a & b</Content>"),
    "form": b"ToUserName=a&FromUserName=b",
}


def raiser(exc: BaseException) -> Callable[[Any], Any]:
    def handler(req: Any) -> Any:
        raise exc

    return handler


async def async_raiser(req: Any) -> Any:
    raise RuntimeError("InnermostSecret async")


RAISERS = {
    "error": raiser(RuntimeError("InnermostSecret")),
    "unicode": raiser(ValueError("InnermostSecret \ud800")),
    "exit": raiser(SystemExit("InnermostSecret")),
    "interrupt": raiser(KeyboardInterrupt()),
    "generator-exit": raiser(GeneratorExit()),
    "stop-iteration": raiser(StopIteration()),
    "recursion": raiser(RecursionError("InnermostSecret")),
    "memory": raiser(MemoryError()),
    "async": async_raiser,
}
