"""A local endpoint that speaks OpenAI's chat completions, streamed: it says what a test has told it, as slowly or badly."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import servers

CUT = object()  # in an answer: the connection breaks
STOP = object()  # the stream ends as if all were said, but nothing says so
FILTERED, TOO_LONG = "finish: content_filter", "finish: length"  # how it may end otherwise
PAGE = "<html>welcome</html>"  # said for an answer, it is that of a website that is no endpoint
GATE_SECONDS = 30  # a bound for a test that hangs, no expectation


class Endpoint:
    """What is said to whom.

    Attributes:
        url: For OPENAI_BASE_URL.
        requests: The bodies of all requests, in the order of coming.
        keys: Their Authorization headers.
        fetched: What somebody wanted to download.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.fetched: list[str] = []
        self._answers: dict[str, tuple[int, Sequence[Any]]] = {}

    def say(self, question: str, *parts: Any, status: int = 200) -> None:
        """Set the answer to a question.

        Args:
            question: What the user asks last.
            parts: In this order: a str is streamed, a `threading.Event` waited for, a function called, a dict sent as an
                event of its own; CUT, STOP, FILTERED and TOO_LONG end it before its time.
            status: Another one refuses, with the first part as the message, or as the whole body.
        """
        self._answers[question] = (status, parts)

    def answer_to(self, question: str) -> tuple[int, Sequence[Any]]:
        """Return status and parts; whatever is not known is repeated."""
        return self._answers.get(question, (200, [f"答：{question}"]))

    def asked(self, question: str) -> list[dict[str, Any]]:
        """Return the requests that ask this."""
        return [request for request in self.requests if question_of(request) == question]

    def told(self, question: str) -> list[str]:
        """Return what the latest request for it told of the talk before, without the prompt and the question."""
        return [message["content"] for message in self.asked(question)[-1]["messages"][1:-1]]


def question_of(request: dict[str, Any]) -> str:
    """Return what the user asks last; of a picture its address."""
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["image_url"]["url"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint

    def do_GET(self) -> None:
        self.endpoint.fetched.append(self.path)
        self._say(404, "text/plain", b"no such picture")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._say(404, "text/plain", b"404 page not found")
            return
        assert request["stream"] is True
        self.endpoint.keys.append(self.headers["Authorization"])
        self.endpoint.requests.append(request)
        status, parts = self.endpoint.answer_to(question_of(request))
        if status != 200:
            error = parts[0] if parts else "no"
            body = error if isinstance(error, dict) else {"error": {"message": error, "type": "test", "code": status}}
            self._say(status, "application/json", json.dumps(body).encode())
            return
        if parts == (PAGE,):
            self._say(200, "text/html", PAGE.encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._stream(parts)
        except OSError:  # nobody listens any more
            self.close_connection = True

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("retry-after-ms", "1")  # clients may try again, but tests do not wait for it
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, parts: Sequence[Any]) -> None:
        self._event(_chunk({"role": "assistant", "content": ""}))
        for part in parts:
            if part is CUT:
                self.close_connection = True  # without the last chunk: cut off in the middle
                return
            if part is STOP:
                self._write(b"")
                return
            if part in (FILTERED, TOO_LONG):
                self._end(part.removeprefix("finish: "))
                return
            if isinstance(part, threading.Event):
                part.wait(GATE_SECONDS)
            elif callable(part):
                part()
            else:
                self._event(_chunk({"content": part}) if isinstance(part, str) else part)
        self._end("stop")

    def _end(self, reason: str) -> None:
        self._event(_chunk({}, reason))
        self._event({**_chunk({}), "choices": [], "usage": {"total_tokens": 1}})  # some endpoints send this unasked
        self._write(b"data: [DONE]\n\n")
        self._write(b"")

    def _event(self, event: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        """Write one chunk of HTTP; an empty one is the last."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "test", "choices": [choice]}


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Serve one on a free port of 127.0.0.1."""

    class Handler(_Handler):
        pass

    with servers.handled_by(Handler) as port:
        Handler.endpoint = Endpoint(f"http://127.0.0.1:{port}/v1")
        yield Handler.endpoint
