"""The table of one try: total, without a dead row, and right for WeChat's three tries on a virtual clock."""

import itertools

import pytest

from wx_mp_svr.delivery.rules import BLINK_SECONDS, Act, PageState, Patience, Rules, RunState, Scene, Step, Times

TIMES = Times()
RULES = Rules(TIMES)
NEXT_TRY = 5.0  # WeChat hangs up and pushes again
SPACE = [
    Scene(*values)
    for values in itertools.product(
        (0.0, 0.5, 1.0, 2.0, 4.3, 5.0, 5.2, 9.0),
        (1, 2, 3, 4),
        PageState,
        RunState,
        ("yes", "no", "?"),
        (True, False),
        Patience,
        (0.0, 2.0, 4.5),
    )
]


@pytest.mark.parametrize("words", [PageState, RunState, Patience, Act])
def test_each_word_of_the_table_says_what_it_means(words):
    """Each in words of its own: two with the same would be one and the same to Python."""
    assert all(isinstance(word.value, str) and word.value for word in words)
    assert list(words.__members__) == [word.name for word in words]


def test_the_table_is_total_and_no_row_is_dead():
    """Over the whole space: each scene has a step, and each row is some scene's first."""
    used = {next(row.about for row in RULES.rows if row.holds(scene)) for scene in SPACE}
    assert used == {row.about for row in RULES.rows}


NONE, GROWING, READY = PageState
FIRST = Scene(0.0, 1, NONE, RunState.ALIVE, "yes", True, Patience.FULL)


@pytest.mark.parametrize(
    ("scene", "act", "until"),
    [
        # of a try that may be kept beyond WeChat's five seconds
        ({}, Act.WAIT, 1.0),
        ({"elapsed": 0.99}, Act.WAIT, 1.0),
        ({"elapsed": 1.0}, Act.WAIT, 4.3),
        ({"elapsed": 4.29}, Act.WAIT, 4.3),
        ({"elapsed": 4.3}, Act.WAIT, 5.2),
        ({"elapsed": 5.19, "number": 2}, Act.WAIT, 5.2),
        ({"elapsed": 5.2, "number": 2}, Act.HANG_UP, 0.0),
        ({"elapsed": 4.3, "number": 3}, Act.LINK, 0.0),
        ({"elapsed": 4.3, "number": 3, "slow_text": False}, Act.PROMISE, 0.0),
        ({"elapsed": 4.3, "number": 3, "answerable": "?"}, Act.PROMISE, 0.0),
        ({"elapsed": 4.3, "answerable": "?"}, Act.WAIT, 5.2),
        ({"elapsed": 4.3, "answerable": "no"}, Act.ACK, 0.0),
        # and had waited in a backlog before
        ({"elapsed": 1.0, "backlog": 3.0}, Act.WAIT, 1.3),
        ({"elapsed": 1.3, "backlog": 3.0}, Act.WAIT, 5.0),
        ({"elapsed": 4.3, "backlog": 0.125}, Act.WAIT, 5.075),
        ({"elapsed": 5.0, "backlog": 3.0}, Act.HANG_UP, 0.0),
        # whose page is there
        ({"elapsed": 4.29, "page": READY}, Act.SEND, 0.0),
        ({"elapsed": 4.3, "page": READY}, Act.WAIT, 5.2),  # what WeChat might not hear any more goes out with the next
        ({"elapsed": 5.2, "page": READY}, Act.HANG_UP, 0.0),
        ({"elapsed": 4.3, "page": READY, "number": 3}, Act.SEND, 0.0),
        ({"elapsed": 4.3, "page": READY, "number": 3, "answerable": "?"}, Act.SEND, 0.0),
        ({"elapsed": 0.0, "page": READY, "run": RunState.LOST}, Act.SEND, 0.0),
        # or a part of it
        ({"elapsed": 1.0, "page": GROWING, "number": 3}, Act.WAIT, 4.3),
        ({"elapsed": 4.3, "page": GROWING, "number": 2}, Act.WAIT, 5.2),
        ({"elapsed": 4.3, "page": GROWING, "number": 3, "slow_text": False}, Act.PART, 0.0),
        ({"elapsed": 4.3, "page": GROWING, "number": 3, "answerable": "?"}, Act.PROMISE, 0.0),
        # that nobody runs
        ({"run": RunState.FREE}, Act.CLAIM, 0.0),
        ({"run": RunState.LOST}, Act.CLAIM, 0.0),
        ({"run": RunState.SPENT}, Act.END, 0.0),
        ({"run": RunState.LOST, "page": GROWING}, Act.END, 0.0),
        # that may not be kept as long
        ({"elapsed": 0.09, "patience": Patience.BLINK}, Act.WAIT, 0.1),
        ({"elapsed": 0.1, "patience": Patience.BLINK}, Act.LINK, 0.0),
        ({"elapsed": 0.0, "patience": Patience.SHORT}, Act.WAIT, 1.0),
        ({"elapsed": 1.0, "patience": Patience.SHORT}, Act.LINK, 0.0),
        ({"elapsed": 1.0, "patience": Patience.HOLD}, Act.WAIT, 4.3),
        ({"elapsed": 4.3, "patience": Patience.HOLD}, Act.LINK, 0.0),
    ],
)
def test_a_try_does_one_thing_after_the_other(scene, act, until):
    assert RULES.next_step(FIRST._replace(**scene)) == Step(act, pytest.approx(until))


def test_a_wait_ends_in_the_future():
    """Or a try would look again for ever."""
    for scene in SPACE:
        step = RULES.next_step(scene)
        assert step.act is not Act.WAIT or step.until > scene.elapsed, scene


def test_only_a_push_of_which_no_page_stands_is_run():
    for scene in SPACE:
        if RULES.next_step(scene).act is Act.CLAIM:
            assert scene.page is PageState.NONE
            assert scene.run in (RunState.FREE, RunState.LOST)


def test_nothing_is_said_where_nobody_would_see_it():
    for scene in SPACE:
        act = RULES.next_step(scene).act
        assert not (scene.answerable == "no" and act in (Act.LINK, Act.PART, Act.HANG_UP, Act.PROMISE)), scene
        assert not (scene.answerable == "?" and act in (Act.LINK, Act.PART)), scene


def test_an_empty_answer_never_leaves_while_wechat_still_listens():
    """An early 503 would cost the user a try, whatever the try had waited before."""
    for scene in SPACE:
        if RULES.next_step(scene).act is Act.HANG_UP:
            assert scene.elapsed >= 5.0


def test_a_full_house_answers_after_a_blink():
    """Or with the link; eight take a look of one second."""
    for scene in SPACE:
        step = RULES.next_step(scene)
        if scene.patience is Patience.BLINK:
            assert step.act is not Act.HANG_UP
            assert step.act is not Act.WAIT or step.until == BLINK_SECONDS
        if scene.patience is Patience.SHORT and step.act is Act.WAIT:
            assert step.until == TIMES.held_after


def test_what_a_try_waited_in_a_backlog_shortens_hold_but_not_the_first_look():
    waits = [
        RULES.next_step(Scene(elapsed, 3, PageState.NONE, RunState.ALIVE, "yes", True, Patience.FULL, backlog)).until
        for elapsed, backlog in [(0.0, 4.0), (1.0, 0.0), (1.0, 2.0)]
    ]
    assert waits == pytest.approx([1.0, 4.3, 2.3])


class WeChat:
    """Three tries of a push, and as many taps as it takes, on a virtual clock: what the user sees, and when."""

    def __init__(self, seconds, *, patience=Patience.FULL, slow_text=True, answerable="yes"):
        self.ready_at = seconds
        self.scene = {"answerable": answerable, "slow_text": slow_text, "patience": patience}
        self.now = 0.0
        self.claimed = False

    def page(self):
        return PageState.READY if self.claimed and self.now >= self.ready_at else PageState.NONE

    def one_try(self, number):
        """Return what one try gets before WeChat hangs up: "answer", "link", "ack" or None."""
        begun = self.now
        while True:
            run = RunState.ALIVE if self.claimed else RunState.FREE
            step = RULES.next_step(Scene(self.now - begun, number, self.page(), run, **self.scene))
            if step.act is Act.WAIT:
                end = begun + step.until
                ready = max(self.now, self.ready_at) if self.page() is PageState.NONE else end
                self.now = min(end, ready) + 1e-9  # else 4.3 may be 4.2999
            elif step.act is Act.CLAIM:
                self.claimed = True
            elif self.now - begun >= NEXT_TRY:
                self.now = begun + NEXT_TRY
                return None
            else:
                return {Act.SEND: "answer", Act.LINK: "link", Act.ACK: "ack", Act.PROMISE: "ack"}[step.act]

    def push(self):
        """Return what each of the tries gets."""
        seen = []
        for number in (1, 2, 3):
            seen.append(self.one_try(number))
            if seen[-1] is not None:
                break
        return seen


DURATIONS = [
    (0.1, ["answer"], 0),
    (2, ["answer"], 0),
    (4.2, ["answer"], 0),
    (4.6, [None, "answer"], 0),
    (6, [None, "answer"], 0),
    (8, [None, "answer"], 0),
    (9.7, [None, None, "answer"], 0),
    (11, [None, None, "answer"], 0),
    (14.2, [None, None, "answer"], 0),
    (20, [None, None, "link"], 1),
    (40, [None, None, "link"], 2),
]


@pytest.mark.parametrize(("seconds", "tries", "taps"), DURATIONS, ids=lambda value: str(value))
def test_however_long_a_handler_takes_the_answer_arrives(seconds, tries, taps):
    wechat = WeChat(seconds)
    seen, needed = wechat.push(), 0
    assert seen == tries
    while seen[-1] == "link":
        seen, needed = wechat.push(), needed + 1
    assert (seen[-1], needed) == ("answer", taps)


@pytest.mark.parametrize("patience", Patience)
def test_every_handler_time_up_to_two_minutes_ends_in_the_answer(patience):
    """In steps of 10 ms: never the fault notice, which is three tries without an answer."""
    for hundredth in range(12_001):
        wechat = WeChat(hundredth / 100, patience=patience)
        for _ in range(200):
            seen = wechat.push()
            assert seen[-1] in ("answer", "link")
            if seen[-1] == "answer":
                break
            wechat.now += 10.0  # the user taps again
        assert seen[-1] == "answer"


@pytest.mark.parametrize(("seconds", "tries"), [(4, ["answer"]), (8, [None, "answer"]), (20, [None, None, "ack"])])
def test_without_a_slow_text_the_last_try_is_acknowledged(seconds, tries):
    assert WeChat(seconds, slow_text=False).push() == tries


@pytest.mark.parametrize(("answerable", "seconds", "tries"), [("no", 20, ["ack"]), ("?", 20, [None, None, "ack"])])
def test_events_that_nobody_reads_are_acknowledged(answerable, seconds, tries):
    assert WeChat(seconds, answerable=answerable).push() == tries
