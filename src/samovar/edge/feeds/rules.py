"""What a feed decides and what its words mean, without any storage: the entries of a page, cursors, whose items are copied.

An item's place in every feed is its score and, of equal scores, the order in which they were pushed. A cursor is such a
place: what comes after it is the same whatever arrives before it.

The one rule: whether an author's *next* item is copied to followers or kept for them to fetch may be decided freely each
time, for no item ever changes from one to the other.
"""

import base64
import binascii
import math
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

Name: TypeAlias = str | int

LENGTH, OUTBOX, THRESHOLD, LIMIT = 400, 1000, 10_000, 50
MOST_LIMIT = 10_000
UNDER_WAY = 16  # pushes in several steps, at once: each page looks at all of them
FEWEST, MOST = 64, 50_000  # followers: with fewer items are always copied, with more they never are (when heat decides)
EVIDENCE = 4  # posts, before heat is believed
WASTED, SEEN = 20, 5  # copies for each view: above the first they are not worth making, below the second they are again
_CURSOR = struct.Struct(">dQ")


class FeedItem(NamedTuple):
    """One entry of a feed. score: as a float."""

    item: Name
    author: Name
    score: float


class FeedPage(NamedTuple):
    """Items in order, and the cursor that the next page goes on from; None at the end."""

    items: list[FeedItem]
    cursor: str | None


class FeedStats(NamedTuple):
    """What a feed holds and did. delivered: copies made; rebuilt: timelines made anew, here or by this object; pending:
    items whose copies are still being made; bytes: of memory in process, without names; -1 on Redis."""

    authors: int
    readers: int
    items: int
    delivered: int
    rebuilt: int
    pending: int
    bytes: int


Rank: TypeAlias = Callable[[FeedItem, float], Any]


class Place(NamedTuple):
    """A place in a feed; what is read next is below it."""

    score: float
    order: int


TOP = Place(math.inf, 0)


def written(place: Place) -> str:
    """The cursor that says a place: 22 letters that a URL may hold.

    >>> from samovar.edge.feeds.rules import Place, read, written
    >>> read(written(Place(1.5, 7)))
    Place(score=1.5, order=7)
    """
    return base64.urlsafe_b64encode(_CURSOR.pack(*place)).rstrip(b"=").decode()


def read(cursor: str | None) -> Place:
    """The place that a cursor says; the top for None. Raises TypeError or ValueError for what is no cursor."""
    if cursor is None:
        return TOP
    if type(cursor) is not str:
        raise TypeError(f"cursor must be what a page gave, or None, not {type(cursor).__name__}")
    try:
        place = Place(*_CURSOR.unpack(base64.b64decode(f"{cursor}==", b"-_", validate=True)))
    except (binascii.Error, struct.error, ValueError):
        place = Place(math.nan, 0)
    if not math.isfinite(place.score):
        raise ValueError(f"cursor must be what a page gave, not {cursor[:40]!r}")
    return place


def is_kept(threshold: int | None, followers: int, posts: int, views: int, was_kept: bool) -> bool:
    """Whether an author's next item is kept for followers to fetch, not copied to them.

    threshold: with more followers it is kept; who was above comes back at three quarters. None: heat decides, after
        Silberstein, Terrace, Cooper and Ramakrishnan, "Feeding frenzy: selectively materializing users' event feeds"
        (SIGMOD 2010): copies are worth making while they are looked at.
    posts, views: of the author, and of the author's items on pages, lately.
    """
    if threshold is not None:
        return followers > (threshold * 3 // 4 if was_kept else threshold)
    if followers <= FEWEST:
        return False
    if followers > (MOST * 3 // 4 if was_kept else MOST):
        return True
    if posts < EVIDENCE:
        return followers > (THRESHOLD * 3 // 4 if was_kept else THRESHOLD)
    return posts * followers > (SEEN if was_kept else WASTED) * views


# ------------------------------------------------------------------ what is given

def checked_name(name: Name, what: str) -> Name:
    """A str that UTF-8 can say, or an int of 64 bits."""
    if type(name) is str:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} must be text that UTF-8 can say, not {name!r}") from None
    elif type(name) is not int:
        raise TypeError(f"{what} must be a str or an int, not {name!r}")
    elif not -(2**63) <= name < 2**64:
        raise ValueError(f"{what} must be an int from -2**63 to 2**64 - 1, not {name}")
    return name


def checked_score(score: float) -> float:
    """The score as a float that is equal to it."""
    if type(score) is not float and (isinstance(score, bool) or not isinstance(score, int | float)):
        raise TypeError(f"score must be a number, not {score!r}")
    try:
        number = float(score)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"score must be finite, not {score!r}")
    if number != score:
        raise ValueError(f"score must be an int that a float can say, as all up to 2**53 are, not {score!r}")
    return number + 0.0  # -0.0 becomes 0.0


def checked_limit(limit: int) -> int:
    return _whole(limit, "limit", 1, MOST_LIMIT)


def _whole(number: int, what: str, least: int, most: int) -> int:
    if type(number) is not int:
        raise TypeError(f"{what} must be an int, not {number!r}")
    if not least <= number <= most:
        raise ValueError(f"{what} must be from {least} to {most}, not {number}")
    return number


class Bounds(NamedTuple):
    """How long timelines and outboxes are, and the threshold; None: heat decides."""

    length: int
    outbox: int
    threshold: int | None


def checked_bounds(length: int, outbox: int | None, threshold: int | str) -> Bounds:
    _whole(length, "Feed: length", 1, 100_000)
    outbox = max(OUTBOX, length) if outbox is None else _whole(outbox, "Feed: outbox", length, 1_000_000)
    if threshold == "heat":
        return Bounds(length, outbox, None)
    if isinstance(threshold, str):
        raise ValueError(f"Feed: threshold must be a number of followers or 'heat', not {threshold!r}")
    return Bounds(length, outbox, _whole(threshold, "Feed: threshold", 0, 2**32 - 2))


def ranked(items: list[FeedItem], rank: Rank | None, now: float) -> list[FeedItem]:
    """The items of one page in the order of their rank, the highest first; equal ones stay in the feed's order."""
    return items if rank is None else sorted(items, key=lambda entry: rank(entry, now), reverse=True)


def checked_names(names: Iterable[Name], what: str) -> list[Name]:
    if isinstance(names, str | bytes):
        raise TypeError(f"{what} must be several names, not one {type(names).__name__}")
    return [checked_name(name, what) for name in names]
