"""The Flask app that we are mounted in: whether it would notice that its dispatch is left out.

That dispatch costs as much as all that we do. Where nothing of the app's would run but our view, nobody misses it; asked
for each request, since hooks may come later. An app in, a judgement out; knows nothing of WeChat.
"""

from collections.abc import Callable
from operator import attrgetter
from types import FunctionType
from typing import Any

import flask.app
from flask import Flask, Request, Response, signals
from flask.sessions import SecureCookieSessionInterface

_SIGNALS = (
    *(signals.request_started, signals.request_finished, signals.request_tearing_down, signals.got_request_exception),
    *(signals.appcontext_pushed, signals.appcontext_popped, signals.appcontext_tearing_down),
)

# The methods on a request's way; some tracing tools put their own in the place of one.
_WAY = (
    *(
        "wsgi_app",
        "request_context",
        "full_dispatch_request",
        "preprocess_request",
        "dispatch_request",
        "make_response",
    ),
    *("process_response", "finalize_request", "handle_user_exception", "handle_http_exception", "handle_exception"),
    *("do_teardown_request", "ensure_sync"),
)
_OF_AN_APP = frozenset(_WAY) - {"wsgi_app"}  # which everybody replaces, we among them
_way_of = attrgetter(*_WAY)
_FLASKS = _way_of(Flask)
_UNTOUCHED = all(isinstance(way, FunctionType) and way.__globals__ is vars(flask.app) for way in _FLASKS)


def leaves_room_in_front(app: Flask, ours: type) -> bool:
    """Whether what we put in front of Flask comes behind all that the app has around it: nothing yet but what is ours."""
    app_around: Any = app.wsgi_app
    return (
        _UNTOUCHED
        and type(app) is Flask
        and (isinstance(app_around, ours) or app_around == Flask.wsgi_app.__get__(app))
    )


def notices(app: Flask, endpoint: str, view: Callable[..., Any], environ: dict[str, Any]) -> bool:
    """Whether anything of the app's would hear of this request, or decide on it, if it went through Flask to *view*.

    Not among them: error handlers, which get what goes wrong from `Front`; hooks of a blueprint, which are for its own
    views; URL defaults, which `url_for` asks; and teardown_appcontext, which is called for the context around the handler.
    """
    return bool(
        app.before_request_funcs.get(None)
        or app.after_request_funcs.get(None)
        or app.teardown_request_funcs.get(None)
        or app.url_value_preprocessors.get(None)
        or app.config["MAX_CONTENT_LENGTH"] is not None
        or app.config["SERVER_NAME"] is not None  # Flask before 3.1 answers 404 to who calls it by another name
        or app.config.get("TRUSTED_HOSTS") is not None
        or app.url_map.host_matching
        or app.subdomain_matching
        or app.view_functions.get(endpoint) != view  # somebody has put a function of theirs around it
        or app.request_class is not Request
        or app.response_class is not Response
        or type(app.session_interface) is not SecureCookieSessionInterface
        or "werkzeug.debug.preserve_context" in environ  # the app's tests look at the request afterwards
        or _way_of(Flask) != _FLASKS
        or not _OF_AN_APP.isdisjoint(vars(app))
        or any([signal.receivers for signal in _SIGNALS])
    )
