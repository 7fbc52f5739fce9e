"""Reading ahead: an iterator that works in a thread of its own, a few items before they are asked for."""

from collections import deque
from collections.abc import Generator, Iterable
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


def read_ahead(items: Iterable[T], depth: int = 4, *, newest: bool = False) -> Generator[T]:
    """The ``items`` in order, made by a thread that is at most ``depth`` of them ahead.

    What the items raise is raised here, after the items before it. When the consumer stops early (closes this
    iterator, or drops it), the thread ends after the item it is making, ``items`` is closed, and both are waited for.

    Args:
        items: Iterated in the thread alone; closed if it is a generator.
        depth: How many finished items may wait; the rest of them is not made before there is room.
        newest: Never wait for room: drop the oldest that waits. For cameras, whose frames come whether asked or not.
    """
    shelf = _Shelf[T](depth, newest)
    thread = Thread(target=_fill, args=(shelf, items), name="sadinet-ahead", daemon=True)
    thread.start()
    try:
        while shelf.wait():
            yield shelf.take()
    finally:
        shelf.close()
        thread.join()
    if shelf.error is not None:
        raise shelf.error


class _Shelf(Generic[T]):
    """What waits between the thread and the consumer."""

    def __init__(self, depth: int, newest: bool) -> None:
        self.error: BaseException | None = None
        self._items: deque[T] = deque()
        self._depth, self._newest = depth, newest
        self._closed = self._finished = False
        self._changed = Condition()

    def put(self, item: T) -> bool:
        """Adds an item when there is room; False: nobody wants more."""
        with self._changed:
            if self._newest and len(self._items) >= self._depth:
                self._items.popleft()
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._finished, self.error = True, error
            self._changed.notify_all()

    def wait(self) -> bool:
        """Waits for an item; False: there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._finished)
            return bool(self._items)

    def take(self) -> T:
        with self._changed:
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def _fill(shelf: _Shelf[T], items: Iterable[T]) -> None:
    error: BaseException | None = None
    try:
        source = iter(items)
        try:
            while True:
                item = next(source, _END)
                if item is _END or not shelf.put(item):  # type: ignore[arg-type]
                    break
                del item  # or it would live until the next is made
        finally:
            if isinstance(source, Generator):
                source.close()
    except BaseException as caught:  # noqa: BLE001 - whatever it is, the consumer is told
        error = caught
    shelf.finish(error)


_END = object()
