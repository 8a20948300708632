"""Who is alive: a set that many threads fill while others walk it."""

import gc
import threading

from wx_mp_svr.living import Living


class One:
    pass


def test_nobody_is_kept_alive():
    living, one = Living(), One()
    living.add(one)
    living.add(one)
    living.add(One())
    gc.collect()
    assert living.all() == [one]


def test_it_is_walked_while_others_add_and_leave():
    """Two hundred accounts come while the first ones look for another one with their Token."""
    living, kept, done, faults = Living(), [One()], threading.Event(), []
    living.add(kept[0])

    def grow():
        while not done.is_set():
            kept.append(One())
            living.add(kept[-1])
            if len(kept) > 200:
                del kept[1:]

    def walk():
        try:
            for _ in range(2000):
                assert kept[0] in living.all()
        except RuntimeError as exc:
            faults.append(exc)

    threads = [threading.Thread(target=grow) for _ in range(2)] + [threading.Thread(target=walk) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads[2:]:
        thread.join()
    done.set()
    for thread in threads[:2]:
        thread.join()
    assert faults == []
