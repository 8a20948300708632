"""The store on Redis keeps the contract, against a real server; whatever happens to that one is a StoreError, soon."""

import re
import select
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import servers
from redis import Redis
from store_contract import EVERY_VERB, VERBS, FakeClock, SharedStoreContract, every_verb, forked, may_fork
from waiting import until

from wx_mp_svr.errors import ConfigError, StoreError
from wx_mp_svr.store import open_store
from wx_mp_svr.store.redis import MAX_CONNECTIONS, RedisStore

SLOW_SECONDS = 0.75  # two timeouts of 0.3 s, and what a busy machine adds


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    """One server for all tests that do it no harm."""
    with servers.redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path):
    """A server that a test may stop."""
    with servers.redis(tmp_path) as server:
        yield server


@contextmanager
def client_of(server):
    """redis-py itself, to look at what lies there."""
    with Redis.from_url(server.url) as client:
        yield client


class RedisClock(FakeClock):
    """Makes what lies there older: Redis goes by its own clock."""

    def __init__(self, server):
        super().__init__()
        self._server = server

    def advance(self, seconds):
        super().advance(seconds)
        with client_of(self._server) as client:
            for key in client.keys():
                left = client.pttl(key)
                assert left != -1, f"{key} has no end"
                client.pexpire(key, max(0, left - round(seconds * 1000)))


class TestRedisStore(SharedStoreContract):
    """All that every shared store owes."""

    @pytest.fixture(autouse=True)
    def _server(self, shared_redis):
        self.server = shared_redis

    def make_store(self, clock=None):
        with client_of(self.server) as client:
            client.flushall()
        return RedisStore(self.server.patient_url)

    def make_timed(self):
        return self.make_store(), RedisClock(self.server)

    def recipe(self, store):
        return "wx_mp_svr.store.redis:RedisStore", self.server.patient_url

    def raw_items(self, store):
        with client_of(self.server) as client:
            return {
                key.decode().removeprefix("wxmp:"): (client.get(key), client.pttl(key) / 1000) for key in client.keys()
            }

    @pytest.mark.parametrize("verb", ["set", "add", "incr"])
    def test_redis_itself_forgets_in_time(self, verb):
        """Its own clock, no fake one."""
        store = self.make_store()
        begun = time.monotonic()
        if verb == "incr":
            store.incr("a", 0.15)
        else:
            getattr(store, verb)("a", 1, 0.15)
        until(lambda: store.get("a") is None, seconds=5)
        assert time.monotonic() - begun > 0.1


def test_every_key_bears_our_name(shared_redis):
    """The database may be somebody else's, too."""
    store = RedisStore(shared_redis.url)
    with client_of(shared_redis) as client:
        client.flushall()
        every_verb(store, "a")
        assert client.keys() and all(key.startswith(b"wxmp:") for key in client.keys())


def test_making_a_store_connects_to_nothing():
    """A server starts although its Redis does not run yet; and it may fork before the first use (B103)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        RedisStore(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        assert select.select([listener], [], [], 0.05)[0] == []


# -- its faults


@pytest.mark.parametrize("verb", VERBS)
def test_a_stopped_redis_is_a_store_error_at_once_and_back_again_it_works(own_redis, verb):
    """Also over connections that the store still holds from before (B96)."""
    store = RedisStore(own_redis.url)
    assert every_verb(store, "before") == EVERY_VERB
    own_redis.stop()
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(StoreError):
            VERBS[verb](store)
        assert time.monotonic() - begun < 1
    own_redis.start()
    VERBS[verb](store)
    assert every_verb(store, "after") == EVERY_VERB


def test_a_restart_between_two_calls_is_not_noticed(own_redis):
    """The closed connections are opened anew, all of them."""
    store = RedisStore(own_redis.url)
    together = threading.Barrier(10)

    def use(n):
        together.wait(10)
        return every_verb(store, f"k{n}")

    with ThreadPoolExecutor(10) as pool:
        for _ in range(2):
            assert list(pool.map(use, range(10))) == [EVERY_VERB] * 10
            own_redis.stop()
            own_redis.start()


@pytest.mark.parametrize("used", [True, False], ids=["used before", "never used"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_hanging_redis_is_a_store_error_soon(own_redis, verb, used):
    """Each call has its bound (B97); later answers to earlier questions confuse nobody."""
    store = RedisStore(own_redis.url)
    if used:
        store.set("a", "kept", 60)
    own_redis.pause()
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(StoreError):
            VERBS[verb](store)
        assert time.monotonic() - begun < SLOW_SECONDS
    own_redis.resume()
    assert every_verb(store, "b") == EVERY_VERB


def test_answers_that_come_late_reach_nobody_else(own_redis):
    """A connection whose answer was not waited for is not used again."""
    store = RedisStore(own_redis.url)
    for n in range(20):
        store.set(f"k{n}", n, 60)
    own_redis.pause()

    def fail(n):
        with pytest.raises(StoreError):
            store.get(f"k{n}")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(fail, range(20)))
        own_redis.resume()
        assert list(pool.map(lambda n: store.get(f"k{n}"), reversed(range(20)))) == list(reversed(range(20)))


def test_many_callers_of_a_hanging_redis_all_come_back_before_wechat_hangs_up(own_redis):
    """They wait for a connection first: more of them than there are."""
    store = RedisStore(own_redis.url)
    store.set("a", 1, 60)
    own_redis.pause()
    together = threading.Barrier(200)

    def ask(n):
        together.wait(30)
        begun = time.monotonic()
        with pytest.raises(StoreError):
            store.get(f"k{n}")
        return time.monotonic() - begun

    with ThreadPoolExecutor(200) as pool:
        times = list(pool.map(ask, range(200)))
    assert max(times) < 3.5


def test_a_burst_is_no_fault(shared_redis):
    """More threads at once than there are connections: they wait for one another, and that is all."""
    store, threads = RedisStore(shared_redis.url), MAX_CONNECTIONS + 20
    with client_of(shared_redis) as client:
        client.flushall()
    together = threading.Barrier(threads)

    def push(n):
        together.wait(30)
        return store.add(f"k{n // 2}", n // 2, 60), store.get(f"k{n // 2}")

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(push, range(threads)))
    assert [won for won, _ in results].count(True) == threads // 2
    assert [value for _, value in results] == [n // 2 for n in range(threads)]


def test_a_full_redis_is_a_store_error(own_redis):
    """What it may not keep it says (B98); reading goes on."""
    store = RedisStore(own_redis.url)
    store.set("a", 1, 60)
    with client_of(own_redis) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
    for verb in ("set", "add", "incr"):
        with pytest.raises(StoreError):
            VERBS[verb](store)
    assert store.get("a") == 1
    with client_of(own_redis) as client:
        client.config_set("maxmemory", "0")
    assert every_verb(store, "b") == EVERY_VERB


def test_a_value_that_is_no_json_counts_as_missing(shared_redis):
    """Somebody else wrote there; nothing is unpickled (B100), and it is no outage."""
    store = RedisStore(shared_redis.url)
    with client_of(shared_redis) as client:
        client.flushall()
        client.set("wxmp:a", b"cos\nsystem\n(S'true'\ntR.", px=60_000)
        client.set("wxmp:b", b"\x80\x04\xff", px=60_000)
    assert [store.get(key) for key in "ab"] == [None, None]
    assert store.get_many(["a", "b"]) == {}


class Relay:
    """Stands between the store and Redis, and cuts a connection instead of handing on the answer to one command."""

    def __init__(self, server, command):
        self._server = server
        self._command = command
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._ended = True
        self._thread.join(10)
        self._listener.close()

    def _run(self):
        pairs = {}
        while not self._ended:
            for ready in select.select([self._listener, *pairs], [], [], 0.02)[0]:
                if ready is self._listener:
                    here, there = self._listener.accept()[0], socket.create_connection(("127.0.0.1", self._server.port))
                    pairs.update({here: there, there: here})
                elif ready in pairs:
                    self._hand_on(pairs, ready)
        for end in pairs:
            end.close()

    def _hand_on(self, pairs, ready):
        data = ready.recv(65536)
        if data and not (self._command in data and not self.cuts):
            pairs[ready].sendall(data)
            return
        other = pairs.pop(ready)
        pairs.pop(other)
        if data:
            self.cuts += 1
            other.sendall(data)
            other.recv(65536)  # Redis has done it, and nobody hears of it
        ready.close()
        other.close()


@pytest.mark.parametrize("verb", ["add", "incr"])
def test_what_was_done_without_an_answer_is_not_done_again(shared_redis, verb):
    """Else nobody wins `add`: the first question did, and the second is told that somebody else was quicker."""
    with client_of(shared_redis) as client:
        client.flushall()
    relay = Relay(shared_redis, b"NX")
    try:
        store = RedisStore(relay.url)
        try:
            answer = store.add("a", "mine", 60) if verb == "add" else store.incr("a", 60)
        except StoreError:
            answer = "a StoreError, and the caller knows that it does not know"
        assert relay.cuts == 1
        assert answer is not False
        assert answer != 2
    finally:
        relay.close()


# -- how it is opened


def test_a_password_stands_in_the_url(tmp_path):
    """A wrong one, or none, is a StoreError without it."""
    with servers.redis(tmp_path, password="s3cretWord") as server:
        assert every_verb(open_store(server.url), "a") == EVERY_VERB
        for url in (server.url.replace("s3cretWord", "wr0ngWord"), server.url.replace(":s3cretWord@", "")):
            with pytest.raises(StoreError) as caught:
                open_store(url).get("a")
            assert "wr0ngWord" not in str(caught.value)


def test_the_database_of_the_url_is_used(shared_redis):
    """Several bots on one Redis."""
    one, other = RedisStore(shared_redis.url), RedisStore(shared_redis.url.removesuffix("/0") + "/5")
    other.set("only here", 1, 60)
    assert (one.get("only here"), other.get("only here")) == (None, 1)


@pytest.mark.parametrize(
    "url", ["redis:127.0.0.1:6379", "redis://127.0.0.1:none/0", "redis://127.0.0.1:99999/0", "redis:", "rediss:x"]
)
def test_a_wrong_url_is_a_config_error(url):
    """Which says what a right one looks like."""
    with pytest.raises(ConfigError, match=re.escape("redis://127.0.0.1:6379/0")):
        open_store(url)


@pytest.mark.parametrize("query", ["?nonsense=1", "?socket_timeout=soon"])
def test_a_wrong_option_is_a_config_error(query):
    """At start, not at each push."""
    with pytest.raises(ConfigError):
        open_store(f"redis://127.0.0.1:6379/0{query}")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_without_redis_py_it_is_a_config_error(monkeypatch, scheme):
    """Which says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "wx_mp_svr.store.redis")
    with pytest.raises(ConfigError, match="pip install redis"):
        open_store(f"{scheme}://127.0.0.1:6379/0")


@may_fork
def test_a_fork_shares_no_connection(shared_redis):
    """Two processes on one socket would read each other's answers; see also the contract (B103)."""
    store = RedisStore(shared_redis.url)
    store.set("a", 1, 60)
    with client_of(shared_redis) as client:
        before = {each["id"] for each in client.client_list()}
    with forked(lambda: store.get("a")) as child:
        assert child() == 1
    assert store.get("a") == 1
    with client_of(shared_redis) as client:
        assert {each["id"] for each in client.client_list()} & before
