"""The contract of a node: what a cluster may ask of an engine, and what every engine promises.

A node keeps *cells*, at most one for each key:

    value   a body, until its ttl is over                         read as HIT
    lease   somebody loads the value; ends by itself              read as LEASED
    fence   somebody is changing the original; lists its owners   read as FENCED (or as MISS, see `read`)

Each cell has a *token* that names this cell and no other, ever: whoever fills compares it. That is the whole protocol:
an invalidation removes or replaces the cell, so a load that began before it finds another cell, or none, and is LOST.

A verb is a generator ("decide once, drive twice"): it yields `(node, request)` where the engine must be asked, is told
the replies, and returns an Answer. cluster/drive.py performs the requests, blocking or in asyncio; verbs of several
nodes compose with `yield from`. A request is the node's own affair.

The caller guarantees: keys, tags and namespaces are printable ASCII without spaces or "|", 1 to 200 bytes (what
`codec.KeyMaker` makes); bodies are bytes; milliseconds are whole and more than 0. What breaks this raises TypeError or
ValueError, and asks nothing.

The node must: never raise for a fault of the engine, but answer `(UNAVAILABLE, Fault)`; answer within its timeout for
each round trip; say OK to a change only after the engine said so (an UNAVAILABLE change may have happened, or may happen
a little later); serve no cell past its ttl; carry bodies as they are.

The one rule: the decision whether a cell may be replaced is taken by the engine, in one step, and never by a client that
read first.
"""

import enum
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

_T = TypeVar("_T")
Steps: TypeAlias = Generator[tuple["Node", Any], Any, _T]
Token: TypeAlias = Any  # opaque: it is compared and handed back, to the node that gave it

TOO_MANY = b""  # stands in a list of notes for those that it could not hold
OWNER = 16  # bytes of a writer's name
TAG_TTL_MS = 30 * 86_400_000  # a counter that nobody bumped or asked for goes; its successor starts elsewhere
LONGEST_MS = 30 * 86_400_000  # no lifetime is longer: memcached reads larger numbers as dates
_KEY = re.compile(r"[!-{}~]{1,200}")  # printable, without space and "|"


class Status(enum.IntEnum):
    """How a verb ended, or what a cell is."""

    OK = 0
    MISS = 1  # there is no cell
    HIT = 2  # there is a value
    LEASED = 3  # somebody loads, or renews
    YOURS = 4  # the caller loads, or renews
    FENCED = 5  # a writer is at work: load, but store nothing
    LOST = 6  # the cell is no longer the one that the token names
    TOOBIG = 7  # the engine takes no body of this size; nothing is stored under the key
    UNAVAILABLE = 8  # the engine did not answer, or did not do it


OK, MISS, HIT, LEASED, YOURS, FENCED, LOST, TOOBIG, UNAVAILABLE = Status

Answer: TypeAlias = tuple[Status, Any]


class Found(NamedTuple):
    """What a key's cell is: `kind` HIT, MISS, LEASED, FENCED, or UNAVAILABLE for this key alone (an engine that is itself
    many machines). `token` names the cell; `body` is a HIT's, the Fault of what is UNAVAILABLE."""

    kind: Status
    token: Token = None
    body: Any = None


NOTHING = Found(MISS)


class Fault(NamedTuple):
    """Why an engine did not answer, or refused. `text` is for people and holds no password.

    reason   what happened                                                      what it says about the node
    refused  nobody listens                                                     down
    reset    the connection broke                                               down
    timeout  no answer in time                                                  slow, or gone
    auth     the password or the rights are wrong                               down, until somebody acts
    loading  the engine reads its data back in, or looks for its master         down for now
    full     out of memory                                                      reads well, takes nothing
    readonly a replica, or a master that must not write                         reads well, takes nothing
    protocol what came is no answer                                             down
    restarted another run of the engine is there than the one that was known      down, until `epoch` is asked anew
    closed   this node object was closed                                        gone
    """

    reason: str
    text: str = ""

    @property
    def is_slow(self) -> bool:
        """Whether it is about time: an answer may still come."""
        return self.reason == "timeout"

    @property
    def may_have_happened(self) -> bool:
        """Whether the engine may have done what it was asked, or may do it yet."""
        return self.reason in ("timeout", "reset", "protocol")

    @property
    def refuses_writes(self) -> bool:
        """Whether the engine answers, and only takes nothing."""
        return self.reason in ("full", "readonly")


class Capabilities(NamedTuple):
    """What an engine can: `push` tells subscribers, `ms_ttl` keeps time in milliseconds (seconds otherwise: lifetimes are
    rounded up), `max_value` bytes that a body may have (None: no word about it), `fence_seen` reads a fence as FENCED."""

    push: bool
    ms_ttl: bool
    max_value: int | None
    fence_seen: bool


def new_owner() -> bytes:
    """A name for one writer's begin_write and end_write, unlike any other."""
    return os.urandom(OWNER)


def random_step() -> int:
    """How far an epoch moves."""
    return 1 + int.from_bytes(os.urandom(5), "little")


def random_start() -> int:
    """Where a counter begins: at random, so that a counter which was lost never comes back to a value that it had. Below
    2**62, so that it can be counted up in 64 bits for ever."""
    return int.from_bytes(os.urandom(8), "little") >> 2


class Pending(Protocol):
    """Requests that are under way. Either of its verbs must be called, once."""

    def finish(self) -> list[Any]:
        """Wait: for each request its replies, or a Fault."""

    def drop(self) -> None:
        """Nobody waits for them any more."""


class Node(ABC):
    """One engine that a cluster keeps cells on.

    name: what the ring places it by; stable over restarts and the same in every process, without passwords.
    """

    name: str
    capabilities: Capabilities

    @property
    def blocks(self) -> bool:
        """Whether a thread can ask it, and not only a task."""
        return True

    def for_threads(self) -> "Node | None":
        """This node, or one to the same engine, for threads to ask; None when there is none. Who gets another closes it."""
        return self if self.blocks else None

    # ---------------------------------------------------------------- reading

    @abstractmethod
    def read(self, keys: Sequence[str]) -> Steps[Answer]:
        """(OK, [Found, one for each key]), in one round trip. A node without `fence_seen` says MISS for a fenced key;
        its `lease` says FENCED."""

    def asks(self, key: str) -> Any:
        """The request that reads this key, for who performs it without `read`; None where that is not to be had. The caller
        guarantees that it is a key: nothing is checked. A subclass that wraps `read` alone is asked by `read`; one that
        wraps `asks`, too, is asked by it."""
        return None

    def body_in(self, replies: Any) -> bytes | None:
        """The body, where a value is what the replies to this request hold; None for all else: ask `said`."""
        return None

    def said(self, replies: Any) -> Answer:
        """What `read` answers to these replies."""
        raise NotImplementedError(f"{type(self).__name__} is asked by its verbs")

    def gather(self, keys: Sequence[str]) -> Steps[Answer]:
        """`read` in the engine's own words, for `bodies_in` and `said` to tell: (OK, [reply, one for each key]). Whoever has
        no words of his own is asked by `read`, and so is a subclass that wraps `read` alone. Nothing is checked."""
        raise NotImplementedError(f"{type(self).__name__} is asked by its verbs")

    def bodies_in(self, replies: list[Any]) -> tuple[list[Any], bytes, int]:
        """Where the body of each of these lies, if it is a value: in bytes that begin so, behind so many."""
        raise NotImplementedError(f"{type(self).__name__} is asked by its verbs")

    # ---------------------------------------------------------------- loading

    @abstractmethod
    def lease_many(self, keys: Sequence[str], ms: int) -> Steps[Answer]:
        """(OK, [answer, one for each key]): the right to load what is not there, for `ms`, to one caller alone:
        (YOURS, token), (HIT, Found), (LEASED, None), (FENCED, None), (UNAVAILABLE, Fault). One round trip."""

    @abstractmethod
    def fill_many(self, items: Sequence[tuple[str, Token, bytes, int]]) -> Steps[Answer]:
        """(OK, [answer, one for each item]): store (key, token, body, ttl_ms) where the cell still is the one that the
        token names, a lease or a value: (OK, None), (LOST, None), (TOOBIG, None), (UNAVAILABLE, Fault). One round
        trip."""

    @abstractmethod
    def claim(self, key: str, token: Token, ms: int) -> Steps[Answer]:
        """The right to renew the value that the token names, for `ms`, to one caller alone; readers go on reading it:
        (YOURS, token to fill with), (LEASED, None) when another has it, (LOST, None) when the value is another by
        now."""

    @abstractmethod
    def release(self, key: str, token: Token) -> Steps[Answer]:
        """Give up a lease (its cell goes) or a claim (its value stays): (OK, None), or (LOST, None) when it was over."""

    def lease(self, key: str, ms: int) -> Steps[Answer]:
        """`lease_many` for one key: its answer."""
        status, answers = yield from self.lease_many((key,), ms)
        return (status, answers) if status is UNAVAILABLE else answers[0]

    def fill(self, key: str, token: Token, body: bytes, ttl_ms: int) -> Steps[Answer]:
        """`fill_many` for one item: its answer."""
        status, answers = yield from self.fill_many(((key, token, body, ttl_ms),))
        return (status, answers) if status is UNAVAILABLE else answers[0]

    # ---------------------------------------------------------------- changing

    @abstractmethod
    def put_many(self, items: Sequence[tuple[str, bytes, int]]) -> Steps[Answer]:
        """(OK, [answer, one for each item]): store (key, body, ttl_ms) whatever value or lease is there; loads under way
        are LOST: (OK, None), (TOOBIG, None), (UNAVAILABLE, Fault), or (FENCED, None): nothing stored, a writer is at
        work. One round trip (another where a fence was met)."""

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> Steps[Answer]:
        """(OK, how many values and leases were there). Fences stay: they hold no value, and end with their owners. One
        round trip."""

    @abstractmethod
    def touch(self, key: str, ttl_ms: int) -> Steps[Answer]:
        """Give a value `ttl_ms` from now: (OK, None), or (MISS, None) when there is none."""

    def put(self, key: str, body: bytes, ttl_ms: int) -> Steps[Answer]:
        """`put_many` for one item: its answer."""
        status, answers = yield from self.put_many(((key, body, ttl_ms),))
        return (status, answers) if status is UNAVAILABLE else answers[0]

    # ---------------------------------------------------------------- fences

    @abstractmethod
    def begin_write(self, keys: Sequence[str], owner: bytes, hold_ms: int) -> Steps[Answer]:
        """Fence keys before the original is changed: values and leases go, and nothing is stored until each owner has
        ended, or its `hold_ms` is over: (OK, None). owner: 16 bytes (`new_owner`)."""

    @abstractmethod
    def end_write(self, keys: Sequence[str], owner: bytes) -> Steps[Answer]:
        """End this owner's fence; others' stay. A value or lease that is there all the same (the fence was evicted) goes:
        (OK, None)."""

    # ---------------------------------------------------------------- counters

    @abstractmethod
    def versions(self, tags: Sequence[str]) -> Steps[Answer]:
        """(OK, [int, one for each tag]). One that is not there begins at a random number. One round trip where all are
        there."""

    def bump(self, tags: Sequence[str]) -> Steps[Answer]:
        """Move each counter to a number that it never had: (OK, [int, one for each tag])."""
        check_keys(tags)
        return self._bump(tags, 1)

    @abstractmethod
    def _bump(self, counters: Sequence[str], step: int) -> Steps[Answer]:
        """`bump`, for epochs too: each by `step`, 1 or more."""

    @abstractmethod
    def epoch(self, namespace: str, anew: bool = False) -> Steps[Answer]:
        """(OK, (epoch, run)): the namespace's counter, and the name of this run of the engine: another one says that it
        was started again, with nothing or with what it held earlier. A node whose engine may come back with what it held
        answers (UNAVAILABLE, Fault "restarted") to everything from then on, until it is asked `anew`."""

    def bump_epoch(self, namespace: str) -> Steps[Answer]:
        """Forget a whole namespace: (OK, its epoch now). By a step of chance: an engine that came back with what it held
        earlier would otherwise count to where it had been."""
        status, numbers = yield from self._bump((epoch_key(namespace),), random_step())
        return (status, numbers if status is UNAVAILABLE else numbers[0])

    # ---------------------------------------------------------------- notes

    @abstractmethod
    def note(self, name: str, items: Sequence[bytes], most: int, ttl_ms: int) -> Steps[Answer]:
        """Append items, each 1 to 255 bytes, to the list of this name, which ends `ttl_ms` after the last time: (OK,
        None). A list of more than `most`, or of more than the engine keeps under a name, is TOO_MANY and what comes
        later."""

    @abstractmethod
    def noted(self, name: str) -> Steps[Answer]:
        """(OK, [items in the order in which they were noted]); none when there is no list. What no node wrote there
        reads as TOO_MANY."""

    # ---------------------------------------------------------------- the engine itself

    @abstractmethod
    def probe(self) -> Steps[Answer]:
        """(OK, whether it takes writes) when it answers; (UNAVAILABLE, Fault) when not."""

    def publish(self, channel: str, payload: bytes) -> Steps[Answer]:
        """Tell subscribers: (OK, how many there were, as far as the engine says). Only with `push`."""
        raise NotImplementedError(f"{type(self).__name__} cannot push: see capabilities.push")

    def subscribe(self, channels: Iterable[str]) -> Any:
        """A Subscription to these channels, not yet open (cluster/redis.py). Only with `push`."""
        raise NotImplementedError(f"{type(self).__name__} cannot push: see capabilities.push")

    # ---------------------------------------------------------------- what the drivers call

    @abstractmethod
    def perform(self, request: Any) -> Any:
        """Ask the engine, blocking: the replies, or a Fault. Safe in threads, and after a fork."""

    def begin(self, requests: Sequence[Any]) -> Pending | None:
        """Send requests of several verbs, and do not wait: what has the replies of each, as `perform` would say them. None
        where the engine can only be asked by `perform`."""
        return None

    @abstractmethod
    async def aperform(self, request: Any) -> Any:
        """The same in asyncio, from any number of event loops."""

    def close(self) -> None:  # noqa: B027  # a node without connections has nothing to give up
        """Give up connections. The node must not be asked again."""

    async def aclose(self) -> None:
        """Give up the connections of this event loop, and the blocking ones."""
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


# ------------------------------------------------------------------ what the caller guarantees, checked

def epoch_key(namespace: str) -> str:
    """Where a namespace's epoch is counted. No key of the caller's can be the same: they hold no "|"."""
    check_key(namespace)
    return f"{namespace}|epoch"


def is_plain(text: str) -> bool:
    """Whether this is printable ASCII without space and "|"."""
    return text.isascii() and text.isprintable() and " " not in text and "|" not in text


def check_key(key: str) -> None:
    """TypeError or ValueError for what is no key."""
    if type(key) is not str:
        raise TypeError(f"a node's key must be str, not {key!r}")
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"a node's key must be 1 to 200 printable ASCII characters without space and '|', not {key[:250]!r}")


def goes_with_read(node: Node, name: str) -> bool:
    """Whether a node's `asks` or `gather` knows its `read`: nobody further down wraps that alone, to trace it perhaps."""
    for names in (vars(node), *map(vars, type(node).__mro__)):
        if name in names:
            return True
        if "read" in names:
            return False
    return False


def check_keys(keys: Sequence[str]) -> None:
    """The same for many."""
    if set(map(type, keys)) == {str}:
        lengths = set(map(len, keys))
        if 0 < min(lengths) and max(lengths) <= 200 and is_plain("".join(keys)):
            return
    for key in keys:
        check_key(key)


def check_body(body: bytes) -> None:
    """TypeError for what is no body."""
    if type(body) is not bytes:
        raise TypeError(f"a body must be bytes, not {type(body).__name__}")


def check_ms(ms: int, name: str) -> None:
    """TypeError or ValueError for what is no number of milliseconds."""
    if type(ms) is not int:
        raise TypeError(f"{name} must be a whole number of milliseconds, not {ms!r}")
    if ms < 1:
        raise ValueError(f"{name} must be at least 1 ms, not {ms!r}")


def check_owner(owner: bytes) -> None:
    """TypeError or ValueError for what names no writer."""
    if type(owner) is not bytes:
        raise TypeError(f"owner must be bytes, not {owner!r}")
    if len(owner) != OWNER:
        raise ValueError(f"owner must be {OWNER} bytes, not {len(owner)}")


def check_notes(items: Sequence[bytes]) -> None:
    """TypeError or ValueError for what cannot be noted."""
    for item in items:
        if type(item) is not bytes:
            raise TypeError(f"a note must be bytes, not {item!r}")
        if not 0 < len(item) < 256:
            raise ValueError(f"a note must be 1 to 255 bytes, not {len(item)}")
