"""Several processes that build ahead: one of them builds, all serve it, and a kill in the middle costs nothing but time."""

import random

import pytest

from ahead_workers import Builder, builders, calls, change
from samovar import Freshness
from support import until

pytestmark = pytest.mark.slow
KEYS = ["tea", "film", "salt"]


@pytest.fixture(params=["file", "redis"])
def where(request):
    """What the processes share: a FileLease, or a cluster."""
    if request.param == "file":
        return {}
    return {"url": request.getfixturevalue("redis_server").url}


def test_processes_that_start_together_build_each_result_once(where, tmp_path):
    with builders(tmp_path, 3, keys=KEYS, every="1h", **where) as all_of_them:
        for one in all_of_them:
            one("start")
        for one in all_of_them:
            assert one("rest") and one("read_all") == [1, 1, 1]
        assert sorted(key for key, _, _ in calls(tmp_path)) == sorted(KEYS)


def test_one_of_several_processes_builds_each_time(where, tmp_path):
    every = 0.5
    with builders(tmp_path, 3, keys=KEYS, every=every, **where) as all_of_them:
        for one in all_of_them:
            one("start")
        until(lambda: len(calls(tmp_path)) >= 12)
        change(tmp_path, 2)
        for one in all_of_them:
            until(lambda: one("read_all") == [2, 2, 2])
        for one in all_of_them:
            assert one("stop") and one("failing") == 0
        for key in KEYS:
            moments = sorted(moment for called, _, moment in calls(tmp_path) if called == key)
            # Alone each of the three would build as often: three times as many.
            assert len(moments) <= 1.5 * (moments[-1] - moments[0]) / every + 2


def test_process_that_is_killed_while_it_builds_loses_nothing_and_shows_nothing_half(where, tmp_path):
    with builders(tmp_path, 3, keys=KEYS, every="1h", **where) as (victim, other, reader):
        for one in (victim, other, reader):
            one("start")
            assert one("rest")
        change(tmp_path, 2)
        victim("hold")
        began = len(calls(tmp_path))
        victim("touch", "tea")
        until(lambda: len(calls(tmp_path)) == began + 1)
        assert other("read", "tea") == 1 and victim("read", "tea") == 1
        victim.kill()
        assert (other("read", "tea"), reader("read", "tea")) == (1, 1)  # the last good result
        other("touch", "tea")  # ... which another one builds anew, after the dead one's lease
        assert other("rest") and other("read", "tea") == 2
        assert other("read_all") == [2, 1, 1] and other("failing") == 0
        assert len(calls(tmp_path)) == began + 2 and len(calls(tmp_path, "end")) == began + 1


def test_delete_holds_in_every_process_though_the_one_that_was_told_dies_and_a_touch_does_not(redis_server, tmp_path):
    with builders(tmp_path, 2, keys=KEYS, every=None, url=redis_server.url) as (victim, other):
        for one in (victim, other):
            one("start")
            assert one("rest")
        change(tmp_path, 2)
        victim("hold")
        began = len(calls(tmp_path))
        assert victim("delete", "tea") and victim("touch", "film")
        until(lambda: len(calls(tmp_path)) == began + 2)  # it is at both
        victim.kill()
        assert other("read_all") == [2, 1, 1]  # who reads what was deleted builds it, after the dead one's lease
        assert len(calls(tmp_path)) == began + 3


def test_process_that_is_killed_at_work_is_replaced_by_another_that_builds_on_time(where, tmp_path):
    fresh = Freshness(ttl=60, stale_if_error=60)  # however slow the machine is, nobody finds it gone
    with builders(tmp_path, 2, keys=["tea"], every=0.5, fresh=fresh, **where) as pair:
        for one in pair:
            one("start")
            assert one("read", "tea") == 1
            one("hold")
        until(lambda: len(calls(tmp_path)) > len(calls(tmp_path, "end")))
        _, at_work, _ = calls(tmp_path)[-1]
        victim, other = pair if pair[0].pid == at_work else pair[::-1]
        change(tmp_path, 2)
        victim.kill()
        other("go")
        seen = []

        def is_new():
            seen.append(other("read", "tea"))
            return seen[-1] == 2

        until(is_new)
        assert seen == sorted(seen)  # never back, never half


def test_new_process_serves_what_the_old_ones_built(redis_server, tmp_path):
    with builders(tmp_path, 1, keys=KEYS, every="1h", url=redis_server.url) as (old,):
        old("start")
        assert old("rest")
        old.kill()
        built = len(calls(tmp_path))
        with builders(tmp_path, 1, keys=KEYS, every="1h", url=redis_server.url) as (new,):
            assert new("read_all") == [1, 1, 1]
            new("start")
            assert new("rest") and new("read_all") == [1, 1, 1] and len(calls(tmp_path)) == built


def test_builders_that_are_killed_again_and_again_show_no_reader_anything_older(redis_server, tmp_path):
    how = {"keys": KEYS, "every": 0.05, "fresh": Freshness(ttl=60, stale_if_error=60), "url": redis_server.url}
    chance = random.Random(7)
    with builders(tmp_path, 3, **how) as made:
        reader, *pair = made
        for one in pair:
            one("start")
        until(lambda: len(calls(tmp_path, "end")) >= len(KEYS))
        seen = [[0] * len(KEYS)]

        def read(version):
            seen.append(reader("read_all"))
            assert all(new >= old for old, new in zip(seen[-2], seen[-1])), seen[-2:]
            return seen[-1] == [version] * len(KEYS)

        for version in range(2, 6):
            victim = pair.pop(chance.randrange(2))
            began = len(calls(tmp_path))
            change(tmp_path, version)
            until(lambda: len(calls(tmp_path)) >= began + chance.randrange(4))  # wherever it is just now
            victim.kill()
            until(lambda: read(version))  # the other one goes on
            made.append(Builder(tmp_path, **how))
            made[-1]("start")
            pair.append(made[-1])
        for one in pair:
            one.kill()
        assert reader("read_all") == [5] * len(KEYS)
        reader_alone = [pid for _, pid, _ in calls(tmp_path)].count(reader.pid)
        assert reader_alone == 0  # it never had to load
