"""Every interleaving of a copy that is made of a hot key with a change elsewhere, over the real code, one request to a node
as a step; and the variants that are known to be wrong, which must be caught."""

import pytest

from samovar.cluster import Cluster, HotKeys, LocalNode, changes, hot
from samovar.cluster.node import OK
from samovar.cluster.requests import NODE
from test_near_fills import Stage, Stepped

HOW = HotKeys(replicas=2)


class World:
    def __init__(self, stage, verb, batch):
        self.stage, self.verb, self.batch = stage, verb, batch
        nodes = [LocalNode("a"), LocalNode("b")]
        owner = Cluster(nodes, vnodes=4).node_of("hot")
        nodes.sort(key=lambda node: node.name == owner)  # the owner is told last where nodes are told in turn
        self.reader, self.writer = (Cluster(nodes, hot=HOW, vnodes=4, bus=False) for _ in range(2))
        for cluster in (self.reader, self.writer):
            cluster._prober._live = lambda *args: None
            cluster.get("warm")
            cluster._driver.__class__ = Stepped
        self.writer.set("hot", 1, tags=["tag"] if verb == "tags" else ())
        self.reader._spread.heat.read = lambda wire: True
        self.reader._tier.chance = lambda: 0.9  # the copy's node
        self.reader._driver.stage = self.writer._driver.stage = stage

    def read(self):
        self.stage.step()
        self.reader.get_many(["hot"]) if self.batch else self.reader.get("hot")

    def change(self):
        self.stage.step()
        {"delete": lambda: self.writer.delete("hot"), "set": lambda: self.writer.set("hot", 2), "clear": self.writer.clear,
         "tags": lambda: self.writer.invalidate_tags("tag")}[self.verb]()

    def check(self):
        self.reader._driver.stage = None
        for name, epoch in self.writer._tier.epochs().items():
            self.reader._tier.hear(name, *epoch)
        for chance in (0.9, 0.0, 0.9):
            self.reader._tier.chance = lambda chance=chance: chance
            found = self.reader.get("hot")
            assert found == (2 if self.verb == "set" else None), f"a reader gets {found}"


def explore(verb, batch=False):
    """Play every schedule; how many there were."""
    choices, played = [], 0
    while True:
        stage = Stage(choices)
        world = World(stage, verb, batch)
        stage.actor("reader", world.read)
        stage.actor("writer", world.change)
        stage.play()
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"{error}: schedule {[at for at, _ in stage.made]}") from None
        played += 1
        made = stage.made
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return played
        choices = [at for at, _ in made[:-1]] + [made[-1][0] + 1]


@pytest.mark.parametrize("verb, batch", [("delete", False), ("set", False), ("tags", False), ("clear", False),
                                         ("delete", True), pytest.param("tags", True, marks=pytest.mark.slow)])
def test_copy_of_what_was_changed_is_read_by_nobody_in_any_interleaving(verb, batch):
    assert explore(verb, batch) >= 100


def test_copies_told_before_their_owner_are_caught(monkeypatch):
    real = changes._delete

    def reversed_order(store, items, which):
        return real(store, items, slice(1, None) if which == slice(1) else slice(1))

    monkeypatch.setattr(changes, "_delete", reversed_order)
    with pytest.raises(AssertionError, match="a reader gets 1"):
        explore("delete")


def test_copy_without_a_lease_is_caught(monkeypatch):
    def fill(self, store, asked, node, token, owner, epoch):
        body, ttl_ms = store.copy(asked, owner.entry, owner.age_s, 10, epoch)
        answer = yield NODE, (node, "put", (asked.wire, body, ttl_ms))
        return answer[0] is OK

    monkeypatch.setattr(hot.Spread, "_fill", fill)
    with pytest.raises(AssertionError, match="a reader gets 1"):
        explore("delete")


def test_clear_that_moves_each_epoch_once_is_caught(monkeypatch):
    real, calls = changes._new_epochs, []

    def once(store):
        calls.append(store)
        if len(calls) % 2:
            yield from real(store)

    monkeypatch.setattr(changes, "_new_epochs", once)
    with pytest.raises(AssertionError, match="a reader gets 1"):
        explore("clear")
