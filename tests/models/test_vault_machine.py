"""A vault beside a dict that is obviously right: what is purged is gone or stale, what was purged while it was fetched is
not stored, and nothing else is lost.

A purge fences off by groups of keys and tags, so one that has nothing to do with a change may refuse it; one that has must,
and where there was none nothing is refused.
"""

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, consumes, Bundle, initialize, invariant, rule
from hypothesis.strategies import booleans, floats, frozensets, sampled_from

from samovar import Cache, ManualClock
from samovar.edge.rules import Entry
from samovar.edge.exchange.vault import CacheVault

KEYS = [b"http://h/a", b"http://h/a\nx:1", b"http://h/a\nx:2", b"http://h/b"]
TAGS = ["red", "green", "blue"]
NAMES = sampled_from(TAGS)


def run(coroutine):
    """The result of what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def plain(key):
    return key.partition(b"\n")[0]


class VaultMachine(RuleBasedStateMachine):
    fences = Bundle("fences")

    @initialize()
    def begin(self):
        self.clock = ManualClock(1e9)
        self.cache = Cache(clock=self.clock)
        self.vault = CacheVault(self.cache, self.clock, keyed=True)
        self.model = {}  # key -> {variant: [born, fresh, end, tags, name]}
        self.purges = []  # what each took out: ("key", plain key), ("tag", name) or ("all",)
        self.made = 0

    # ---------------------------------------------------------------- fetches

    @rule(target=fences, key=sampled_from(KEYS))
    def fence(self, key):
        return key, run(self.vault.fence(key)), len(self.purges)

    @rule(fence=consumes(fences), variant=sampled_from([b"de", b"en"]), tags=frozensets(NAMES), fresh=sampled_from([5, 60]))
    def store(self, fence, variant, tags, fresh):
        key, token, since = fence
        self.made += 1
        now, name = self.clock(), b"%d" % self.made
        entry = Entry(key=key, status=200, reason=b"OK", fields=((b"x", name),), vary=(b"accept-language",),
                      varied=(variant,), born=now, received=now + self.made, date=int(now), fresh=fresh,
                      revalidate=fresh + 30, error=fresh + 30, strict=False, immutable=False, etag=None, modified=None,
                      tags=tuple(sorted(tags)), declared=None, length=None)
        assert entry.complete(name, len(name))
        before = {at: about for at, about in self.model.get(key, {}).items() if now < about[2]}
        after = {**before, variant: [now, fresh, now + fresh + 30, tags, name]}
        carried = frozenset().union(*(about[3] for about in after.values()))
        stored = run(self.vault.change(key, token, lambda variants: variants.stored(entry, 32)))
        missed = self.purges[since:]
        if any(one == ("all",) or one == ("key", plain(key)) or (one[0] == "tag" and one[1] in carried) for one in missed):
            assert not stored, "a purge was overtaken"
        if not missed:
            assert stored, "nothing stood against it"
        if stored:
            self.model[key] = after

    @rule(fence=consumes(fences))
    def give_up(self, fence):
        self.vault.release(fence[1])

    # ---------------------------------------------------------------- purges

    def took(self, what, soft, keys):
        self.purges.append(what)
        now = self.clock()
        for key in [key for key in self.model if keys(key, self.model[key])]:
            if soft:
                for about in self.model[key].values():
                    if now - about[0] < about[1]:
                        about[1], about[2] = int(now - about[0]), about[0] + int(now - about[0]) + 30
            else:
                del self.model[key]

    @rule(key=sampled_from(KEYS), soft=booleans())
    def purge_url(self, key, soft):
        run(self.vault.purge(urls=[key], soft=soft))
        everybody = b"\n" not in key
        self.took(("key", plain(key)), soft, lambda one, _: plain(one) == key if everybody else one == key)

    @rule(key=sampled_from(KEYS))
    def drop(self, key):
        run(self.vault.drop([plain(key)]))
        self.took(("key", plain(key)), False, lambda one, _: plain(one) == plain(key))

    @rule(tag=NAMES, soft=booleans(), owner=booleans())
    def purge_tag(self, tag, soft, owner):
        if owner:
            self.cache.invalidate_tags(tag, soft=soft)
        else:
            run(self.vault.purge(tags=[tag], soft=soft))
        self.took(("tag", tag), soft, lambda _, stored: any(tag in about[3] for about in stored.values()))

    @rule(soft=booleans())
    def purge_everything(self, soft):
        run(self.vault.purge(everything=True, soft=soft))
        self.took(("all",), soft, lambda *_: True)

    @rule()
    def owner_clears(self):
        self.cache.clear()
        self.took(("all",), False, lambda *_: True)

    # ---------------------------------------------------------------- time, and what is there

    @rule(by=floats(0.5, 40))
    def pass_time(self, by):
        self.clock.advance(by)

    @invariant()
    def holds_what_the_dict_holds(self):
        now = self.clock()
        for key in KEYS:
            variants = self.vault.peek(key)
            there = {entry.varied[0]: (entry.body, now - entry.born < entry.fresh) for entry in variants or ()
                     if now < entry.born + entry.keep}
            wanted = {at: (about[4], now - about[0] < about[1]) for at, about in self.model.get(key, {}).items()
                      if now < about[2]}
            assert there == wanted, key


TestVault = VaultMachine.TestCase
TestVault.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
