"""A scheduler that tries every order: actors play the real load protocol over a core, one atomic step at a time.

A step runs from one `yield` to the next and holds at most one verb of the core. The explorer runs a scenario from its
start again and again, each time with another choice of who steps next, and does not enter a state twice: a state is
what the core holds, who waits for which flight, and all that each actor was told so far, for that is all that its
future depends on.

The oracle knows the database and its history, and nothing of how the cache works. A Broken is a promise not kept; it
carries the schedule that leads there.
"""

import itertools
from collections import defaultdict
from typing import NamedTuple

from samovar import _core
from samovar._base import flight
from samovar._base.contracts import Offer
from samovar._base.errors import OriginBusy
from samovar._base.flight import ENDED, FLYING, TIMED_OUT, Waiter
from samovar._base.missing import MISSING
from samovar.app import protocol, working
from samovar.app.protocol import BEGIN, CALL, ENTER, PASS, SPAWN, TAKE, VALUE, WAIT, Ask
from twins.cache import LEAD, CacheCore


class Broken(AssertionError):
    """A promise that is not kept."""


class Stored(NamedTuple):
    """A value as the database gave it."""

    key: str
    version: int
    era: int  # how often the key had been made wrong when it was read
    epoch: int  # how often its loads had been fenced off


class OriginFails(Exception):
    pass


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Bell(Waiter):
    def __init__(self, actor):
        super().__init__(tuple(actor.inside), actor.number)
        self.gates = {place.gate for place in actor.places if not place.left}
        self.rung = False
        self.place = None
        self.may_time_out = False

    def wake(self, here):
        self.rung = True


class Room:
    """A gate as an obviously right one would be: so many places, a queue, a load within a load on its parent's place."""

    def __init__(self, places, patient=True):
        self.free, self.patient, self.queue = places, patient, []

    def leave_later(self, place):
        if place.left:
            return
        place.left = True
        if place.parent is not None:
            place.parent.lent = False
        elif self.queue:
            bell = self.queue.pop(0)
            bell.place = Permit(self, None, True)
            bell.wake(None)
        else:
            self.free += 1


class Permit:
    def __init__(self, gate, parent, waited):
        self.gate, self.parent, self.waited = gate, parent, waited
        self.left = self.lent = False

    def leave(self, error=None):
        self.gate.leave_later(self)


class Log:
    """All that an actor was told, as a hash of the last thing and of all before."""

    def __init__(self):
        self.told, self.count = 0, 0

    def append(self, thing):
        self.told = hash((self.told, thing))
        self.count += 1


_numbers = itertools.count(1)


class Actor:
    def __init__(self, world, name, steps):
        self.world, self.name, self.steps = world, name, steps
        self.number = next(_numbers)  # what its thread would be called; no two runs share one
        self.log, self.inside, self.flights = Log(), [], []
        self.places = []
        self.bell = None
        self.over = False
        self.stepped = 0
        self.asked = {}, {}  # what had been made wrong, and stale, when it asked
        self.looked = self.window = 0
        self.waited = []  # flights that it waited for

    def may_step(self):
        return not self.over and (self.bell is None or self.bell.rung or self.bell.may_time_out)


class Watched:
    """The core as an actor sees it: every verb goes into the actor's log."""

    def __init__(self, world, core):
        self._world, self._core = world, core

    def __getattr__(self, name):
        verb = getattr(self._core, name)

        def call(*args):
            world = self._world
            actor = world.acting
            for thing in args:
                world.name(thing)
            try:
                told = verb(*args)
            except Exception as error:
                actor.log.append((name, repr(error)))
                raise
            actor.log.append((name, world.plain(told, name)))
            if name in ("_join", "_now"):
                actor.looked = world.clock.now
            world.note(name, args, told)
            return told

        return call


class Paired(CacheCore):
    """The twin and the native core side by side: whatever the protocol asks, they must agree."""

    def __init__(self, *how):
        super().__init__(*how)
        self.native = _core.CacheCore(*how)
        self.numbers, self.stamps = {}, {}  # of the twin -> of the native one

    def agree(self, verb, ours, theirs):
        if ours != theirs:
            raise Broken(f"{verb}: the native core says {theirs!r}, and {ours!r} is right")
        return ours

    def _join(self, *args):
        ours, theirs = super()._join(*args), self.native._join(*args)
        self.agree("_join", (ours[0], ours[2], *plain(*ours[3:5])), (theirs[0], theirs[2], *plain(*theirs[3:5])))
        self.numbers[ours[1]], self.stamps[ours[5]] = theirs[1], theirs[5]
        return ours

    def _refresh_begin(self, *args):
        ours, theirs = super()._refresh_begin(*args), self.native._refresh_begin(*args)
        self.agree("_refresh_begin", plain(*ours[1:3]), plain(*theirs[1:3]))
        self.numbers[ours[0]], self.stamps[ours[3]] = theirs[0], theirs[3]
        return ours

    def _settle(self, number, *args):
        theirs = self.native._settle(self.numbers[number], *args)
        return self.agree("_settle", super()._settle(number, *args), theirs)

    def _drop(self, number, *args):
        self.native._drop(self.numbers[number], *args)
        super()._drop(number, *args)

    def _abandon(self, number, *args):
        self.native._abandon(self.numbers[number], *args)
        super()._abandon(number, *args)

    def _recheck(self, tags, begun, joined):
        """The native one may be unsure more often, never less than is right."""
        super()._recheck(tags, begun, joined)
        return self.native._recheck(tags, self.stamps[begun], self.stamps[joined])

    def check(self):
        """At the end. Where a loaded entry comes in the order of use is the core's own affair: by its begin or its end."""
        _core.check(self.native)
        self.agree("_entries", {entry[:2] for entry in self._entries()}, {entry[:2] for entry in self.native._entries()})
        ours, theirs = self._counts(), self.native._counts()
        for name in ("hits", "stale_hits", "misses", "coalesced", "loads", "failures"):
            self.agree(name, ours[name], theirs[name])


def _both(verb):
    def call(self, *args):
        return self.agree(verb, getattr(CacheCore, verb)(self, *args), getattr(self.native, verb)(*args))
    return call


for _verb in ("_put", "delete", "clear", "expire", "_invalidate_tags", "peek"):
    setattr(Paired, _verb, _both(_verb))


def plain(value, age):
    """What must be the same: an age says nothing where there is no value, and clocks count in nanoseconds."""
    return value, None if value is MISSING else round(age, 6)


class Turn:
    """A turn at a lease that keeps nobody waiting: what other processes offer is all that matters to what is served."""

    def __init__(self, world):
        self.world = world

    def look(self, load, since):
        offer = self.world.offers.get(load.key)
        return None if offer is None or offer.begun <= since else offer

    def offer(self, load, value, kept, begun, cost_s):
        pass

    def end(self):
        pass


class World:
    """One run of a scenario."""

    def __init__(self, make_core=CacheCore, *, maxsize=None, fresh=None, ask=Ask, one=None, inline=False, full=False,
                 gate=None, lease=False, fences=True):
        self.clock = Clock()
        self.inner = make_core(maxsize, None, None, "lru", fresh, self.clock, None, False)
        self.core = Watched(self, self.inner)
        self.fenced = defaultdict(int)  # key -> how often it was declared wrong: the clock of the fences
        self.offers, self.reading = {}, {}  # what other processes hand over, and what they have read and not yet offered
        if lease:
            self.core._leasing, self.core._tally = True, lambda which, times: None
            self.core._fenced_at = lambda key, tags: self.fenced[key] if fences else 0
        self.fresh, self.ask_class, self.inline, self.full = fresh, ask, inline, full
        self.one = one or protocol.one
        self.gate = gate and gate()
        self.places = self.gate and self.gate.free
        self.actors, self.acting, self.step = [], None, 0
        self.flights = {}
        self.versions = defaultdict(int)
        self.tags = {}  # key -> tags of what the database holds
        self.failing = set()  # keys that the database fails to give
        self.nested = {}  # key -> the key that its factory asks for
        self.eras = defaultdict(int)  # key -> how often it was made wrong for good
        self.softs = {}  # key -> (epoch, clock) of the last time that it was made stale
        self.epochs = defaultdict(int)
        self.began = {}  # number of a load -> the key's epoch when it was led
        self.calling = []  # (key, epoch): calls of factories under way
        self.loads = 0
        self.stored_at = {}
        self.answers = {}

    # ---------------------------------------------------------------- names for states

    def name(self, thing):
        if hasattr(thing, "waits_for") and id(thing) not in self.flights:
            self.acting.flights.append(thing)
            self.flights[id(thing)] = thing, f"{self.acting.name}#{len(self.acting.flights)}"

    def plain(self, thing, verb=None):
        """What was told, the same in every order: a load's number says who came first, its flight says as much."""
        if verb == "_join":
            role, number, flight, value, age, stamp = thing
            return role, self.plain(flight), value, age, stamp
        if verb == "_refresh_begin":
            return thing[1:]
        return self.flights[id(thing)][1] if id(thing) in self.flights else thing

    def state(self):
        core = self.inner
        entries = tuple((key, entry.value, core.ends(entry), entry.stamp) for key, entry in core.entries.items())
        loads = frozenset((load.key, core.flying.get(load.key) is load, load.stamp, self.plain(load.flight))
                          for load in core.loads.values())
        flights = frozenset((name, flight.state, len(flight.waiters), len(flight.waits_for))
                            for flight, name in self.flights.values())
        actors = tuple((actor.name, actor.stepped, actor.may_step(), len(actor.inside), actor.log.told)
                       for actor in self.actors)
        room = self.gate and (self.gate.free, tuple(bell.rung for bell in self.gate.queue))
        return (room, self.clock.now, entries, loads, flights, frozenset(actors), core.tag_clock, tuple(core.hard.items()),
                tuple(core.soft.items()), tuple(self.versions.items()), frozenset(self.eras.items()),
                frozenset(self.softs.items()), frozenset(self.failing),
                frozenset(self.fenced.items()), tuple(self.offers.items()), tuple(self.reading.items()))

    # ---------------------------------------------------------------- actors

    def add(self, name, steps):
        actor = Actor(self, name, None)
        actor.steps = steps(actor) if callable(steps) else steps
        self.actors.append(actor)
        return actor

    def advance(self, actor):
        self.acting, self.step = actor, self.step + 1
        actor.stepped += 1
        try:
            actor.bell = next(actor.steps)
        except StopIteration:
            actor.over, actor.bell = True, None
        self.check_entries()

    def asks(self, name, *keys, how="one", fresh=None, tags=None, times=1, **words):
        """An actor that calls get_or_set (or the like) for the keys."""
        fresh = fresh or self.fresh
        def steps(actor):
            actor.window = 0 if fresh is None else fresh.keep
            for turn in range(times):
                yield
                actor.asked = dict(self.eras), dict(self.softs)
                actor.log.append(("asks", tuple(self.eras.items()), tuple(self.softs.items())))
                answer = yield from self.ask(actor, keys, how, fresh, tags, words)
                self.answers[name, turn] = answer
                self.judge(actor, answer)
        return self.add(name, steps)

    def ask(self, actor, keys, how, fresh, tags, words):
        ask = self.ask_class(self.core, thread=actor.number, fresh=fresh, tags=tags,
                             **words)
        ask.gate = self.gate
        if how == "many":
            return (yield from self.play(actor, ask, protocol.many(ask, keys)))
        steps = {"one": self.one, "anew": protocol.anew}[how]
        return (yield from self.play(actor, ask, steps(ask, keys[0])))

    def play(self, actor, ask, steps):
        """Drive a protocol as the drivers do, giving way before and after everything that it asks for."""
        try:
            request = next(steps)
            while True:
                what, about = request
                yield
                try:
                    if what == PASS:
                        told = None
                    elif what == WAIT:
                        told = yield from self.wait(actor, *about)
                    elif what == CALL:
                        told = yield from self.call(actor, about)
                    elif what == ENTER:
                        told = yield from self.enter(actor, about[1])
                    elif what == TAKE:
                        told = Turn(self)
                    elif what == SPAWN and self.full:
                        told = False
                    elif what == BEGIN and self.inline:
                        yield from self.work(actor, ask, about)
                        told = True
                    else:
                        assert what in (BEGIN, SPAWN)
                        for load in about:
                            load.flight.thread = 0
                        self.add(f"{actor.name}.{actor.log.count}", lambda new: self.work(new, ask, about))
                        told = True
                    actor.log.append((what, tuple(told) if isinstance(told, list) else None if what == TAKE else
                                      told.waited if isinstance(told, Permit) else told))
                except (OriginFails, OriginBusy) as error:
                    actor.log.append((what, "failed"))
                    request = steps.throw(error)
                else:
                    request = steps.send(told)
        except StopIteration as stop:
            return stop.value

    def work(self, actor, ask, loads):
        flights = [load.flight for load in loads]
        for one in flights:
            one.thread = actor.number
        actor.inside.extend(flights)
        yield from self.play(actor, ask, working.work(ask, loads))
        del actor.inside[-len(flights):]

    def enter(self, actor, waits):
        """A place at the origin, as the room gives it."""
        room = self.gate
        for place in actor.places:
            if not place.left and not place.lent:
                place.lent = True
                return self.seat(actor, Permit(room, place, False))
        if room.free and not room.queue:
            room.free -= 1
            return self.seat(actor, Permit(room, None, False))
        if not waits:
            raise OriginBusy("busy", waited=False)
        bell = Bell(actor)
        bell.may_time_out = not room.patient
        room.queue.append(bell)
        yield bell
        if not bell.rung:
            room.queue.remove(bell)
            raise OriginBusy("late")
        return self.seat(actor, bell.place)

    def seat(self, actor, place):
        actor.places.append(place)
        return place

    def wait(self, actor, flight, limit_s):
        bell = Bell(actor)
        bell.may_time_out = limit_s is not None
        actor.waited.append(flight)
        told = flight.enlist(bell)
        if told is None:
            yield bell
            told = ENDED if bell.rung else TIMED_OUT
            flight.leave(bell)
        return told

    def call(self, actor, loads):
        """The factory: it reads the database, and takes its time to return."""
        self.loads += 1
        mine = [(load.key, self.began[load.number]) for load in loads]
        for one in mine:
            if one in self.calling:
                raise Broken(f"two loads of {one[0]!r} at a time")
        self.calling.extend(mine)
        self.check_room(actor)
        values = []
        try:
            for load in loads:
                if load.key in self.nested:
                    yield from self.ask(actor, (self.nested[load.key],), "one", None, None, {})
                values.append(Stored(load.key, self.versions[load.key], self.eras[load.key], self.epochs[load.key]))
                load.context.tags = self.tags.get(load.key)
                fails = load.key in self.failing
            yield
        finally:
            for one in mine:
                self.calling.remove(one)
        if fails:
            raise OriginFails
        return values

    def check_room(self, actor):
        """Who calls the origin holds a place, and no more do than there are."""
        if self.gate is None:
            return
        if not any(not place.left and not place.lent for place in actor.places):
            raise Broken(f"{actor.name} calls the origin without a place")
        seated = [place for one in self.actors for place in one.places if place.parent is None and not place.left]
        if len(seated) > self.places:
            raise Broken("more loads than places")

    def acts(self, name, *acts):
        """An actor that does one thing after another."""
        def steps(actor):
            for act in acts:
                yield
                act(self)
        return self.add(name, steps)

    def loads_elsewhere(self, name, key):
        """Another process that loads a key and hands its result over; it begins between two fences, not upon one."""
        def steps(actor):
            yield
            self.reading[key] = Offer(
                Stored(key, self.versions[key], self.eras[key], self.epochs[key]), self.fenced[key] + 0.5, 0.0, self.fresh,
                self.tags.get(key),
            )
            yield
            self.offers[key] = self.reading.pop(key)
        return self.add(name, steps)

    # ---------------------------------------------------------------- the oracle

    def note(self, verb, args, told):
        now_wrong, fenced, softened = [], [], []
        if verb in ("delete", "_put"):
            now_wrong = fenced = [args[0]]
        elif verb == "clear":
            now_wrong = fenced = ["a", "b"]
        elif verb == "expire":
            fenced = softened = [args[0]]
        elif verb == "_refresh_begin":
            fenced = [args[0]]
        elif verb == "_invalidate_tags":
            hit = fenced = [key for key, tags in self.tags.items() if set(tags) & set(args[0])]
            now_wrong, softened = ([], hit) if args[1] else (hit, [])
        elif verb == "_settle" and told:
            self.stored_at[args[2]] = self.clock.now
        for key in [] if verb == "_refresh_begin" else fenced:
            self.fenced[key] += 1
        for key in now_wrong:
            self.eras[key] += 1
        for key in fenced:
            self.epochs[key] += 1
        if verb == "_refresh_begin" or (verb == "_join" and told[0] == LEAD):
            self.began[told[verb == "_join"]] = self.epochs[args[0]]
        for key in softened:
            self.softs[key] = self.epochs[key], self.clock.now

    def put(self, key):
        """Store what the database holds now."""
        value = Stored(key, self.versions[key], self.eras[key] + 1, self.epochs[key] + 1)
        self.core._put(key, value, None, self.tags.get(key), None, False)
        self.stored_at[value] = self.clock.now
        return value

    def check_entries(self):
        """Nothing is stored that was read before the last thing that made it wrong."""
        for key in list(self.inner.entries):
            value = self.inner.peek(key, MISSING)
            if value is not MISSING and value.era < self.eras[key]:
                raise Broken(f"{key!r} is stored as it was before it was made wrong")

    def judge(self, actor, answer):
        """What an actor may be answered."""
        if isinstance(answer[0], dict):
            values = [value for value in answer[0].values() if value is not MISSING]
        else:
            values = [answer[1]] if answer[0] == VALUE else []
        for value in values:
            eras, softs = actor.asked
            if value.era < eras.get(value.key, 0):
                raise Broken(f"{actor.name} asked after {value.key!r} was made wrong, and got what was read before")
            if any(flight.value == value for flight in actor.waited):
                continue  # loaded just now
            if self.fresh is not None and self.fresh.ttl is not None and value in self.stored_at:
                age = actor.looked - self.stored_at[value]
                if age >= self.fresh.ttl + actor.window:
                    raise Broken(f"{actor.name} got {value} when it was {age:g} s old")
            epoch, when = softs.get(value.key, (0, 0.0))
            if value.epoch < epoch and actor.looked >= when + actor.window:
                raise Broken(f"{actor.name} got {value} though it was expired")

    def check_end(self):
        if isinstance(self.inner, Paired):
            self.inner.check()
        stuck = [actor.name for actor in self.actors if not actor.over]
        if stuck:
            raise Broken(f"nobody wakes {', '.join(stuck)}")
        if self.gate is not None and (self.gate.queue or self.gate.free != self.places):
            raise Broken(f"{self.gate.free} places are free in the end")
        if self.inner.loads or self.inner.flying:
            raise Broken("a load was never ended")
        flying = [name for flight, name in self.flights.values() if flight.state == FLYING and flight.number]
        if flying:
            raise Broken(f"flights never ended: {', '.join(flying)}")


def run(scenario, choices, make):
    """Run a scenario along these choices; the world as it is then, and who may step."""
    world = make()
    scenario(world)
    for choice in choices:
        ready = [actor for actor in world.actors if actor.may_step()]
        world.advance(ready[choice])
    return world


def explore(scenario, make=World, *, most=400_000, at_end=None):
    """Try every order; the number of states. Raises Broken, with the schedule, at the first promise not kept."""
    seen, pending, ends = set(), [()], 0
    while pending:
        choices = pending.pop()
        try:
            world = run(scenario, choices, make)
            while (state := world.state()) not in seen:
                seen.add(state)
                assert len(seen) < most, "the scenario is too large to try in every order"
                ready = [actor for actor in world.actors if actor.may_step()]
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
        finally:
            flight._blocked.clear()  # who was left waiting in the middle
    assert ends
    return len(seen)


def schedule(scenario, choices, make):
    """Who stepped, in order."""
    world, names = make(), []
    scenario(world)
    for choice in choices:
        ready = [actor for actor in world.actors if actor.may_step()]
        names.append(ready[choice].name)
        try:
            world.advance(ready[choice])
        except Broken:
            break
    return " ".join(names)
