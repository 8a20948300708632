"""WeChat's AES envelope: bytes <-> Base64 ciphertext.

Plaintext is ``random(16) + length(4, big-endian) + message + receiver id``, padded to a multiple of 32. Knows nothing of
XML or signatures. The only importer of Crypto.
"""

import base64
import os
import threading
from typing import TYPE_CHECKING

from Crypto.Cipher import AES

from ..errors import BadCiphertext, ConfigError
from ..forking import ForkAware

if TYPE_CHECKING:
    from Crypto.Cipher._mode_cbc import CbcMode

RANDOM_BYTES = 16
HEAD_BYTES = RANDOM_BYTES + 4  # the random filler and the length
FILLERS = 64  # asked of the system at once
PAD_BLOCK = 32  # WeChat pads to 32 although an AES block has 16: a library's own unpadding rejects half of its packets


def key_of(encoding_aes_key: str) -> bytes:
    """Return the 32 bytes of an EncodingAESKey (43 characters; the last one's two low bits are discarded).

    Raises:
        ConfigError: It is not 43 characters of Base64. The message does not hold the key.
    """
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
        if len(encoding_aes_key) != 43 or len(key) != 32:
            raise ValueError("length")
        return key
    except ValueError as exc:
        raise ConfigError(
            "an EncodingAESKey has exactly 43 characters from A-Z a-z 0-9 / EncodingAESKey 是 43 位字母或数字"
        ) from exc


class Cipher:
    """One EncodingAESKey and the AppID that its messages are for."""

    def __init__(self, encoding_aes_key: str, appid: str) -> None:
        self._key = key_of(encoding_aes_key)
        self._appid = appid.encode()
        # What a packet ends with, by the value of its padding: AppID and padding.
        self._ends = {pad: self._appid + bytes([pad]) * pad for pad in range(1, PAD_BLOCK + 1)}

    def _aes(self) -> "CbcMode":
        # The key's first half is the IV: WeChat's rule. The random filler in front makes up for it.
        return AES.new(self._key, AES.MODE_CBC, self._key[:16])

    def _decrypt_blocks(self, ciphertext: bytes) -> bytes:
        return self._aes().decrypt(ciphertext)

    def _encrypt_blocks(self, plain: bytes) -> bytes:
        return self._aes().encrypt(plain)

    def _filler(self) -> bytes:
        return os.urandom(RANDOM_BYTES)

    def decrypt(self, encrypted: str) -> bytes:
        """Return the message in *encrypted* (Base64).

        Raises:
            BadCiphertext: For whatever reason. All look alike, so that nobody can ask which check failed.
        """
        try:
            ciphertext = base64.b64decode(encrypted, validate=True)
        except ValueError as exc:
            raise BadCiphertext("cannot be decrypted") from exc
        if not ciphertext or len(ciphertext) % AES.block_size:
            raise BadCiphertext("cannot be decrypted")
        plain = self._decrypt_blocks(ciphertext)
        end = HEAD_BYTES + int.from_bytes(plain[RANDOM_BYTES:HEAD_BYTES], "big")
        # Length, AppID and all bytes of the padding at once: each of them off leaves something else behind the message.
        if plain[end:] != self._ends.get(plain[-1]):
            raise BadCiphertext("cannot be decrypted")
        return plain[HEAD_BYTES:end]

    def encrypt(self, message: bytes, filler: bytes | None = None) -> str:
        """Return *message* as Base64 ciphertext.

        Args:
            message: What to seal, UTF-8.
            filler: The 16 bytes in front; fresh random ones when omitted. Only known-answer tests give them: under a
                fixed IV they are all that makes two equal messages differ.
        """
        filler = self._filler() if filler is None else filler
        pad = PAD_BLOCK - (HEAD_BYTES + len(message) + len(self._appid)) % PAD_BLOCK
        plain = b"".join((filler, len(message).to_bytes(4, "big"), message, self._ends[pad]))
        return base64.b64encode(self._encrypt_blocks(plain)).decode()


class ReusedCipher(ForkAware, Cipher):
    """A cipher that sets up its key once per thread: that costs more than the cipher itself.

    Its CBC goes on where the last message ended instead of at the IV. Only the first block depends on that, and in this
    protocol the first block is the random filler, which nobody reads. Not for any other protocol, nor for known answers.
    """

    def __init__(self, encoding_aes_key: str, appid: str) -> None:
        super().__init__(encoding_aes_key, appid)
        self.watch_forks()

    def begin(self) -> None:
        """Set up what must not be the same in a forked child."""
        self._mine = threading.local()

    def _filler(self) -> bytes:
        # Many at once: with each call to the system a thread lets go of the interpreter and has to get it back.
        fillers: list[bytes] = getattr(self._mine, "fillers", [])
        if not fillers:
            block = os.urandom(RANDOM_BYTES * FILLERS)
            fillers = self._mine.fillers = [block[i : i + RANDOM_BYTES] for i in range(0, len(block), RANDOM_BYTES)]
        return fillers.pop()

    def _decrypt_blocks(self, ciphertext: bytes) -> bytes:
        try:
            return self._mine.decrypt(ciphertext)  # type: ignore[no-any-return]
        except AttributeError:
            self._mine.decrypt = self._aes().decrypt
            return self._mine.decrypt(ciphertext)  # type: ignore[no-any-return]

    def _encrypt_blocks(self, plain: bytes) -> bytes:
        try:
            return self._mine.encrypt(plain)  # type: ignore[no-any-return]
        except AttributeError:
            self._mine.encrypt = self._aes().encrypt
            return self._mine.encrypt(plain)  # type: ignore[no-any-return]
