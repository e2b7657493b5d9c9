"""Feeds in this process: the native core knows numbers, this room knows names and holds the lock.

    Feed.push                                     another thread
    1 lock: number the item, put it in the outbox, let what is too old go; where many are under way, help the oldest first
    2 lock: copy it to some followers             pages, follows, deletes come between, never in the middle of a step;
                                                  a page takes its own copy first of what is under way
    3 ... until all have it

The one rule: what is looked up by a number is looked up under the lock that the number was got under. A finalizer or a
signal handler that runs in the middle of a step, in its thread, must not come back here: it is told so, and does not wait
for itself.
"""

import os
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable
from itertools import starmap

from ..._core import FeedCore
from .rules import UNDER_WAY, Bounds, FeedItem, FeedStats, Name, Place, checked_name, checked_names, is_kept

OLD, NEW, TAKEN, FULL = range(4)  # what a push came to
AT_ONCE = 512  # followers that get a copy before others have their turn

_feeds: "weakref.WeakSet[LocalFeed]" = weakref.WeakSet()
_held: "list[LocalFeed]" = []
_making = threading.Lock()  # held while a feed joins the others, and while a process is split in two


def _before_fork() -> None:
    """No thread is in the middle of a step when this process is split in two."""
    _making.acquire()
    _held.extend(_feeds)
    for feed in _held:
        feed._lock.acquire()


def _after_fork() -> None:
    while _held:
        _held.pop()._lock.release()
    _making.release()


def _in_child() -> None:
    """The threads that delivered are not here."""
    for feed in _held:
        feed._is_left = True
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


class Names:
    """Names and their numbers, from 0 in the order in which they came."""

    __slots__ = ("names", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[Name, int] = {}
        self.names: list[Name] = []

    def number(self, name: Name) -> int:
        number = self.numbers.get(name)
        if number is None:
            self.names.append(name)  # an interrupt after it wastes a number
            number = self.numbers[name] = len(self.names) - 1
        return number


class LocalFeed:
    """The verbs of Feed, whose arguments were checked. Safe in threads."""

    def __init__(self, bounds: Bounds, numbered: bool) -> None:
        self._core = FeedCore(bounds.length, bounds.outbox)
        self._threshold = bounds.threshold
        self._lock = threading.RLock()
        self._is_inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._at_once = AT_ONCE
        self._authors = None if numbered else Names()
        self._readers = None if numbered else Names()
        self._numbers: dict[Name, int] = {}  # of the items that are there
        self._items: list[Name | None] = []  # by number
        self._delivering: dict[int, int] = {}  # item: author, slot to go on from
        self._is_left = False  # whether some of those are perhaps delivered by nobody: an exception met their thread
        with _making:
            _feeds.add(self)

    def _alone(self) -> None:
        if self._is_inside():
            raise RuntimeError("a finalizer or signal handler used a feed in the middle of one of the feed's own steps")

    # ---------------------------------------------------------------- numbers, under the lock

    def _author(self, name: Name) -> int:
        number = name if self._authors is None else self._authors.number(name)
        assert type(number) is int
        if number >= self._core.authors:
            self._core.grow(number + 1, 0)
        return number

    def _reader(self, name: Name) -> int:
        number = name if self._readers is None else self._readers.number(name)
        assert type(number) is int
        if number >= self._core.readers:
            self._core.grow(0, number + 1)
        return number

    def _known(self, names: Names | None, name: Name, most: int) -> int:
        """The number of somebody, -1 where nothing is known of them yet."""
        number = name if names is None else names.numbers.get(name, -1)
        assert type(number) is int
        return number if number < most else -1

    # ---------------------------------------------------------------- verbs

    def push(self, author: Name, item: Name, score: float) -> bool:
        self._alone()
        done = FULL
        try:
            while done == FULL:
                with self._lock:
                    self._finish()
                    done = self._post(author, item, score)
                    number = self._numbers.get(item, -1) if done == NEW else -1
                    if done == FULL:
                        self._step(next(iter(self._delivering)))  # the oldest
            while number in self._delivering:
                with self._lock:
                    self._step(number)
        except MemoryError:
            self._is_left = True
            if done != NEW:
                raise
        except BaseException:  # an interrupt: somebody else goes on
            self._is_left = True
            raise
        if done == TAKEN:
            raise ValueError(f"item {item!r} is of another author")
        return done == NEW

    def _post(self, author: Name, item: Name, score: float) -> int:
        """Begin to push an item."""
        core = self._core
        whose, old = self._author(author), self._numbers.get(item)
        if old is not None:
            if core.author_of(old) != whose:
                return TAKEN
            if core.score_of(old) == score:
                return OLD
        kept = is_kept(self._threshold, core.followers(whose), core.lately_posted(whose), core.lately_viewed(whose),
                       core.was_kept(whose))
        if len(self._delivering) >= UNDER_WAY and not kept and core.followers(whose) > self._at_once:
            return FULL
        stays = core.post(whose, score, kept, item, self._numbers, self._items, self._delivering, self._at_once)
        return NEW if stays else OLD

    def _step(self, number: int) -> bool:
        """Deliver some more of an item; whether there is more."""
        return self._core.step(number, self._delivering, self._at_once)

    def _finish(self) -> None:
        """Deliver what was left over by somebody who was interrupted."""
        if self._is_left:
            for number in list(self._delivering):
                while self._step(number):
                    pass
            self._is_left = False

    def page(self, reader: Name, place: Place, limit: int) -> tuple[list[FeedItem], Place]:
        self._alone()
        items: list[Name] = [0] * limit
        authors: list[Name] = [0] * limit
        scores = [0.0] * limit
        whose = None if self._authors is None else self._authors.names
        with self._lock:
            if self._is_left:
                self._finish()
            number = self._known(self._readers, reader, self._core.readers)
            if number < 0:
                return [], place
            count = self._core.page(number, place.score, place.order, limit, self._delivering, self._items, whose, items,
                                    authors, scores)
            order = self._core.order
        if count < limit:
            del items[count:], authors[count:], scores[count:]
        found = list(starmap(FeedItem, zip(items, authors, scores, strict=True)))
        return found, Place(scores[-1], order) if found else place

    def follow(self, reader: Name, author: Name) -> bool:
        self._alone()
        with self._lock:
            self._finish()
            return self._core.follow(self._reader(reader), self._author(author))

    def follow_many(self, author: Name, readers: Iterable[Name]) -> int:
        """How many are new. A buffer of uint32 is taken as it is where people are numbers."""
        self._alone()
        if self._readers is None and isinstance(readers, array) and readers.typecode == "I":
            with self._lock:
                if len(readers):
                    self._reader(max(readers))
                whose, new = self._author(author), 0
            for at in range(0, len(readers), self._at_once):
                with self._lock:
                    new += self._core.follow_all(readers[at:at + self._at_once], whose)
            return new
        return sum(self.follow(reader, author) for reader in checked_names(readers, "readers"))

    def unfollow(self, reader: Name, author: Name) -> bool:
        self._alone()
        with self._lock:
            self._finish()
            number = self._known(self._readers, reader, self._core.readers)
            whose = self._known(self._authors, author, self._core.authors)
            return number >= 0 and whose >= 0 and self._core.unfollow(number, whose)

    def delete(self, item: Name) -> bool:
        self._alone()
        with self._lock:
            return self._core.drop(item, self._numbers, self._items, self._delivering)

    def rebuild(self, reader: Name) -> None:
        self._alone()
        with self._lock:
            number = self._known(self._readers, reader, self._core.readers)
            if number >= 0:
                self._core.rebuild(number)

    def recover(self) -> int:
        self._alone()
        with self._lock:
            count = len(self._delivering) if self._is_left else 0
            self._finish()
            return count

    def followers(self, author: Name) -> int:
        self._alone()
        with self._lock:
            number = self._known(self._authors, author, self._core.authors)
            return self._core.followers(number) if number >= 0 else 0

    def follows(self, reader: Name, author: Name) -> bool:
        self._alone()
        with self._lock:
            number = self._known(self._readers, reader, self._core.readers)
            whose = self._known(self._authors, author, self._core.authors)
            return number >= 0 and whose >= 0 and self._core.follows(number, whose)

    def stats(self) -> FeedStats:
        self._alone()
        core = self._core
        with self._lock:
            return FeedStats(core.authors, core.readers, len(self._numbers), core.delivered, core.rebuilt,
                             len(self._delivering), core.memory())

    def check(self) -> bool:
        """Validate the whole structure. For tests."""
        with self._lock:
            return self._core.check(bool(self._delivering))


def checked_number(name: Name, what: str) -> Name:
    """A number that stands for somebody by itself."""
    if type(name) is not int:
        raise TypeError(f"{what} must be an int in a numbered feed, not {name!r}")
    if not 0 <= name < 2**32 - 64:
        raise ValueError(f"{what} must be an int from 0 to 2**32 - 65 in a numbered feed, not {name}")
    return checked_name(name, what)
