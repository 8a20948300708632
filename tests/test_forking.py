"""What is told of a fork: before it, and in the parent and the child after it, for as long as somebody wants to know."""

import gc
import os

from store_contract import may_fork

from wx_mp_svr.forking import ForkAware

pytestmark = may_fork


class Aware(ForkAware):
    def __init__(self):
        self.told = []

    def begin(self):
        self.told.append("begin")

    def before_fork(self):
        self.told.append("before")

    def after_fork(self):
        self.told.append("after")


def told_in_a_child(aware):
    """Fork, and return what the child was told."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(aware.told).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading) as told:
        return told.read().split()


def test_who_watches_is_told_of_each_fork():
    aware, other = Aware(), Aware()
    aware.watch_forks()
    assert aware.told == ["begin"]
    assert told_in_a_child(aware) == ["begin", "before", "begin"]
    assert aware.told == ["begin", "before", "after"]
    assert told_in_a_child(aware) == ["begin", "before", "after", "before", "begin"]
    assert other.told == []


def test_who_watches_is_not_kept_alive_for_it():
    told = [(aware := Aware()).told]
    aware.watch_forks()
    del aware
    gc.collect()
    told_in_a_child(Aware())
    assert told == [["begin"]]


def test_who_has_nothing_to_do_at_a_fork_may_say_so():
    """The methods do nothing by themselves."""
    silent = ForkAware()
    silent.watch_forks()
    assert told_in_a_child(Aware()) == []
