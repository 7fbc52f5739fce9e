"""Reading ahead: the same items in order, a bounded number of them, and no thread that stays behind."""

import threading
import time
import weakref

import pytest

from sadinet.ahead import read_ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "sadinet-ahead"]


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_items_come_in_order_and_the_thread_ends():
    assert list(read_ahead(iter(range(100)), 3)) == list(range(100))
    assert list(read_ahead([], 3)) == []
    assert threads() == []


def test_no_more_than_the_depth_is_made_ahead():
    made = []
    items = read_ahead((made.append(i) or i for i in range(50)), 3)
    assert next(items) == 0
    wait_until(lambda: len(made) == 5)  # one taken, three that wait, one in the thread's hand
    time.sleep(0.02)
    assert len(made) == 5
    items.close()


@pytest.mark.parametrize("how", ["close", "drop"])
def test_who_stops_early_leaves_no_thread_and_an_ended_source(how):
    ended = []

    def source():
        try:
            yield from range(1000)
        finally:
            ended.append(threading.current_thread().name)

    items = read_ahead(source(), 2)
    assert [next(items), next(items)] == [0, 1]
    if how == "close":
        items.close()
    del items
    assert threads() == []
    assert ended == ["sadinet-ahead"]


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise OSError("broken")

    items = read_ahead(source(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="broken"):
        next(items)
    assert threads() == []


def test_items_that_were_taken_are_not_kept():
    class Item:
        pass

    seen = []

    def source():
        for _ in range(20):
            item = Item()
            seen.append(weakref.ref(item))
            yield item
            del item

    items = read_ahead(source(), 2)
    for _ in range(10):
        item = next(items)
    del item
    assert [ref() for ref in seen[:10]] == [None] * 10
    items.close()


def test_the_newest_is_given_and_the_rest_dropped():
    gate = threading.Event()
    done = threading.Event()

    def source():
        yield 0
        gate.wait(10)
        yield from range(1, 30)
        done.set()

    items = read_ahead(source(), 1, newest=True)
    assert next(items) == 0
    gate.set()
    done.wait(10)
    wait_until(lambda: threads() == [] or done.is_set())
    assert next(items) == 29
    assert list(items) == []
