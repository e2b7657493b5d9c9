"""`warm` and `awarm`: what is missing is loaded at a pace, an origin that is busy is waited for, an interruption is gone on
from, and other stores than a Cache can be warmed."""

import asyncio
import contextvars
import io
import sys
import threading

import pytest

from samovar import Cache, OriginBudget, OriginBusy, SamovarError, SnapshotError, awarm, warm
from samovar.app import warming
from samovar.herd import journal, progress
from samovar.herd.journal import Journal
from support import run_async, together, wait_for


def Busy(retry_after):
    return OriginBusy("busy", retry_after)


class Shelf:
    """A store of another kind, which outlives the process: what a cluster is."""

    def __init__(self, stored=()):
        self.stored, self.options = dict.fromkeys(stored, "there"), []

    def peek(self, key, default=None):
        return self.stored.get(key, default)

    def get_or_set(self, key, factory, **options):
        self.options.append(options)
        if key not in self.stored:
            self.stored[key] = factory()
        return self.stored[key]


class AsyncShelf(Shelf):
    async def peek(self, key, default=None):
        return super().peek(key, default)

    async def get_or_set(self, key, factory, **options):
        self.options.append(options)
        self.stored[key] = await factory()
        return self.stored[key]


class Time:
    """A clock that sleepers move."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def apass_by(self, seconds):
        self.pass_by(seconds)
        await asyncio.sleep(0)


def warm_in(cache, keys, loader=None, **options):
    return warm(cache, keys, loader, **options)


def warm_awaited(cache, keys, loader=None, **options):
    return run_async(awarm(cache, keys, loader, **options))


both = pytest.mark.parametrize("warm_any", [warm_in, warm_awaited])


# ------------------------------------------------------------------ keys and loaders

@both
def test_warm_loads_what_is_missing_with_its_options(warm_any):
    cache, told = Cache(ttl=60), []
    cache["mate"] = "there"
    warmed = warm_any(cache, ["tea", "mate", "bad"], {"tea": 1}.__getitem__, tags="leaf", ttl=5, weight=3,
                      progress=lambda *count: told.append(count))
    assert warmed == (1, 1, 1, 0) and (warmed.failed, warmed.skipped) == (1, 0)
    assert told == [(1, 3), (2, 3), (3, 3)]
    [entry] = [entry for entry in cache._entries() if entry[0] == "tea"]
    assert entry[2] <= 5 and entry[3] == ("leaf",)


@both
def test_warm_uses_the_loader_of_the_cache(warm_any):
    assert warm_any(Cache(loader=str.upper), ["tea"], progress=False) == (1, 0, 0, 0)


def test_warm_fills_another_store():
    shelf = Shelf(["mate"])
    assert warm(shelf, ["tea", "mate"], str.upper, ttl=5) == (1, 1, 0, 0)
    assert shelf.stored == {"tea": "TEA", "mate": "there"} and shelf.options == [{"ttl": 5}]


def test_awarm_fills_an_async_store():
    async def load(key):
        return key.upper()

    shelf = AsyncShelf(["mate"])
    assert run_async(awarm(shelf, ["tea", "mate"], load)) == (1, 1, 0, 0)
    assert shelf.stored == {"tea": "TEA", "mate": "there"}


def test_warm_asks_another_store_for_its_own_loader():
    class Loading(Shelf):
        def get_or_load(self, key, **options):
            return self.get_or_set(key, lambda: "own", **options)

    shelf = Loading()
    assert warm(shelf, ["tea"]) == (1, 0, 0, 0) and shelf.stored == {"tea": "own"}


@pytest.mark.parametrize("options, error, said", [
    ({"concurrency": 0}, ValueError, "concurrency must be"),
    ({"rate": 0}, ValueError, "rate must be more than 0 and finite"),
    ({"rate": float("inf")}, ValueError, "rate must be more than 0 and finite"),
    ({"rate": float("nan")}, ValueError, "rate must be more than 0 and finite"),
    ({"rate": "fast"}, TypeError, "rate must be a number of loads per second"),
    ({"rate": True}, TypeError, "rate must be a number of loads per second"),
    ({"progress": 3}, TypeError, "progress must be callable, True, False or None, not 3"),
    ({"resume": 3}, TypeError, "resume: path must be a str"),
    ({"ttl": 0}, ValueError, "ttl must be more than 0"),
    ({"loader": 3}, TypeError, "loader must be callable"),
    ({"loader": None}, TypeError, "no loader"),
    ({"keys": 3}, TypeError, "keys must be an iterable of keys, not 3"),
    ({"cache": {}}, TypeError, "cache must be a Cache, or have peek"),
    ({"soft_timeout": 3}, TypeError, "soft_timeout"),
])
@both
def test_warm_refuses_a_bad_argument_by_name_and_changes_nothing(warm_any, options, error, said, tmp_path):
    path = tmp_path / "journal"
    given = {"cache": Cache(), "keys": ["tea"], "loader": str.upper, "resume": path} | options
    with pytest.raises(error, match=f"warm: .*{said}"):
        warm_any(**given)
    assert not path.exists() and len(given["cache"]) == 0


@both
def test_warm_refuses_a_rate_of_the_cache_verb_too(warm_any):
    cache = Cache(loader=str.upper)
    with pytest.raises(ValueError, match="warm: rate must be"):
        cache.warm(["tea"], rate=-1)
    with pytest.raises(ValueError, match="warm: rate must be"):
        run_async(cache.awarm(["tea"], rate=-1))
    assert cache.warm(["tea"], rate=1e6) == (1, 0, 0, 0) == warm_any(cache, ["mate"], rate=1e6)


# ------------------------------------------------------------------ pace

def test_pace_gives_moments_at_even_distances_and_saves_none_up():
    pace = warming.Pace(4.0)
    assert [pace.wait_s(10.0) for _ in range(3)] == [0.0, 0.25, 0.5]
    assert pace.wait_s(10.6) == pytest.approx(0.15)
    assert [pace.wait_s(99.0) for _ in range(3)] == [0.0, 0.25, 0.5], "ten idle seconds are not made up for"
    assert warming.Pace(None).wait_s(1.0) == 0.0


@pytest.mark.parametrize("concurrency", [1, 5])
@pytest.mark.parametrize("awaited", [False, True])
def test_warm_never_begins_more_loads_in_a_second_than_its_rate(concurrency, awaited):
    cache, time, begun, keys = Cache(), Time(), [], range(40)
    cache[7] = "there"

    def load(key):
        begun.append(time())
        return key

    if awaited:
        warmed = run_async(warming.adrive(cache, keys, warming.afills(cache, load), concurrency=concurrency, rate=10,
                                          now=time, sleep=time.apass_by))
    else:
        warmed = warming.drive(cache, keys, warming.fills(cache, load), concurrency=concurrency, rate=10, now=time,
                               sleep=time.pass_by)
    assert warmed == (39, 1, 0, 0)
    if concurrency == 1:
        gaps = [later - earlier for earlier, later in zip(begun, begun[1:])]
        assert gaps == pytest.approx([0.1] * 38), "what is there already takes no place"
    assert sum(time.slept) >= 3.8 - 1e-9


def test_warm_that_is_interrupted_while_it_waits_for_its_pace_ends():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warm(Cache(), range(100), str, rate=0.001, progress=stop)


# ------------------------------------------------------------------ an origin that is busy

@pytest.mark.parametrize("awaited", [False, True])
def test_warm_backs_off_from_a_busy_origin_and_tries_again(awaited):
    cache, time, left = Cache(), Time(), [Busy(3.0), Busy(0.0), Busy(0.0)]

    def load(key):
        if left:
            raise left.pop(0)
        return key

    if awaited:
        warmed = run_async(warming.adrive(cache, ["tea"], warming.afills(cache, load), now=time, sleep=time.apass_by))
    else:
        warmed = warming.drive(cache, ["tea"], warming.fills(cache, load), now=time, sleep=time.pass_by)
    assert warmed == (1, 0, 0, 0) and [one for one in time.slept if one] == [3.0, 0.1, 0.2]


def test_warm_gives_up_a_key_whose_origin_stays_busy():
    cache, time = Cache(), Time()

    def load(key):
        raise Busy(0.0)

    assert warming.drive(cache, ["tea"], warming.fills(cache, load), now=time, sleep=time.pass_by) == (0, 0, 1, 0)
    assert len([one for one in time.slept if one]) == warming.TRIES - 1 and max(time.slept) == warming.LONGEST_S


def test_warm_waits_for_a_place_in_the_budget_of_its_origin():
    budget, slept = OriginBudget(1, max_queue=0), []
    cache, place = Cache(budget=budget), contextvars.Context().run(budget.enter)  # by somebody else

    def rest(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            place.leave()

    assert warming.drive(cache, ["tea"], warming.fills(cache, str.upper), sleep=rest) == (1, 0, 0, 0)
    assert len(slept) == 3 and budget.stats().refused_full == 3 and budget.stats().most == 1


def test_pause_is_for_busy_origins_only():
    class Foreign(Exception):
        retry_after = 5.0

    assert warming.pause_s(Foreign(), 1) is None and warming.pause_s(SamovarError(), 1) is None
    assert warming.pause_s(Busy(1e9), 1) == 60.0 and warming.pause_s(Busy(-1.0), 1) == warming.SHORTEST_S


# ------------------------------------------------------------------ the journal

def interrupted(shelf, path, after, warm_any, **options):
    """A warming of 20 keys that ends after so many, as by Ctrl-C; the load that runs then is the last."""
    stopped, load = threading.Event(), options.pop("loader")

    def stop(done, total):
        if done == after:
            stopped.set()
            raise KeyboardInterrupt

    def held(key):
        if key >= after:
            wait_for(stopped)
        return load(key)

    with pytest.raises(KeyboardInterrupt):
        warm_any(shelf, range(20), held, resume=path, concurrency=1, progress=stop, **options)


@both
def test_warm_goes_on_where_an_interruption_stopped_it(warm_any, tmp_path):
    cache, path, asked = Cache(), tmp_path / "journal", []

    def load(key):
        asked.append(key)
        return key

    interrupted(cache, path, 8, warm_any, loader=load)
    done = len(asked)
    assert 8 <= done < 20 and path.exists()
    cache.clear()  # so that only the journal knows
    warmed = warm_any(cache, range(20), load, resume=path)
    assert warmed == (20 - done, 0, 0, done) and sorted(asked) == list(range(20))
    assert not path.exists(), "a warming that came to its end leaves nothing to resume"


def test_warm_tries_again_what_failed_before_the_interruption(tmp_path):
    shelf, path = Shelf(), tmp_path / "journal"

    def load(key):
        if key == 2:
            raise ConnectionError
        return key

    interrupted(shelf, path, 5, warm_in, loader=load)
    warmed = warm(shelf, range(20), str, resume=path)
    assert warmed.failed == 0 and shelf.stored[2] == "2"


@pytest.mark.parametrize("lost", range(1, 60))
def test_journal_survives_a_torn_end(tmp_path, lost):
    path = tmp_path / "journal"
    one = Journal("warm", str(path), is_ours=False, ttl=None)
    for key in ("tea", ("mate", 1), b"salt"):
        one.done(key)
    one.close(remove=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:max(0, len(whole) - lost)])
    two = Journal("warm", str(path), is_ours=False, ttl=None)
    assert two.keys == set(["tea", ("mate", 1), b"salt"][:len(two.keys)]) and len(two.keys) < 3
    two.done("pepper")
    two.close(remove=False)
    three = Journal("warm", str(path), is_ours=False, ttl=None)
    assert three.keys == two.keys | {"pepper"}, "what is written after a torn end is found"
    three.close(remove=True)
    assert not path.exists()


@pytest.mark.parametrize("at", range(8, 40, 3))
def test_journal_believes_nothing_behind_damage(tmp_path, at):
    path = tmp_path / "journal"
    one = Journal("warm", str(path), is_ours=False, ttl=None)
    one.done("tea")
    one.close(remove=False)
    text = bytearray(path.read_bytes())
    text[at] ^= 0x40
    path.write_bytes(text)
    two = Journal("warm", str(path), is_ours=False, ttl=None)
    two.close(remove=False)
    assert two.keys == set()


def test_journal_of_a_process_that_is_gone_counts_only_for_what_outlived_it(tmp_path, monkeypatch):
    path = str(tmp_path / "journal")
    one = Journal("warm", path, is_ours=True, ttl=None)
    one.done("tea")
    one.close(remove=False)
    monkeypatch.setattr(journal, "_origin", b"another process ")
    ours, theirs = (Journal("warm", path, is_ours=is_ours, ttl=None) for is_ours in (True, False))
    assert (ours.keys, theirs.keys) == (set(), {"tea"})
    ours.close(remove=False), theirs.close(remove=False)


def test_journal_forgets_what_has_expired_meanwhile(tmp_path):
    path, now = str(tmp_path / "journal"), [1000.0]
    one = Journal("warm", path, is_ours=True, ttl=60, now=lambda: now[0])
    one.done("tea")
    now[0] += 40
    one.done("mate")
    one.close(remove=False)
    now[0] += 20
    two = Journal("warm", path, is_ours=True, ttl=60, now=lambda: now[0])
    two.close(remove=False)
    assert two.keys == {"mate"}
    now[0] = 0.0  # a wall clock that was set back
    three = Journal("warm", path, is_ours=True, ttl=60, now=lambda: now[0])
    three.close(remove=False)
    assert three.keys == set()


@both
def test_warm_refuses_a_journal_that_is_none_and_leaves_it(warm_any, tmp_path):
    path = tmp_path / "precious.txt"
    path.write_text("my precious text")
    with pytest.raises(SnapshotError, match="warm: .*precious.txt' is not the journal of a warming"):
        warm_any(Cache(), ["tea"], str.upper, resume=path)
    assert path.read_text() == "my precious text"


def test_warm_refuses_to_resume_with_a_key_that_no_journal_can_name(tmp_path):
    with pytest.raises(TypeError, match="warm: resume needs keys that are plain data"):
        warm(Cache(), [object()], repr, resume=tmp_path / "journal")


def test_journal_is_written_by_many_threads(tmp_path):
    path = str(tmp_path / "journal")
    one = Journal("warm", path, is_ours=True, ttl=None)
    together(*[lambda n=n: [one.done((n, i)) for i in range(200)] for n in range(8)])
    one.close(remove=False)
    two = Journal("warm", path, is_ours=True, ttl=None)
    two.close(remove=False)
    assert two.keys == {(n, i) for n in range(8) for i in range(200)}


# ------------------------------------------------------------------ the bar

class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("asked", [None, True])
@both
def test_bar_is_drawn_when_a_person_watches(warm_any, asked, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    warm_any(Cache(), range(250), str, progress=asked)
    shown = terminal.getvalue()
    assert shown.startswith("\rwarming 1 of 250") and shown.endswith("\n") and "warming 250 of 250 (100 %)" in shown


def test_bar_is_richs_where_rich_is_installed(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    warm(Cache(), range(25), str)
    assert "25/25" in terminal.getvalue() and "warming" in terminal.getvalue()


@pytest.mark.parametrize("asked", [None, True, False])
def test_bar_is_not_drawn_when_nobody_watches(asked, monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    warm(Cache(), range(25), str, progress=asked)
    assert file.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)  # pythonw
    warm(Cache(), range(25), str, progress=asked)


def test_bar_line_is_rewritten_a_few_times_a_second():
    terminal, now = Terminal(), [0.0]
    with progress.Line(terminal, lambda: now[0]) as line:
        for done in range(1, 1001):
            now[0] += 0.001
            line(done, 1000)
    assert 8 <= terminal.getvalue().count("\r") <= 14


@pytest.mark.parametrize("args, said", [
    ((250, 1000, 5.0), "warming 250 of 1,000 (25 %), 50 a second, 15 s left"),
    ((1000, 1000, 5.0), "warming 1,000 of 1,000 (100 %), 200 a second"),
    ((3, None, 30.0), "warming 3, one in 10 s"), ((1, 4, 0.0), "warming 1 of 4 (25 %)"),
    ((0, 0, 1.0), "warming 0 of 0 (0 %)"),
])
def test_bar_says_how_far_it_is(args, said):
    assert progress.said(*args) == said


def test_warm_ends_its_threads(tmp_path):
    before = set(threading.enumerate())  # of which some may end meanwhile: those of other tests
    warm(Cache(), range(50), str, resume=tmp_path / "journal")
    assert set(threading.enumerate()) <= before
