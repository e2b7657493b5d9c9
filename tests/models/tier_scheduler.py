"""A scheduler that tries every order over the shared tier: actors of several processes play the real protocols of
cluster/, one verb of a node at a time.

Nodes are `LocalNode`s over plain dicts; they can be down, deaf (they do it, and nobody hears so), and lose a cell. A
process is a `Store` with a `Tier` of its own. An actor runs from one verb to the next; where it pauses it goes on when
something changed; when nobody can go on, time passes. States are not entered twice.

The oracle knows the database and which changes returned. A Broken is a promise not kept, with the schedule that leads
there.
"""

import itertools

from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING
from samovar.cluster import admission, local, node as contract
from samovar.cluster.asked import Asked
from samovar.cluster.codec import KeyMaker, Msgpack
from samovar.cluster.envelope import Sealer
from samovar.cluster.local import LocalNode
from samovar.cluster.node import HIT, OK, UNAVAILABLE, Capabilities, Fault
from samovar.cluster.requests import ALL, CALL, NODE, PAUSE, SPAWN
from samovar.cluster.store import Store
from samovar.cluster.tier import Tier

LEASE_S, TTL_S = 10.0, 60.0
CODEC, KEYS = Msgpack(), KeyMaker("n")


class Broken(AssertionError):
    """A promise that is not kept."""


class Dying:
    """A dict whose entries end, as LocalNode wants its stores."""

    def __init__(self, world):
        self.world, self.entries = world, {}

    def _now(self):
        return self.world.now

    def peek(self, key, default=None):
        found = self.entries.get(key)
        return default if found is None or found[1] <= self.world.now else found[0]

    get = peek

    def set(self, key, value, ttl):
        self.world.changes += 1
        self.entries[key] = value, self.world.now + ttl

    def delete(self, key):
        self.world.changes += 1
        return self.entries.pop(key, None) is not None


class Node(LocalNode):
    """A LocalNode that is cheap, and can be looked into."""

    def __init__(self, world, name):
        self.name, self.world = name, world
        self.capabilities = Capabilities(push=False, ms_ttl=True, max_value=1 << 20, fence_seen=True)
        self._most = 1 << 20
        self._cells, self._counters, self._notes = Dying(world), Dying(world), Dying(world)
        self._run, self._tokens, self._lock = f"run of {name}", itertools.count(1), world.lock
        self.is_down = self.is_deaf = False

    def ask(self, verb, args):
        """One verb, in one step."""
        if self.is_down:
            return UNAVAILABLE, Fault("refused")
        steps = getattr(self, verb)(*args)
        try:
            next(steps)
        except StopIteration as stop:
            return (UNAVAILABLE, Fault("reset")) if self.is_deaf else stop.value
        raise AssertionError("a LocalNode asks for nothing")

    def asks(self, key):
        return key  # whatever: the scheduler asks `read`, and its answer stands for the replies

    def body_in(self, answer):
        return answer[1][0].body if answer[0] is OK and answer[1][0].kind is HIT else None

    def said(self, answer):
        return answer

    def state(self):
        now = self.world.now
        cells = tuple((key, cell.kind, cell.token, plain(cell.body), cell.claimed, cell.owners and tuple(cell.owners.items()),
                       ends) for key, (cell, ends) in self._cells.entries.items() if ends > now)
        return self.is_down, self.is_deaf, self._run, cells, tuple(self._counters.entries.items()), tuple(
            (key, tuple(notes)) for key, (notes, _) in self._notes.entries.items())


def plain(thing):
    """What was told, without what differs from order to order and decides nothing: an envelope's cost, and its sum."""
    if type(thing) is bytes and len(thing) > 52:
        return thing[:5] + thing[9:33] + thing[41:]
    if isinstance(thing, list | tuple):
        return tuple(plain(one) for one in thing)
    return thing


class NoLock:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class Ring:
    """Keys lie on a, b, c; tags on b, c, a."""

    def __init__(self, names):
        self.names = names

    def get_node(self, wire):
        return self.get_nodes(wire, 1)[0]

    def get_nodes(self, wire, count):
        names = self.names if ":t" not in wire else (*self.names[1:], self.names[0])
        return list(names[:count])


class Process:
    """One process's view of the tier."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        tier = Tier(world.nodes, Ring(world.names), namespace="n", keys=KEYS, lease_s=LEASE_S,
                    now=lambda: world.now, wall=lambda: world.now, chance=lambda: 0.5)
        tier._lock = world.lock
        self.store = Store(tier, Sealer(CODEC, compress=False), None, world.stopwatch)
        self.store.counts.add = lambda *words: None
        self.admitted = {}  # node -> the step
        self.flights = {}
        admit = tier.admit

        def noted(node):
            told = admit(node)
            if told:
                self.admitted[node] = world.step
            return told

        tier.admit = noted
        for node, engine in world.nodes.items():  # as admission.start leaves it
            tier.learn(node, engine.ask("epoch", ("n",))[1][0], engine._run)
            engine.ask("put", (admission.run_wire(tier), engine._run.encode(), admission.RUN_MS))
            admit(node)
            tier._state[node].breaker._admitted = None  # long ago
        tier.recount()

    @property
    def tier(self):
        return self.store.tier

    def asked(self, key, maker=None, **words):
        wire = self.tier.wire(key)
        return Asked(key, wire, self.tier.owners(wire), words.pop("fresh", self.world.fresh), maker=maker, **words)

    def view(self):
        """What its actors see of the tier without asking."""
        tier = self.tier
        return tuple((tier.epoch(name), tier.is_up(name), tier.takes_writes(name)) for name in tier.nodes)

    def state(self):
        return tuple((state.breaker.down, state.breaker.full, state.breaker._slow, state.breaker._good, state.breaker._next,
                      state.epoch, state.run, tuple(state.missed.keys), tuple(state.missed.tags), state.missed.is_all,
                      frozenset(state.heard), tuple(state.left))
                     for state in self.tier._state.values()), tuple(self.admitted.items())


class Actor:
    def __init__(self, world, name, process, steps):
        self.world, self.name, self.process, self.steps = world, name, process, steps
        self.over = self.crashed = False
        self.told, self.stepped = 0, 0
        self.paused = None  # the world's changes when it paused
        self.is_servant = False  # nobody waits for its end

    def may_step(self):
        return not self.over and (self.paused is None or self.paused != self.world.changes)

    def hear(self, thing):
        self.told = hash((self.told, thing))


class Maker:
    """A factory that reads the database. `tags`: what it says of its result, as its context."""

    def __init__(self, key, tags=None):
        self.key, self.tags, self.wants_context = key, tags, tags is not None


class Change:
    """What returned: from now on nobody who asks may be answered with what is older than `version`."""

    def __init__(self, key, version, process, missed, step):
        self.key, self.version, self.process, self.missed, self.step = key, version, process, missed, step

    def binds(self, process):
        """Whether this process must know of it. What a node missed is known to whoever missed it, to whoever sees the node
        down, and to whoever took it in since; to all once it was told."""
        return all(process is self.process or not process.tier.is_up(node)
                   or process.admitted.get(node, -1) > self.step or self.process.admitted.get(node, -1) > self.step
                   for node in self.missed)


class World:
    names = ("a", "b", "c")
    fresh = Freshness(ttl=TTL_S)
    failing = None
    loses = False  # whether answers are lost: then a lease may end by itself alone

    def __init__(self):
        self.lock = NoLock()
        self.now, self.step, self.changes, self.ticks = 1000.0, 0, 0, 0
        self.versions = {"k": 1, "other": 1}
        self.changed = []
        self.actors = []
        self.loads = 0
        self.start = itertools.count(1_000_000, 1_000_000)
        local.random_start = lambda: next(self.start)
        contract.random_step = lambda: 7
        self.nodes = {name: Node(self, name) for name in self.names}
        self.answers = {}
        self.near = {}

    def stopwatch(self):
        self.ticks += 1
        return self.now + self.ticks * 1e-9

    # ---------------------------------------------------------------- actors

    def add(self, name, process, steps):
        actor = Actor(self, name, process, None)
        actor.steps = steps(actor)
        self.actors.append(actor)
        return actor

    def advance(self, actor):
        self.step += 1
        actor.stepped += 1
        actor.paused = None
        try:
            actor.paused = next(actor.steps)
        except StopIteration:
            actor.over = True

    def play(self, actor, steps):
        """Drive a protocol, giving way before each verb."""
        try:
            request, about = next(steps)
            while True:
                told = None
                if request == NODE:
                    told = yield from self.ask(actor, about)
                elif request == ALL:
                    told = []
                    for one in about:
                        told.append((yield from self.ask(actor, one)))
                elif request == PAUSE:
                    yield self.changes
                elif request == CALL:
                    try:
                        told = [(yield from self.call(actor, *about))]
                    except ZeroDivisionError as error:
                        request, about = steps.throw(error)
                        continue
                else:
                    assert request == SPAWN
                    job = about
                    self.add(f"{actor.name}.behind", actor.process, lambda new: self.play(new, job))
                    told = True
                request, about = steps.send(told)
        except StopIteration as stop:
            return stop.value

    def ask(self, actor, about):
        actor.hear((plain(about), self.now, actor.process.view(), self.mood()))  # what it goes by, and takes along
        yield
        node, verb, args = about
        told = self.nodes[node].ask(verb, args)
        actor.hear((node, verb, plain(told)))
        return told

    def mood(self):
        """What else an actor may go by: who came before whom."""
        return None

    def call(self, actor, maker, loads):
        """The factory: it reads the database, and takes its time to return."""
        self.loads += 1
        actor.hear((self.now, actor.process.view(), self.mood()))
        yield
        version = self.versions[maker.key]
        actor.hear(version)
        if self.failing is not None and isinstance(maker, self.failing):
            raise ZeroDivisionError
        if maker.tags is not None:
            loads[0].context.tags = maker.tags
        yield
        return version

    def at_once(self, process, steps):
        """Before anybody acts."""
        actor = Actor(self, "before", process, None)
        for _ in self.play(actor, steps):
            pass

    def wire(self, key):
        return KEYS(key)

    # ---------------------------------------------------------------- what actors do

    def floor(self, process, key):
        return max([0, *(one.version for one in self.changed if one.key == key and one.binds(process))])

    def asks(self, name, process, steps, key="k", times=1):
        """An actor whose question is answered with a version, or MISSING. steps: made when it asks."""
        def work(actor):
            for turn in range(times):
                yield
                floor = self.floor(process, key)
                actor.hear(("asks", floor))
                version = yield from self.play(actor, steps(actor))
                version = getattr(version, "value", version)
                self.answers[name, turn] = version
                if version is not MISSING and version < floor:
                    raise Broken(f"{name} asked after version {floor} was made known, and got {version}")
        return self.add(name, process, work)

    def changes_key(self, name, process, *acts, key="k"):
        """An actor that commits and invalidates: "commit", and steps to drive. When it is over, its version is known."""
        def work(actor):
            version = None
            for act in acts:
                if act == "commit":
                    yield
                    version = self.versions[key] = self.versions[key] + 1
                    actor.hear(version)
                else:
                    yield from self.play(actor, act(version))
            yield
            self.changed.append(self.known(key, version or 0, process))
            actor.hear(("known", tuple(self.changed[-1].missed)))
        return self.add(name, process, work)

    def known(self, key, version, process):
        """A change that returned just now."""
        missed = [node for node, state in process.tier._state.items() if state.missed or state.breaker.down]
        return Change(key, version, process, missed, self.step)

    def happens(self, name, *acts):
        """What nobody plans: one thing after another, at any time."""
        def work(actor):
            for act in acts:
                yield
                act()
                self.changes += 1
        return self.add(name, None, work)

    def looks_after(self, process):
        """A process's prober."""
        def work(actor):
            while True:
                yield self.changes
                for state in process.tier._state.values():
                    state.breaker._next = self.now  # the time between probes is none of the protocol's
                if process.tier.due():
                    yield from self.play(actor, admission.look_after(process.tier))
        self.add(f"prober {process.name}", process, work).is_servant = True

    def crash(self, actor):
        actor.over = actor.crashed = True

    # ---------------------------------------------------------------- states

    def ready(self):
        """Who may step; when nobody can, time passes until somebody does."""
        for _ in range(4):
            ready = [actor for actor in self.actors if actor.may_step()]
            if any(not actor.is_servant for actor in ready) or self.is_over():
                return [] if self.is_over() else ready
            if ready and any(actor.process.tier.due() for actor in ready if actor.is_servant):
                return ready
            self.now += LEASE_S / 2 + 1
            self.changes += 1
        return ready

    def is_over(self):
        return all(actor.over or actor.is_servant for actor in self.actors)

    def check_end(self):
        stuck = [actor.name for actor in self.actors if not actor.over and not actor.is_servant]
        if stuck:
            raise Broken(f"{', '.join(stuck)} are stuck")
        if self.loses or any(actor.crashed for actor in self.actors):
            return
        for node in self.nodes.values():
            for key, cell in ((key, node._cells.peek(key)) for key in node._cells.entries):
                if cell is not None and not node.is_down and (cell.kind.name == "LEASED" or cell.claimed > self.now):
                    raise Broken(f"the right to load {key} was left behind on {node.name}")

    def state(self):
        processes = {actor.process.name: actor.process.state() for actor in self.actors if actor.process is not None}
        flights = tuple(tuple(map(len, actor.process.flights.values())) for actor in self.actors if actor.process)
        return (self.now, tuple(self.near.items()), flights,
                tuple(node.state() for node in self.nodes.values()), tuple(processes.items()),
                tuple(self.versions.items()), tuple((one.key, one.version, tuple(one.missed)) for one in self.changed),
                tuple((actor.name, actor.stepped, actor.told, actor.over, actor.may_step()) for actor in self.actors))


def schedule(scenario, choices, make):
    world, names = make(), []
    scenario(world)
    for choice in choices:
        ready = world.ready()
        names.append(ready[choice].name)
        try:
            world.advance(ready[choice])
        except Broken:
            break
    return " > ".join(names)


def explore(scenario, make=World, *, most=60_000, at_end=None):
    """Try every order; the number of states. Raises Broken, with the schedule, at the first promise not kept."""
    seen, pending, ends = set(), [()], 0
    while pending:
        choices = pending.pop()
        world = make()
        scenario(world)
        try:
            for choice in choices:
                world.advance(world.ready()[choice])
            while True:
                ready = world.ready()
                state = hash(world.state())
                if state in seen:
                    break
                seen.add(state)
                assert len(seen) < most, "the scenario is too large to try in every order"
                if not ready:
                    world.check_end()
                    if at_end is not None:
                        at_end(world)
                    ends += 1
                    break
                pending.extend((*choices, other) for other in range(1, len(ready)))
                choices = (*choices, 0)
                world.advance(ready[0])
        except Broken as broken:
            raise Broken(f"{broken}; after {schedule(scenario, choices, make)}") from None
    assert ends
    return len(seen)


__all__ = ["OK", "Broken", "Maker", "Process", "World", "explore"]
