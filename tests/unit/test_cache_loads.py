"""The verbs of `Cache` that load: one key or many, blocking or awaited, with a factory or with the cache's own loader."""

import asyncio
import threading

import pytest

from samovar import Cache, LoadContext, LoadTimeout, ManualClock
from samovar._base.freshness import Freshness
from support import run_async, together, wait_for


class Origin:
    """Called with a key, it answers anew each time, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, key):
        self.asked.append(key)
        if isinstance(key, str) and key.startswith("bad"):
            raise LookupError(key)
        return [key]

    async def later(self, key):
        await asyncio.sleep(0)
        return self(key)


@pytest.fixture
def origin():
    return Origin()


# ------------------------------------------------------------------ one key

def test_cache_get_or_set_loads_once_and_keeps(origin):
    cache = Cache()
    first = cache.get_or_set("tea", lambda: origin("tea"))
    assert cache.get_or_set("tea", lambda: origin("tea")) is cache["tea"] is first and origin.asked == ["tea"]


def test_cache_get_or_set_takes_its_factory_by_name(origin):
    cache = Cache()
    assert cache.get_or_set("tea", factory=lambda: 1) == cache.get_or_set("tea", factory=list) == 1
    assert run_async(awaited(cache.aget_or_set("mate", factory=lambda: 2))) == 2


async def awaited(awaitable):
    return await awaitable


def test_cache_get_or_set_keeps_nothing_when_the_factory_raises(origin):
    cache = Cache()
    for _ in range(2):
        with pytest.raises(LookupError, match="bad"):
            cache.get_or_set("bad", lambda: origin("bad"))
    assert origin.asked == ["bad", "bad"] and not cache


def test_cache_get_or_set_loads_once_for_threads_and_tasks(origin):
    cache, begun, go = Cache(), threading.Event(), threading.Event()

    def load():
        begun.set()
        wait_for(go)
        return origin("tea")

    def follow():
        wait_for(begun)
        return run_async(ask_all())

    async def ask_all():
        asked = [asyncio.ensure_future(awaited(cache.aget_or_set("tea", lambda: origin("tea")))) for _ in range(5)]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*asked)

    first, others = together(lambda: cache.get_or_set("tea", load), follow)
    assert all(other is first for other in others) and origin.asked == ["tea"]
    stats = cache.stats()
    assert stats.loads == 1 and stats.misses + stats.hits == 6


def test_cache_load_context_says_how_the_result_is_kept():
    clock = ManualClock()
    cache = Cache(ttl=100, maxweight=10, clock=clock)

    def load(context: LoadContext):
        assert context.key == "tea" and not context.has_stale
        context.ttl, context.tags, context.weight = "5s", ["green"], 3
        return "hot"

    assert cache.get_or_set("tea", load, ttl=50, tags="black", weight=4) == "hot" and cache.stats().weight == 3
    clock.advance(5)
    assert "tea" not in cache
    cache.get_or_set("tea", load)
    cache.invalidate_tags("black")
    assert "tea" in cache
    cache.invalidate_tags("green")
    assert "tea" not in cache


@pytest.mark.parametrize("word, value, error, said", [
    ("ttl", 0, ValueError, "LoadContext: ttl must be more than 0"),
    ("fresh", 5, TypeError, "LoadContext: fresh must be a Freshness"),
    ("tags", 5, TypeError, "LoadContext: tags must be a text"),
    ("tags", [5], TypeError, "LoadContext: tags must be texts, and 5 is none"),
    ("weight", 0, ValueError, "LoadContext: weight must be an integer of 1 or more, not 0"),
    ("weight", "1", TypeError, "LoadContext: weight must be an integer of 1 or more, not '1'"),
])
def test_cache_load_context_refuses_a_bad_word_where_it_is_said(word, value, error, said):
    cache = Cache()
    with pytest.raises(error, match=said):
        cache.get_or_set("tea", lambda context: setattr(context, word, value))
    assert not cache and cache.stats().failures == 1


def test_cache_load_context_knows_no_old_value_where_there_is_none():
    with pytest.raises(LookupError, match="there is no old value of 'tea'"):
        Cache().get_or_set("tea", lambda context: context.not_modified())


def test_cache_load_context_stores_nothing_when_told_so():
    cache = Cache()

    def load(context):
        context.do_not_store()
        return "cold"

    assert cache.get_or_set("tea", load) == "cold" and "tea" not in cache and cache.stats().failures == 0


def test_cache_load_context_renews_what_is_not_modified():
    clock, told = ManualClock(), []
    cache = Cache(fresh=Freshness(ttl=10, stale_if_error=100), clock=clock, on_remove=lambda *one: told.append(one))
    cache["tea"] = value = ["hot"]
    clock.advance(15)
    assert cache.get_or_set("tea", lambda context: context.not_modified()) is value
    clock.advance(9)
    assert cache["tea"] is value and told == []


def test_cache_keeps_tags_and_weight_of_what_is_not_modified():
    clock = ManualClock()
    cache = Cache(maxweight=10, fresh=Freshness(ttl=10, stale_if_error=100), clock=clock)
    cache.set("tea", "hot", tags="drinks", weight=7)
    clock.advance(15)
    assert cache.get_or_set("tea", lambda context: context.not_modified()) == "hot"
    assert "tea" in cache and cache.stats().weight == 7
    cache.invalidate_tags("drinks")
    assert "tea" not in cache


@pytest.mark.parametrize("options, error, said", [
    ({"ttl": 0}, ValueError, "get_or_set: ttl must be more than 0"),
    ({"fresh": 5}, TypeError, "get_or_set: fresh must be a Freshness"),
    ({"tags": 5}, TypeError, "get_or_set: tags must be a text"),
    ({"weight": 0}, ValueError, "get_or_set: weight must be an integer of 1 or more"),
    ({"hard_timeout": -1}, ValueError, "hard_timeout must be"),
    ({"soft_timeout": "soon"}, ValueError, "soft_timeout must be"),
    ({"tll": 5}, TypeError, r"^a?get_or_set\(\) got an unexpected keyword argument 'tll'"),
])
def test_cache_get_or_set_refuses_a_bad_option_by_name(options, error, said, origin):
    cache = Cache()
    with pytest.raises(error, match=said):
        cache.get_or_set("tea", lambda: origin("tea"), **options)
    with pytest.raises(error, match=said):
        run_async(awaited(cache.aget_or_set("tea", lambda: origin("tea"), **options)))
    assert not cache and not origin.asked


@pytest.mark.parametrize("factory", [None, 3, "tea"])
def test_cache_get_or_set_refuses_a_factory_that_cannot_be_called(factory):
    with pytest.raises(TypeError, match="factory must be callable"):
        Cache().get_or_set("tea", factory)


def test_cache_get_or_set_says_which_verb_takes_an_async_factory(origin):
    with pytest.raises(TypeError, match="aget_or_set"):
        Cache().get_or_set("tea", origin.later)


def test_cache_hard_timeout_lets_the_caller_go_and_the_load_go_on():
    clock_stands, cache = threading.Event(), Cache()

    def load():
        wait_for(clock_stands)
        return "hot"

    with pytest.raises(LoadTimeout):
        cache.get_or_set("tea", load, hard_timeout=0.01)
    clock_stands.set()
    assert cache.get_or_set("tea", lambda: "hot") == "hot" and cache.stats().loads <= 2


# ------------------------------------------------------------------ the cache's own loader

def test_cache_loader_is_asked_with_the_key(origin):
    cache = Cache(loader=origin)
    assert cache.get_or_load("tea") is cache.get_or_load("tea") and origin.asked == ["tea"]
    assert cache.get_or_load("mate", ttl=5, tags="x") == ["mate"]
    cache.invalidate_tags("x")
    assert "mate" not in cache and "tea" in cache
    assert run_async(cache.aget_or_load("tea")) == ["tea"]


def test_cache_loader_may_be_async(origin):
    cache = Cache(loader=origin.later)

    async def ask():
        both = await asyncio.gather(cache.aget_or_load("tea"), cache.aget_or_load("tea"))
        assert both[0] is both[1] is await cache.aget_or_load("tea")
        assert await cache.arefresh("tea") is not both[0]
        return await cache.awarm(["tea", "mate"])

    assert run_async(ask()) == (1, 1, 0, 0) and origin.asked == ["tea", "tea", "mate"]
    with pytest.raises(TypeError, match="async"):
        cache.get_or_load("milk")


def test_cache_loader_may_ask_for_the_context():
    clock = ManualClock()

    def load(key, context):
        context.ttl = len(key)
        return key

    cache = Cache(loader=load, clock=clock)
    assert cache.get_or_load("tea") == "tea"
    clock.advance(3)
    assert "tea" not in cache


@pytest.mark.parametrize("verb", ["get_or_load", "refresh", "warm"])
def test_cache_without_a_loader_says_so(verb):
    with pytest.raises(TypeError, match=rf"{verb}: this cache has no loader; give one to the call, or to Cache\(loader="):
        getattr(Cache(), verb)("k")
    with pytest.raises(TypeError, match="this cache has no loader"):
        run_async(getattr(Cache(), f"a{verb}" if verb != "get_or_load" else "aget_or_load")("k"))


# ------------------------------------------------------------------ refresh

def test_cache_refresh_loads_whatever_is_stored(origin):
    cache = Cache(loader=origin)
    first = cache.refresh("tea")
    assert cache["tea"] is first
    second = cache.refresh("tea")
    assert cache["tea"] is second is not first
    assert cache.refresh("tea", lambda: "given") == cache["tea"] == "given"
    assert run_async(cache.arefresh("tea", lambda: "later")) == cache["tea"] == "later"
    assert cache.stats().loads == 4 and cache.stats().misses == 0


def test_cache_refresh_that_fails_leaves_what_was_stored(origin):
    cache = Cache(loader=origin)
    cache["bad"] = "old"
    with pytest.raises(LookupError, match="bad"):
        cache.refresh("bad")
    with pytest.raises(LookupError, match="bad"):
        run_async(cache.arefresh("bad"))
    assert cache["bad"] == "old" and cache.stats().failures == 2


def test_cache_refresh_takes_the_options_of_set():
    clock = ManualClock()
    cache = Cache(loader=len, clock=clock)
    cache.refresh("tea", ttl=5, tags="x")
    cache.refresh("mate", tags="x")
    clock.advance(5)
    assert list(cache) == ["mate"]
    cache.invalidate_tags("x")
    assert not cache
    with pytest.raises(ValueError, match="refresh: ttl must be more than 0"):
        cache.refresh("tea", ttl=0)


# ------------------------------------------------------------------ many

def test_cache_get_or_set_many_loads_what_is_missing_with_one_call(origin):
    cache = Cache()
    cache["b"] = "kept"

    def load(keys):
        origin.asked.append(keys)
        return {key: key * 2 for key in reversed(keys)}

    assert list(cache.get_or_set_many(["c", "b", "a", "c"], load).items()) == [("c", "cc"), ("b", "kept"), ("a", "aa")]
    assert origin.asked == [["c", "a"]] and dict(cache) == {"a": "aa", "b": "kept", "c": "cc"}
    assert cache.get_or_set_many("abc", load) and len(origin.asked) == 1
    assert cache.get_or_set_many([], load) == {} and len(origin.asked) == 1


def test_cache_get_or_set_many_says_what_the_factory_left_out():
    cache = Cache()
    with pytest.raises(KeyError, match="b"):
        cache.get_or_set_many("ab", lambda keys: {"a": 1})
    assert cache.get_or_set_many("ab", lambda keys: {}, default=None) in ({"a": 1, "b": None}, {"a": None, "b": None})
    assert "b" not in cache


def test_cache_aget_or_set_many_awaits_the_factory(origin):
    cache = Cache()

    async def load(keys):
        await asyncio.sleep(0)
        return {key: origin(key) for key in keys}

    async def ask():
        return await asyncio.gather(cache.aget_or_set_many("ab", load), cache.aget_or_set_many("bc", load, ttl=5))

    first, second = run_async(ask())
    assert list(first) == ["a", "b"] and list(second) == ["b", "c"] and first["b"] is second["b"]
    assert sorted(origin.asked) == ["a", "b", "c"]


def test_cache_warm_loads_what_is_missing_and_counts(origin):
    cache, heard = Cache(loader=origin), []
    cache["tea"] = "kept"
    warmed = cache.warm(["tea", "mate", "bad", "milk"], concurrency=2, progress=lambda *count: heard.append(count))
    assert warmed == (2, 1, 1, 0) and (warmed.loaded, warmed.present, warmed.failed) == (2, 1, 1)
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(origin.asked) == ["bad", "mate", "milk"] and cache["tea"] == "kept" and cache["milk"] == ["milk"]
    assert cache.warm(iter(["salt"]), len, ttl=5, tags="x") == (1, 0, 0, 0) and cache["salt"] == 4


@pytest.mark.parametrize("options, error, said", [
    ({"concurrency": 0}, ValueError, "warm: concurrency must be"),
    ({"concurrency": "many"}, TypeError, "warm: concurrency must be an integer"),
    ({"progress": 3}, TypeError, "warm: progress must be callable or None, not 3"),
    ({"ttl": 0}, ValueError, "warm: ttl must be more than 0"),
    ({"loader": 3}, TypeError, "warm: loader must be callable"),
])
def test_cache_warm_refuses_a_bad_argument_by_name(options, error, said, origin):
    cache = Cache(loader=origin)
    with pytest.raises(error, match=said):
        cache.warm(["tea"], **options)
    with pytest.raises(error, match=f"a{said}"):
        run_async(cache.awarm(["tea"], **options))
    assert not origin.asked
