"""Throw whatever a machine can think of at the path of a push, from query and body on: ``exchange.py --minutes 30``.

Bytes become a request: mostly one whose signatures and ciphertext are right, around a packet that is not; sometimes the
envelope itself is torn afterwards. Every answer must be one of ours, in time, and readable by WeChat. atheris steers by
coverage; where it has no wheel, hypothesis throws blindly.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

ACCOUNT = {"token": "Fuzzing01", "appid": "wx0123456789abcdef", "aes_key": "f" * 43}
SAMPLES = Path(__file__).parent.parent / "samples"
MAX_LEN = 16 * 1024
CPU_SECONDS = 0.3  # for one request; the slowest that an attack has found takes a tenth
EVERY = 500  # runs between two notes of how many there were


def instrumented() -> Any:
    """Import the package, so that atheris sees its branches."""
    if atheris is None:
        import wx_mp_svr
    else:
        with atheris.instrument_imports(include=["wx_mp_svr"]):
            import wx_mp_svr
    return wx_mp_svr


class Target:
    """Three servers, one for each mode, whose bot gives everything back.

    Attributes:
        runs: How many requests there were.
        passed: How many got past the signature.
    """

    MODES = ("safe", "compatible", "plain")

    def __init__(self, notes: Path | None) -> None:
        package = instrumented()
        from wx_mp_svr.exchange import ACK, FORBIDDEN, HANG_UP, TOO_LARGE
        from wx_mp_svr.wire.crypto import Cipher
        from wx_mp_svr.wire.signature import sign

        self._sign, self._cipher = sign, Cipher(ACCOUNT["aes_key"], ACCOUNT["appid"])
        self._without_words = (ACK, FORBIDDEN, TOO_LARGE, HANG_UP)
        self._reason = ""
        self._notes = notes
        self.runs = self.passed = 0
        self._servers = {}
        for mode in self.MODES:
            account = {**ACCOUNT, "mode": mode} if mode != "plain" else {"token": ACCOUNT["token"]}
            server = package.WxMpServer(store="memory:", on_message=echo, on_event=echo, breaker=0, **account)
            self._servers[mode] = server.test_client().server
            self._servers[mode]._exchange._refusals = self

    def tell(self, err: Any, now: float, remote: str) -> None:
        """Note why a request was refused, in place of the log."""
        self._reason = err.reason

    def __call__(self, data: bytes) -> None:
        """Make one request of *data* and judge its answer; an exception is a finding."""
        shape, rest = data[:4].ljust(4, b"\0"), data[4:]
        mode = self.MODES[shape[0] % 3]
        xml, _, extra = rest.partition(b"\xff\xff")
        sealed_as = "plain" if mode == "compatible" and shape[1] % 4 == 0 else mode
        query, body = torn(shape[2], shape[3], *self._seal(xml, sealed_as), extra)
        self._reason, begun = "", time.process_time()
        answer = self._servers[mode]._exchange.answer(query, body, now=time.time())
        took = time.process_time() - begun
        self.runs += 1
        self.passed += self._reason not in ("params", "clock", "signature", "downgrade", "size")
        if self._notes is not None and self.runs % EVERY == 0:
            self._notes.write_text(json.dumps([self.runs, self.passed]))
        if took > CPU_SECONDS:
            raise AssertionError(f"{took:.2f} s for {len(body)} bytes")
        if answer not in self._without_words:
            self._judge(answer)

    def _seal(self, xml: bytes, mode: str) -> tuple[str, bytes]:
        """Sign as WeChat does, and seal whatever it is that is to be sealed."""
        timestamp, nonce = str(int(time.time())), "1234567890"
        query = f"signature={self._sign(ACCOUNT['token'], timestamp, nonce)}&timestamp={timestamp}&nonce={nonce}"
        if mode == "plain":
            return query, xml
        encrypted = self._cipher.encrypt(xml)
        envelope = f"<Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
        body = xml.rstrip().removesuffix(b"</xml>") if mode == "compatible" else b"<xml>"
        signed = self._sign(ACCOUNT["token"], timestamp, nonce, encrypted)
        return f"{query}&encrypt_type=aes&msg_signature={signed}", body + envelope

    def _judge(self, answer: Any) -> None:
        """A reply is XML, within its envelope too, and has each element of its head once."""
        if answer.status != 200:
            raise AssertionError(f"status {answer.status}")
        root = ET.fromstring(answer.body)
        encrypted = root.findtext("Encrypt")
        if encrypted is not None:
            root = ET.fromstring(self._cipher.decrypt(encrypted))
        for name in ("ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"):
            if len(root.findall(name)) != 1:
                raise AssertionError(f"{len(root.findall(name))} x {name}")


def echo(req: Any) -> Any:
    """Give back all that was said, as text."""
    return re.sub(r"\s+", " ", " ".join(str(value) for value in req.raw.values()))[:600] or None


def torn(how: int, where: int, query: str, body: bytes, extra: bytes) -> tuple[str, bytes]:
    """Tear a right envelope in one of a few ways; most of the time leave it alone."""
    at = where * len(body) // 256
    match how % 16:
        case 0:
            return query, body[:at] + extra + body[at:]
        case 1:
            return query, body[:at]
        case 2:
            return query + "&" + extra.decode("latin-1"), body
        case 3:
            return query.replace("=", extra.decode("latin-1"), 1 + where % 6), body
        case 4:
            return query, extra
        case 5:
            names = query.split("&")
            del names[where % len(names)]
            return "&".join(names), body
    return query, body


def seeds() -> list[bytes]:
    """Return what to begin with: every sample packet in every mode."""
    packets = [file.read_bytes() for file in sorted(SAMPLES.glob("*.xml"))]
    return [bytes([mode, 1, 9, 0]) + packet for mode in range(3) for packet in packets]


def fuzz_here(seconds: float, notes: Path) -> None:
    """Fuzz in this process; it ends with the time, or with a finding."""
    target = Target(notes)
    if atheris is None:
        blindly(target, seconds)
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [f"-max_total_time={int(seconds)}", f"-max_len={MAX_LEN}", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], corpus, *options, f"-artifact_prefix={notes.parent}/"], target)
        atheris.Fuzz()


def blindly(target: Target, seconds: float) -> None:
    """Throw without looking at coverage."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    start, end = st.sampled_from(seeds()), time.monotonic() + seconds

    @settings(max_examples=10**9, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(start, st.binary(max_size=200), st.integers(0, MAX_LEN))
    def throw(seed: bytes, piece: bytes, at: int) -> None:
        if time.monotonic() > end:
            raise KeyboardInterrupt
        target(seed[:at] + piece + seed[at:])

    try:
        throw()
    except KeyboardInterrupt:
        pass


def main() -> int:
    """Fuzz in a child, and say how many runs there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seconds = options.minutes * 60 if options.minutes else options.seconds
    if options.here:
        fuzz_here(seconds, Path(options.here))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        command = [sys.executable, __file__, "--seconds", str(seconds), "--here", str(notes)]
        done = subprocess.run(command, capture_output=True, timeout=seconds + 300)
        runs, passed = json.loads(notes.read_text()) if notes.exists() else (0, 0)
        found = [file for file in Path(folder).iterdir() if file != notes]
        if done.returncode or found or not runs:
            print(done.stderr.decode(errors="replace")[-6000:])
            for file in found:
                print(f"{file.name}: {file.read_bytes()!r}")
            return 1
    by = "by coverage" if atheris else "blindly"
    print(f"{runs} requests in {seconds:g} s ({by}), {passed * 100 // runs} % past the signature, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
