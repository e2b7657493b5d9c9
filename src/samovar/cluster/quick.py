"""The quick way to a hit: the owner of a key is asked once, and then the clock.

Most reads of the shared tier meet nothing to decide: no node is in trouble, no copies are read, and what comes is a plain
envelope, of this epoch, fresh, without tags. Those are answered here, without the steps of the protocol (cluster/cell.py),
which cost more than the answer does. Decided once, driven twice:

    asking = quick.asks(key)                            None: ask the protocol
    replies = node.perform(request)                     or `await node.aperform(request)`
    value, told = quick.told(asking, replies)           MISSING: the protocol goes on with what the node said, and
    steps = cell.get(store, asked, told)                nothing is asked twice

A node whose `read` is another than the one that its `asks` goes with, because a subclass wraps it, is asked by `read`.

The one rule: a value from here is what `cell.get` answers to the same replies. Whatever has more to say about it than the
envelope and the clock is handed on.
"""

from collections.abc import Hashable
from typing import Any, TypeAlias

from .._base.missing import MISSING
from .node import Answer, goes_with_read
from .prober import Prober
from .store import Store

Asking: TypeAlias = tuple[str, str, Any, Any]  # what the key is called, the node's name, the node, and its request
Told: TypeAlias = tuple[str, Answer]  # the name of the node that was asked, and what it said
NOT_ASKED: tuple[Any, None] = (MISSING, None)


class Quick:
    """store: the tier, and how values travel over it. prober: who looks after the nodes: he must be there first."""

    __slots__ = ("_nodes", "_prober", "_store", "_tier")

    def __init__(self, store: Store, prober: Prober) -> None:
        self._store, self._tier, self._prober = store, store.tier, prober
        self._nodes = {name: node for name, node in store.tier.nodes.items() if goes_with_read(node, "asks")}

    def asks(self, key: Hashable) -> Asking | None:
        """What is to be asked about a key; None when there is more to it. Raises TypeError for what is no key."""
        tier = self._tier
        if self._prober.is_cold or not tier.is_quiet or self._store.look is not None:
            return None
        wire = tier.wire(key)
        name = tier.owner(wire)
        node = self._nodes.get(name)
        request = None if node is None else node.asks(wire)
        return None if request is None else (wire, name, node, request)

    def told(self, asking: Asking, replies: Any) -> tuple[Any, Told | None]:
        """The value, which is counted; or MISSING, and what the node said."""
        wire, name, node, _ = asking
        body = node.body_in(replies)
        if body is not None:
            store, tier = self._store, self._tier
            value = store.plain(wire, body, tier.epoch(name), tier.wall())  # of now, when the answer is there
            if value is not MISSING:
                store.counts.add("hits")
                return value, None
        return MISSING, (name, node.said(replies))
