"""The days: what the bot is, who writes to it, and what happens meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import strikes
from strikes import Strike, configured, cut, reloads

from wx_mp_svr.testing import Faults

KINDS = ("slow 0", "slow 0", "slow 2", "slow 8", "slow 13", "slow 20", "stream 30 0.4", "stream 60 0.2")
LONG = ("stream 1000 0.015",)  # 30 pages
COUNTING = ("count 20",)  # twenty messages of one user, each counted in the session
RESTARTED = ("slow 0", "slow 2", "slow 4", "slow 8")
MIXED = (*KINDS, "async 3", "async 15", "tell 60 0.3")


@dataclass(frozen=True)
class Day:
    """One experiment.

    Attributes:
        about: For the table.
        store: "sqlite" or "redis".
        strike: What happens.
        kinds: What is pushed, in turn.
        pushes: How many are.
        span: Seconds in which they come, evenly.
        after: When the strike begins, in seconds from the first push.
        seconds: How long it lasts.
        server: One of `machines.SERVERS`.
        machines: How many bots there are, behind one nginx; between them handlers may run twice.
        queue: One of `machines.WORKERS`, if handlers run there.
        nginx: Whether the shipped rules of nginx stand in front.
        of_one_user: How many of the first pushes come from one user, who may be told to be busy; the others have one each.
        pause: Seconds from what a user reads to the next tap.
        faults: What goes wrong on the way, for each push in turn.
        forgets: Whether what only the store held is lost: then answers of before may be, too.
        reruns: Whether processes die, so that what they ran is run again.
        settings: Beside the account's, where the shipped ones are not what is looked at.
    """

    about: str
    store: str = "sqlite"
    strike: Strike = strikes.nothing
    kinds: Sequence[str] = KINDS
    pushes: int = 300
    span: float = 30.0
    after: float = 8.0
    seconds: float = 10.0
    server: str = "shipped"
    machines: int = 1
    queue: str = ""
    nginx: bool = False
    of_one_user: int = 0
    pause: float = 3.0
    faults: Sequence[Faults] = (Faults(),)
    forgets: bool = False
    reruns: bool = False
    settings: dict[str, str] = field(default_factory=dict)


_MEMORY = configured(["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"])
_CLIENTS = configured(
    ["CONFIG SET maxclients 1", "CLIENT KILL TYPE normal SKIPME yes"], ["CONFIG SET maxclients 10000"]
)
_READONLY = configured(["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"])
_FIRST_LOST = Faults(drop=frozenset({1}))
_STREAMS = Day("40 streams of 30 pages", kinds=LONG, pushes=40, span=6.0)
_SESSIONS = Day("200 users count to 20", kinds=COUNTING, pushes=200, span=6.0, seconds=5.0, server="three")

STORES = {
    "redis-stop": Day("Redis stopped for 10 s", "redis", strikes.stopped),
    "redis-kill": Day("Redis killed, started 10 s later", "redis", strikes.killed, forgets=True),
    "redis-maxmemory": Day("Redis: maxmemory", "redis", _MEMORY),
    "redis-readonly": Day("Redis: read-only", "redis", _READONLY),
    "redis-maxclients": Day("Redis: maxclients", "redis", _CLIENTS),
    "redis-flush": Day("Redis flushed", "redis", configured(["FLUSHALL"], ["PING"]), forgets=True),
    "sqlite-locked": Day("SQLite locked for 10 s", strike=strikes.locked),
    "sqlite-full": Day("SQLite: disk full", strike=strikes.full),
    "sqlite-immutable": Day("SQLite: immutable", strike=strikes.immutable),
    "sqlite-slow": Day("SQLite: a write takes 0.1 s", strike=strikes.slow),
    "sqlite-deleted": Day("SQLite: deleted", strike=strikes.deleted, forgets=True),
    "redis-cut-off": Day("second machine cut off from Redis", "redis", cut("to", "back"), machines=2),
    "redis-answers-cut-off": Day("second machine: answers cut off", "redis", cut("back"), machines=2),
    "redis-hiccup": replace(
        _STREAMS, about=f"{_STREAMS.about}, Redis stopped 0.5 s", store="redis", strike=strikes.stopped, seconds=0.5
    ),
    "sqlite-hiccup": replace(
        _STREAMS, about=f"{_STREAMS.about}, SQLite locked 0.8 s", strike=strikes.locked, seconds=0.8
    ),
    "redis-sessions": replace(
        _SESSIONS, about=f"{_SESSIONS.about}, Redis stopped 5 s", store="redis", strike=strikes.stopped
    ),
    "sqlite-sessions": replace(_SESSIONS, about=f"{_SESSIONS.about}, SQLite locked 5 s", strike=strikes.locked),
}

CROWDS = {
    "crowd": Day("1,000 users x 12 s in 5 s", kinds=("slow 12",), pushes=1000, span=5.0),
    "crowd-async": Day("1,000 users x 12 s in 5 s, async def", kinds=("async 12",), pushes=1000, span=5.0),
    # What a handler of its own answers at once never waits behind those of another that takes long.
    "quick": Day("3 quick ones a second alone", kinds=("ping",), pushes=180, span=60.0),
    "flood-15": Day(
        "15 x 12 s and 3 quick ones a second", kinds=("slow 12",) * 15 + ("ping",) * 3, pushes=1080, span=60.0
    ),
    "flood-20": Day(
        "20 x 12 s and 3 quick ones a second", kinds=("slow 12",) * 20 + ("ping",) * 3, pushes=1380, span=60.0
    ),
    "streams": Day(
        "one process, 2,000 async streams of 30 s in 30 s",
        kinds=("tell 60 0.5",),
        pushes=2000,
        server="one",
        pause=10.0,
    ),
    "one-user": Day(
        "70 slow ones of one user, and those of others",
        kinds=(*("slow 12",) * 70, *("slow 1",) * 30),
        pushes=100,
        span=10.0,
        of_one_user=70,
    ),
    "seized": Day(
        "a handler that keeps the interpreter for 17 s",
        kinds=("seize 17", *("slow 0", "slow 1", "slow 2") * 33),
        pushes=100,
        span=20.0,
    ),
}

_POOL = ("slow 12",) * 8 + ("slow 0",) * 2
POOLS = {
    f"pool-{server}": Day(f"{about}: 8 x 12 s and 2 quick ones a second", kinds=_POOL, server=server)
    for server, about in {
        "sync": "gunicorn sync -w 4",
        "small": "gunicorn gthread 2x8",
        "uwsgi": "uWSGI, 4 processes without threads",
        "gevent": "gunicorn gevent",
        "waitress": "waitress",
        "uwsgi-threads": "uWSGI with threads",
    }.items()
}

_KILLED = {"kinds": (*RESTARTED, "slow 13"), "pushes": 300, "span": 30.0, "nginx": True, "reruns": True}
RESTARTS = {
    "reload": Day(
        "ten reloads under 20 a second", strike=reloads(10, 5.0), kinds=RESTARTED, pushes=1200, span=60.0, nginx=True
    ),
    "restart": Day(
        "a restart, the socket kept", strike=strikes.restart, kinds=RESTARTED, pushes=600, seconds=0.0, nginx=True
    ),
    "kill-one": Day("kill -9 of one worker", strike=strikes.kill_one, seconds=0.0, **_KILLED),  # type: ignore[arg-type]
    "kill-both": Day("kill -9 of both workers", strike=strikes.kill_both, seconds=0.0, **_KILLED),  # type: ignore[arg-type]
    "kill-all": Day(
        "kill -9 of everything, a start after 2 s",
        strike=strikes.kill_all,
        seconds=2.0,
        **_KILLED,  # type: ignore[arg-type]
    ),
}

_JOBS = ("slow 0", "slow 2", "slow 4", "slow 8")
QUEUES = {
    f"{queue}-{name}": Day(
        f"{queue}: {about}",
        store="redis",
        strike=strike,
        kinds=_JOBS,
        pushes=40,
        seconds=seconds,
        queue=queue,
        reruns=True,
    )
    for queue in ("celery", "rq", "huey")
    for name, about, strike, seconds in (
        ("killed", "one of two workers killed in the middle of its jobs", strikes.kill_queue_worker, 10.0),
        ("away-20", "no worker for 20 s", strikes.no_queue_workers, 20.0),
        ("away-90", "no worker for 90 s", strikes.no_queue_workers, 90.0),
    )
}

_LATE = ("slow 0", "slow 8", "slow 12", "slow 20")
WAYS = {
    "first-lost": Day("the first try never arrives", kinds=_LATE, faults=(_FIRST_LOST,)),
    "some-lost": Day("one first try in four never arrives", kinds=KINDS, faults=(_FIRST_LOST, *[Faults()] * 3)),
    "clock-ahead": Day(
        "WeChat's clock steps 12 s ahead", kinds=_LATE, faults=(*[Faults()] * 100, *[Faults(skew=12.0)] * 200)
    ),
    "clock-behind": Day(
        "WeChat's clock steps 12 s back", kinds=_LATE, faults=(*[Faults()] * 100, *[Faults(skew=-12.0)] * 200)
    ),
    "front-ahead": Day("one front end in four is 11 s ahead", kinds=_LATE, faults=(Faults(skew=11.0), *[Faults()] * 3)),
}

SOAK = {
    "soak": Day(
        "15 minutes at 10 a second, everything mixed; workers at minute 2 and at the end",
        strike=strikes.noted,
        kinds=MIXED,
        pushes=9000,
        span=900.0,
        after=120.0,
    ),
}

GROUPS = {
    "stores": STORES,
    "crowds": CROWDS,
    "pools": POOLS,
    "restarts": RESTARTS,
    "queues": QUEUES,
    "ways": WAYS,
    "soak": SOAK,
}
DAYS = {name: day for group in GROUPS.values() for name, day in group.items()}
QUICK = ("redis-stop", "sqlite-locked")
