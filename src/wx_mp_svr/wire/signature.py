"""WeChat's signature: what proves that a request comes from somebody who knows the Token.

Strings in, a digest or an error out. Knows nothing of requests, modes or XML.
"""

import hashlib
import hmac

from ..errors import BadSignature


def sign(*parts: str) -> str:
    """Return WeChat's digest of *parts*: sorted, joined without a separator, SHA-1, lower-case hex.

    Three parts (token, timestamp, nonce) give ``signature``; with the Base64 text of ``Encrypt`` as a fourth they give
    ``msg_signature``. The parts are strings, not numbers, and sort as such.
    """
    joined = "".join(sorted(parts)).encode(errors="surrogatepass")
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()  # WeChat prescribes SHA-1


def verify(claimed: str, *parts: str) -> None:
    """Check in constant time that *claimed* is the digest of *parts*.

    Raises:
        BadSignature: It is not.
    """
    # Bytes, since compare_digest raises TypeError for strings that are not ASCII.
    if not hmac.compare_digest(claimed.encode(errors="surrogatepass"), sign(*parts).encode()):
        raise BadSignature("the signature does not match")
