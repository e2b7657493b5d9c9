"""A cache core that is obviously right: an OrderedDict, coldest first, one thread, a clock that is handed in, no speed.

It walks beside `samovar._core.CacheCore`, verb for verb, and stands in for it where the load protocol is tried in every
order. Eviction is exact LRU, or none. Whether a load may store is one rule: it may while it is the one that newcomers
of its key would join. Whether a tag's invalidation hits is one comparison of serial numbers.
"""

import math
import os
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any

from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING

HIT, LEAD, FOLLOW, REENTER = range(4)
PLAIN = Freshness()


class Done:
    """An awaitable that is done."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        return self.value
        yield


@dataclass(eq=False)
class Entry:
    value: Any
    fresh: Freshness
    ttl_ends: float  # clock time; math.inf: never
    used: float  # when it was stored or asked for
    tags: tuple
    stamp: int  # the tag clock at the begin of the load, or of the put
    weight: int
    cost: float


@dataclass(eq=False)
class Load:
    key: Any
    number: int
    flight: Any
    leader: int
    stamp: int
    process: int


class CacheCore:
    def __init__(self, maxsize, maxweight, weigher, eviction, fresh, clock, on_remove, timed_hits, chance=lambda: 0.0):
        self.maxsize, self.maxweight, self.weigher, self.eviction = maxsize, maxweight, weigher, eviction
        self.fresh, self.clock, self.on_remove, self.timed_hits = fresh, clock, on_remove, timed_hits
        self.chance = chance  # 0.0 to 1.0, for jitter
        self.entries = OrderedDict()
        self.flying = {}  # key -> the load that newcomers join
        self.loads = {}  # number -> every load that has not ended
        self.tag_clock = 0
        self.hard, self.soft = {}, {}  # tag -> serial; tag -> (serial, when)
        self.counts = Counter()
        self.asked, self.costs = [], []
        self.gone = []  # (key, value, cause) to tell when the verb is over
        self.next_number = 0

    # ---------------------------------------------------------------- what an entry is

    def _now(self):
        return self.clock()

    def ends(self, entry):
        """When it stops being fresh: its ttl, its idle time, or the first soft invalidation of one of its tags."""
        soft = [when for tag in entry.tags for serial, when in [self.soft.get(tag, (0, 0))] if serial > entry.stamp]
        return min(entry.ttl_ends, self.idles(entry), *soft)

    def idles(self, entry):
        return math.inf if entry.fresh.tti is None else entry.used + entry.fresh.tti

    def leaves(self, entry):
        """When it may not be served in any way: nobody asks for what idles, so it is not kept to be served stale."""
        return min(self.ends(entry) + entry.fresh.keep, self.idles(entry))

    def is_invalid(self, tags, stamp):
        return any(self.hard.get(tag, 0) > stamp for tag in tags)

    def kept(self, key):
        """The entry that may still be served in some way, or None; what is past that leaves."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if self.is_invalid(entry.tags, entry.stamp):
            self.remove(key, "invalidated")
        elif self._now() >= self.leaves(entry):
            soft = any(self.soft.get(tag, (0, 0))[0] > entry.stamp for tag in entry.tags)
            self.remove(key, "invalidated" if soft and not entry.fresh.keep else "expired")
        else:
            return entry
        return None

    def fresh_entry(self, key):
        entry = self.kept(key)
        return entry if entry is not None and self._now() < self.ends(entry) else None

    def remove(self, key, cause):
        self.gone.append((key, self.entries.pop(key).value, cause))
        self.counts[cause] += 1

    def tell(self):
        """Every verb that changed something ends here."""
        gone, self.gone = self.gone, []
        for one in gone:
            if self.on_remove is not None:
                self.on_remove(*one)

    def sweep(self):
        for key in list(self.entries):
            self.kept(key)

    # ---------------------------------------------------------------- reading

    def find(self, key):
        hash(key)
        self.asked.append(key)
        entry = self.fresh_entry(key)
        self.counts["misses" if entry is None else "hits"] += 1
        if entry is not None:
            self.use(key, entry)
        self.tell()
        return MISSING if entry is None else entry.value

    def use(self, key, entry):
        entry.used = self._now()
        self.entries.move_to_end(key)

    def __getitem__(self, key):
        value = self.find(key)
        if value is MISSING:
            raise KeyError(key)
        return value

    def get(self, key, default=None):
        value = self.find(key)
        return default if value is MISSING else value

    def peek(self, key, default=None):
        entry = self.fresh_entry(key)
        self.tell()
        return default if entry is None else entry.value

    def __contains__(self, key):
        return self.peek(key, MISSING) is not MISSING

    def __len__(self):
        return len(self._snapshot())

    def get_many(self, keys):
        found = {key: self.find(key) for key in keys}
        return {key: value for key, value in found.items() if value is not MISSING}

    def is_due_early(self, entry, gap):
        return self._now() + entry.cost * gap >= self.ends(entry)

    def get_or_set(self, key, factory, **options):
        entry = self.fresh_entry(key)
        if entry is None or (self.fresh or PLAIN).early:
            return self._get_or_set(key, factory, **options)
        return self.find(key)

    def aget_or_set(self, key, factory, **options):
        entry = self.fresh_entry(key)
        if entry is None or (self.fresh or PLAIN).early:
            return self._aget_or_set(key, factory, **options)
        return Done(self.find(key))

    # ---------------------------------------------------------------- writing

    def weigh(self, key, value, weight):
        if weight is None:
            weight = 1 if self.weigher is None else self.weigher(key, value)
        if isinstance(weight, bool) or not isinstance(weight, int):
            raise TypeError(f"weight must be an integer, not {weight!r}")
        if weight < 0:
            raise ValueError(f"weight must be 0 or more, not {weight!r}")
        return weight

    def store(self, key, value, fresh, tags, weight, stamp, cost):
        """False: too heavy to be stored; the old value is gone all the same."""
        now, fresh = self._now(), fresh or self.fresh or PLAIN
        old, too_heavy = self.kept(key), self.maxweight is not None and weight > self.maxweight
        if old is not None and (too_heavy or old.value is not value):
            self.remove(key, "replaced")
        if too_heavy:
            return False
        ends = now + self.lifetime(fresh, value) * (1 - fresh.jitter * self.chance())
        self.entries[key] = Entry(value, fresh, ends, now, tuple(tags or ()), stamp, weight, cost)
        self.entries.move_to_end(key)
        self.make_room()
        return True

    def lifetime(self, fresh, value):
        ttl = fresh.negative_ttl if value is None and fresh.negative_ttl is not None else fresh.ttl
        return math.inf if ttl is None else ttl

    def make_room(self):
        if self.is_over():
            self.sweep()
        while self.is_over():
            self.remove(next(iter(self.entries)), "evicted")

    def is_over(self):
        return (self.maxsize is not None and len(self.entries) > self.maxsize) or (
            self.maxweight is not None and sum(entry.weight for entry in self.entries.values()) > self.maxweight)

    def _put(self, key, value, fresh, tags, weight, only_absent):
        hash(key)
        weight = self.weigh(key, value, weight)
        if only_absent and self.fresh_entry(key) is not None:
            stored = False
        else:
            self.flying.pop(key, None)
            stored = self.store(key, value, fresh, tags, weight, self.tag_clock, 0.0)
        self.tell()
        return stored

    def __setitem__(self, key, value):
        self._put(key, value, None, None, None, False)

    def _put_many(self, items, fresh, tags):
        for key, value in items:
            self._put(key, value, fresh, tags, None, False)

    def _pop(self, key):
        self.flying.pop(key, None)
        entry = self.fresh_entry(key)
        if self.kept(key) is not None:
            self.remove(key, "deleted")
        self.tell()
        return MISSING if entry is None else entry.value

    def delete(self, key):
        return self._pop(key) is not MISSING

    def __delitem__(self, key):
        if not self.delete(key):
            raise KeyError(key)

    def _delete_many(self, keys):
        return sum(self.delete(key) for key in keys)

    def _popitem(self):
        for key in list(self.entries):  # the coldest first; what is stale on the way to a fresh one goes too
            if self.fresh_entry(key) is not None:
                return key, self._pop(key)
            if key in self.entries:
                self.remove(key, "expired")
        self.tell()
        raise KeyError("the cache is empty")

    def clear(self):
        self.flying.clear()
        self.sweep()
        for key in list(self.entries):
            self.remove(key, "cleared")
        self.tell()

    def expire(self, key):
        """Stale from now on; a load that runs may not store, for it may have read before."""
        self.flying.pop(key, None)
        entry = self.fresh_entry(key)
        if entry is not None:
            entry.ttl_ends = self._now()
            self.kept(key)
        self.tell()
        return entry is not None

    def _touch(self, key, fresh):
        entry = self.fresh_entry(key)
        if entry is not None:
            entry.fresh = fresh or self.fresh or PLAIN
            entry.used = self._now()
            entry.ttl_ends = self._now() + self.lifetime(entry.fresh, entry.value)
        self.tell()
        return entry is not None

    def _invalidate_tags(self, tags, soft):
        self.tag_clock += 1
        for tag in tags:
            if soft:
                self.soft.setdefault(tag, (0, 0))
                entries = [entry for entry in self.entries.values() if tag in entry.tags]
                for entry in entries:  # what an earlier one made stale stays stale since then
                    entry.ttl_ends = min(entry.ttl_ends, self.ends(entry))
                self.soft[tag] = (self.tag_clock, self._now())
            else:
                self.hard[tag] = self.tag_clock
        self.sweep()
        self.tell()

    def _resize(self, maxsize, maxweight):
        self.maxsize, self.maxweight = maxsize, maxweight
        self.make_room()
        self.tell()

    # ---------------------------------------------------------------- the whole

    def _snapshot(self):
        self.sweep()
        self.tell()
        return [(key, entry.value) for key, entry in reversed(self.entries.items()) if self._now() < self.ends(entry)]

    def _entries(self):
        self.sweep()
        self.tell()
        return [self.told(key, entry) for key, entry in reversed(self.entries.items())]

    def told(self, key, entry):
        keep = entry.fresh.keep
        return key, entry.value, self.ends(entry) - self._now(), entry.tags, entry.cost, entry.weight, keep

    def _entry(self, key):
        self.fresh_entry(key)
        self.tell()
        return self.told(key, entry) if (entry := self.kept(key)) is not None else None

    def _restore(self, entries):
        stored = 0
        for key, value, left, tags, cost, heavy, keep in reversed(entries):
            fresh = (self.fresh or PLAIN).replace(stale_while_revalidate=keep, stale_if_error=0)
            weight = self.weigh(key, value, heavy if self.weigher is None else None)
            too_heavy = self.maxweight is not None and weight > self.maxweight
            if left + fresh.keep > 0 and not too_heavy and self.fresh_entry(key) is None:
                self.flying.pop(key, None)
                self.store(key, value, fresh, tags, weight, self.tag_clock, cost)
                self.entries[key].ttl_ends = self._now() + left
                stored += 1
        self.tell()
        return stored

    def _tally(self, which, times):
        self.counts[which] += times

    def _counts(self):
        names = ("hits", "stale_hits", "misses", "coalesced", "loads", "failures", "evicted", "expired", "replaced",
                 "deleted", "invalidated", "cleared", "early", "queued", "refused", "shared", "rescued")
        fresh = [entry for key in list(self.entries) if (entry := self.fresh_entry(key)) is not None]
        self.tell()
        return {name: self.counts[name] for name in names} | {
            "currsize": len(fresh), "maxsize": self.maxsize,
            "weight": sum(entry.weight for entry in fresh), "maxweight": self.maxweight}

    def _latency(self, which, percents):
        costs = sorted(self.costs) if which == "loads" else []
        if not costs:
            return 0, 0.0, tuple(0.0 for _ in percents)
        at = [costs[max(0, math.ceil(percent / 100 * len(costs)) - 1)] for percent in percents]
        return len(costs), sum(costs) / len(costs), tuple(at)

    def _curve(self, sizes):
        """LRU at every size, over all that was asked."""
        return tuple(self.replayed(size) for size in sizes)

    def replayed(self, size):
        lru, hits = OrderedDict(), 0
        for key in self.asked:
            hits += key in lru
            lru[key] = None
            lru.move_to_end(key)
            if len(lru) > size:
                lru.popitem(last=False)
        return hits / len(self.asked) if self.asked else 0.0

    # ---------------------------------------------------------------- the load protocol

    def begin(self, key, flight, leader):
        self.next_number += 1
        load = Load(key, self.next_number, flight, leader, self.tag_clock, os.getpid())
        self.flying[key] = self.loads[load.number] = load
        self.counts["loads"] += 1
        return load

    def look(self, key):
        entry = self.kept(key)
        return (MISSING, 0.0) if entry is None else (entry.value, self._now() - self.ends(entry))

    def _join(self, key, flight, leader, fresh, gap):
        hash(key)
        self.asked.append(key)
        swr = (fresh or self.fresh or PLAIN).stale_while_revalidate
        value, age = self.look(key)
        is_fresh = value is not MISSING and age < 0
        load = self.flying.get(key)
        if load is not None and load.process != os.getpid():
            load = None
        is_early = is_fresh and gap and load is None and self.is_due_early(self.entries[key], gap)
        if is_fresh:
            self.use(key, self.entries[key])
        if is_fresh and not is_early:
            answer = HIT, 0, None, value, age, self.tag_clock
        elif load is None:
            load = self.begin(key, flight, leader)
            answer = LEAD, load.number, flight, value, age, load.stamp
        else:
            role = REENTER if load.leader == leader else FOLLOW
            answer = role, load.number, load.flight, value, age, self.tag_clock
        if is_fresh:
            self.counts["hits"] += 1
        elif value is not MISSING and age < swr:
            self.counts["stale_hits"] += 1
            self.entries.move_to_end(key)
        else:
            self.counts["misses"] += 1
            self.counts["coalesced"] += answer[0] == FOLLOW
            self.counts["loads"] += answer[0] == REENTER  # it computes, for itself
        self.tell()
        return answer

    def _refresh_begin(self, key, flight, leader):
        hash(key)
        value, age = self.look(key)
        load = self.begin(key, flight, leader)
        self.tell()
        return load.number, value, age, load.stamp

    def end(self, number):
        """Take the load out; whether it may store."""
        load = self.loads.pop(number, None)
        if load is None or self.flying.get(load.key) is not load:
            return load, False
        del self.flying[load.key]
        return load, True

    def _settle(self, number, flight, value, fresh, tags, weight, cost_s):
        if number not in self.loads:
            return False
        weight = self.weigh(self.loads[number].key, value, weight)
        load, may_store = self.end(number)
        self.costs.append(cost_s)
        read_before = self.is_invalid(tags or (), load.stamp) or any(
            self.soft.get(tag, (0, 0))[0] > load.stamp for tag in tags or ())
        stored = may_store and not read_before and self.store(load.key, value, fresh, tags, weight, load.stamp, cost_s)
        self.tell()
        return stored

    def _drop(self, number, flight, failed):
        load, _ = self.end(number)
        self.counts["failures"] += bool(failed and load is not None)

    def _abandon(self, number, flight):
        load = self.loads.get(number)
        if load is not None and self.flying.get(load.key) is load:
            del self.flying[load.key]

    def _tally(self, which, times):
        self.counts[which] += times

    def _recheck(self, tags, begun, joined):
        latest = [max(self.hard.get(tag, 0), self.soft.get(tag, (0, 0))[0]) for tag in tags or ()]
        return joined > begun and any(serial > begun for serial in latest)  # unsure when it was after `joined` too
