"""`req.session` as a handler sees it: when it is locked, when it is written, and when it can no more be touched."""

import asyncio
from types import SimpleNamespace

import pytest

from wx_mp_svr.session import Session

USER = ("gh_1", "o_1")


class Desk:
    """Keeps the sessions of these tests, and notes what it is asked."""

    def __init__(self, **data):
        self.data, self.asked = data, []

    def hold(self, user):
        self.asked.append(("hold", user))
        return SimpleNamespace(data=dict(self.data))

    async def hold_async(self, user):
        self.asked.append(("hold async", user))
        return SimpleNamespace(data=dict(self.data))

    def release(self, held, *, save):
        self.asked.append(("release", save))
        if save:
            self.data = held.data

    async def release_async(self, held, *, save):
        self.asked.append(("release async", save))
        if save:
            self.data = held.data


@pytest.fixture
def desk():
    return Desk(n=1)


@pytest.fixture
def session(desk):
    return Session(desk, USER)


def test_the_first_touch_locks_it_and_releasing_writes_it(desk, session):
    assert (session.locked, desk.asked) == (False, [])
    assert (session["n"], len(session), list(session)) == (1, 1, ["n"])
    session["m"] = 2
    del session["n"]
    assert (session.locked, desk.asked) == (True, [("hold", USER)])
    session.release()
    assert (session.locked, desk.data, desk.asked[1:]) == (False, {"m": 2}, [("release", True)])
    session.release()
    assert len(desk.asked) == 2
    assert session["m"] == 2  # and is locked again
    assert desk.asked[2:] == [("hold", USER)]


def test_what_is_not_saved_is_forgotten(desk, session):
    session["n"] = 2
    session.release(save=False)
    assert (desk.data, desk.asked[-1]) == ({"n": 1}, ("release", False))


def test_a_key_is_text(desk, session):
    with pytest.raises(TypeError, match=r"a key of req\.session is a str, not int"):
        session[1] = "a"
    assert desk.asked == []


def test_it_shows_what_it_holds_without_being_touched(desk, session):
    assert repr(session) == "<Session not locked>"
    assert desk.asked == []
    session["m"] = 2
    assert repr(session) == "<Session {'n': 1, 'm': 2}>"


def test_a_block_keeps_it_and_the_outermost_one_writes_it(desk, session):
    with session as same:
        assert same is session
        with session:
            session["n"] = 2
        assert session.locked
        assert desk.data == {"n": 1}
    assert (session.locked, desk.data, desk.asked) == (False, {"n": 2}, [("hold", USER), ("release", True)])
    with session:
        pass
    assert desk.asked[2:] == [("hold", USER), ("release", True)]


def test_a_block_that_raises_writes_nothing(desk, session):
    with pytest.raises(KeyError), session:
        session["n"] = 2
        raise KeyError
    assert (session.locked, desk.data, desk.asked[-1]) == (False, {"n": 1}, ("release", False))


def test_a_block_within_which_it_was_released_has_nothing_left_to_write(desk, session):
    with session, session:
        session["n"] = 2
        session.release()
    assert desk.asked == [("hold", USER), ("release", True)]
    with session:
        assert session["n"] == 2
    assert desk.asked[2:] == [("hold", USER), ("release", True)]


def test_coroutines_have_blocks_of_their_own(desk, session):
    async def story():
        async with session as same:
            assert same is session
            async with session:
                session["n"] = 2
            assert session.locked
        assert not session.locked
        with pytest.raises(KeyError):
            async with session:
                session["n"] = 3
                raise KeyError
        async with session:
            session.release()

    asyncio.run(story())
    assert desk.data == {"n": 2}
    hold = ("hold async", USER)
    assert desk.asked == [hold, ("release async", True), hold, ("release async", False), hold, ("release", True)]


@pytest.mark.parametrize("save", [True, False])
def test_after_the_handler_it_opens_only_for_a_block(desk, session, save):
    session["n"] = 2
    session.finish(save=save)
    assert (desk.data, desk.asked[-1]) == ({"n": 2 if save else 1}, ("release", save))
    with pytest.raises(RuntimeError, match=r"use `with req\.session:` here"):
        session["n"]
    with session:
        session["n"] = 3
    assert desk.data == {"n": 3}


def test_what_was_never_touched_is_not_written(desk, session):
    session.finish()
    assert desk.asked == []


def test_a_handlers_end_writes_by_itself(desk, session):
    session["n"] = 2
    session.finish()
    assert desk.data == {"n": 2}
