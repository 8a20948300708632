"""What a user of the framework writes: handlers by overriding or decorating, and routes by decorating."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from ..errors import ConfigError
from ..req_msg import (
    ImageReqMsg,
    LinkReqMsg,
    LocationReqMsg,
    ShortVideoReqMsg,
    TextReqMsg,
    VideoReqMsg,
    VoiceReqMsg,
)
from ..rsp_msg import Reply
from .handlers import NAMES, Handlers
from .routes import Handler

# Of a handler a type checker finds that it takes another kind of message, or returns what cannot be sent.
AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Reply])
TextHandler = TypeVar("TextHandler", bound=Callable[[TextReqMsg], Reply])
ImageHandler = TypeVar("ImageHandler", bound=Callable[[ImageReqMsg], Reply])
VoiceHandler = TypeVar("VoiceHandler", bound=Callable[[VoiceReqMsg], Reply])
VideoHandler = TypeVar("VideoHandler", bound=Callable[[VideoReqMsg | ShortVideoReqMsg], Reply])
LocationHandler = TypeVar("LocationHandler", bound=Callable[[LocationReqMsg], Reply])
LinkHandler = TypeVar("LinkHandler", bound=Callable[[LinkReqMsg], Reply])


class Hooks:
    """The handlers and routes of one account; `WxMpServer` is one.

    Routes are asked first, in the order of writing; what no route matches goes to `on_message`, `on_subscribe` or
    `on_event`.

    Raises:
        ConfigError: Of two handlers for the same only one could answer, a route could never match, or a handler cannot be
            called with what it will get; the message names the line.
    """

    def __init__(self) -> None:
        self._handlers = Handlers()
        for name in NAMES:
            method = getattr(self, name)
            if getattr(type(self), name) is not getattr(Hooks, name):
                self._handlers.give(name, method)
                setattr(self, name, partial(self._taken, name, method))  # so that decorating is noticed here, too

    # Only this signature lets a subclass name and type the arguments as it likes, and a decorator have empty parentheses.
    def on_message(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a message (req): override it, or use it as a decorator. The default acknowledges."""
        return self._default("on_message", *args)

    def on_subscribe(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a new follower (event): override it, or use it as a decorator. The default is `on_event`."""
        return self._default("on_subscribe", *args)

    def on_event(self, *args: Any, **kwargs: Any) -> Any:
        """Hear all other events (event): override it, or use it as a decorator. The default acknowledges."""
        return self._default("on_event", *args)

    def on_error(self, *args: Any, **kwargs: Any) -> Any:
        """Say what the user gets when a handler raised (exc, req): override it, or use it as a decorator."""
        return self._default("on_error", *args[:1])

    def on_late_reply(self, *args: Any, **kwargs: Any) -> Any:
        """Hear of an answer (req, reply) that came after WeChat's last try: override it, or use it as a decorator."""
        return self._default("on_late_reply", *args[:1])

    def _taken(self, name: str, method: Handler, given: Any = None, *rest: Any) -> Any:
        return self._default(name, given) if given is None or callable(given) else method(given, *rest)

    def _default(self, name: str, given: Any = None) -> Any:
        if given is None:  # ``@server.on_message()``: people write both, and mean the same
            return partial(self._default, name)
        if callable(given):  # no message is callable: this is the decorator
            self._handlers.give(name, given)
            return given
        return None

    @overload
    def text(self, handler: TextHandler, /) -> TextHandler: ...
    @overload
    def text(self, *words: "str | re.Pattern[str]") -> Callable[[AnyHandler], AnyHandler]: ...
    def text(self, *words: Any) -> Any:
        """Answer certain texts.

        Like this::

            @server.text("帮助", "?")
            def help(req): ...

            @server.text(re.compile(r"天气(?P<city>.+)"))
            def weather(req, city): ...

        Args:
            words: What the text must be, without the white space around it; of a compiled pattern, how it must begin
                (`re.Pattern.match`). Named groups become keyword arguments, None where they took no part. Without any
                words, as in ``@server.text``: all texts.
        """
        if words and callable(words[0]):
            return self._kind(words[0], "text")

        def route(handler: AnyHandler) -> AnyHandler:
            self._handlers.routes.text(words, handler)
            return handler

        return route if words else self._kind(None, "text")

    @overload
    def image(self, handler: ImageHandler) -> ImageHandler: ...
    @overload
    def image(self) -> Callable[[ImageHandler], ImageHandler]: ...
    def image(self, handler: Any = None) -> Any:
        """Answer images: ``@server.image``."""
        return self._kind(handler, "image")

    @overload
    def voice(self, handler: VoiceHandler) -> VoiceHandler: ...
    @overload
    def voice(self) -> Callable[[VoiceHandler], VoiceHandler]: ...
    def voice(self, handler: Any = None) -> Any:
        """Answer voice messages: ``@server.voice``."""
        return self._kind(handler, "voice")

    @overload
    def video(self, handler: VideoHandler) -> VideoHandler: ...
    @overload
    def video(self) -> Callable[[VideoHandler], VideoHandler]: ...
    def video(self, handler: Any = None) -> Any:
        """Answer videos, the short ones (小视频), too: ``@server.video``."""
        return self._kind(handler, "video", "shortvideo")

    @overload
    def location(self, handler: LocationHandler) -> LocationHandler: ...
    @overload
    def location(self) -> Callable[[LocationHandler], LocationHandler]: ...
    def location(self, handler: Any = None) -> Any:
        """Answer locations that users send: ``@server.location``. What WeChat reports by itself is the event LOCATION."""
        return self._kind(handler, "location")

    @overload
    def link(self, handler: LinkHandler) -> LinkHandler: ...
    @overload
    def link(self) -> Callable[[LinkHandler], LinkHandler]: ...
    def link(self, handler: Any = None) -> Any:
        """Answer links: ``@server.link``."""
        return self._kind(handler, "link")

    def _kind(self, handler: Any, *kinds: str) -> Any:
        if handler is None:  # with parentheses, ``@server.image()``
            return lambda given: self._kind(given, *kinds)
        self._handlers.routes.kind(kinds, handler)
        return handler

    def event(self, name: str, *, key: str | None = None) -> Callable[[AnyHandler], AnyHandler]:
        """Answer an event.

        Like this::

            @server.event("CLICK", key="V1001")
            def today(event): ...

        Args:
            name: WeChat's, in upper or lower case; see the table of events in the README.
            key: Its EventKey: of a menu, say, or of a QR code (``qrscene_...`` on subscribe). Without it: any.
        """
        if not isinstance(name, str) or not isinstance(key, str | None):
            raise ConfigError(
                'an event route is written like @server.event("CLICK", key="V1001") / '
                '事件路由写成 @server.event("CLICK", key="V1001")'
            )

        def route(handler: AnyHandler) -> AnyHandler:
            self._handlers.routes.event(name, key, handler)
            return handler

        return route

    def scan(self, scene: str | int) -> Callable[[AnyHandler], AnyHandler]:
        """Answer who scans a QR code with a scene, whether they follow now or already did.

        Like this::

            @server.scan("123")
            def from_poster(event): ...

        Args:
            scene: The number or the text that the QR code was made with, whole.
        """
        if isinstance(scene, bool) or not isinstance(scene, str | int) or scene == "":
            raise ConfigError(
                f'a scene is a number or a text, like @server.scan("123"), not {scene!r}: it is compared as a whole; for '
                'patterns use @server.event("subscribe") and @server.event("SCAN") / '
                '场景值须为数字或文本，例如 @server.scan("123")'
            )

        def route(handler: AnyHandler) -> AnyHandler:
            self._handlers.routes.event("subscribe", f"qrscene_{scene}", handler)
            self._handlers.routes.event("SCAN", str(scene), handler)
            return handler

        return route
