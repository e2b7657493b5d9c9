"""Random histories of what is built ahead: the queues decide as looking at every key does, and no touch is lost."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from samovar.edge.precompute.schedule import BUILD, BUILDING, READY, ROUND, WAIT, WAITING, Schedule
from twins.schedule import ScheduleTwin

KEYS = st.sampled_from("abcdef")
SOME_KEYS = st.one_of(st.lists(KEYS, unique=True), st.just(list("fbadce")))
TAGS = st.lists(st.sampled_from(["x", "y"]), unique=True).map(tuple)


class Ahead(RuleBasedStateMachine):
    @initialize(every=st.sampled_from([4.0, 300.0, math.inf]), concurrency=st.integers(1, 3), asks=st.booleans())
    def begin(self, every, concurrency, asks):
        self.now, self.every = 0.0, every
        self.ours = Schedule(every, concurrency, lambda: 0.5, asks=asks)
        self.twin = ScheduleTwin(every, concurrency, asks)
        self.asked = False
        self.owed = {}  # key -> whether the build under way began after the last touch; None: no build has begun since
        self.somebody_asks_what_to_do()
        self.keys_are_told(list("fbadce"))

    def building(self):
        return [job for job in self.ours.jobs.values() if job.state == BUILDING]

    def of(self, data):
        return data.draw(st.sampled_from(sorted(self.ours.jobs)))

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 4.0, 50.0, 400.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(times=st.integers(1, 4))
    def runners_look(self, times):
        for _ in range(times):
            self.somebody_asks_what_to_do()

    def somebody_asks_what_to_do(self):
        kind, about = self.ours.next(self.now)
        theirs = self.twin.next(self.now)
        assert theirs == {BUILD: getattr(about, "key", None), ROUND: "round", WAIT: about}[kind]
        if kind == ROUND:
            self.asked = True
        if kind == BUILD and about.key in self.owed:
            self.owed[about.key] = True

    @precondition(lambda self: self.asked)
    @rule(keys=SOME_KEYS)
    def runners_tell_keys(self, keys):
        self.keys_are_told(keys)

    def keys_are_told(self, keys):
        self.asked = False
        self.ours.keys(keys, self.now)
        self.twin.keys(keys, self.now)
        self.owed = {key: began for key, began in self.owed.items() if key in keys}

    @precondition(lambda self: self.asked)
    @rule()
    def asking_for_keys_fails(self):
        self.asked = False
        self.ours.round_failed(self.now, OSError())
        self.twin.round_failed(self.now)

    @precondition(lambda self: self.building())
    @rule(data=st.data(), how=st.sampled_from(["built", "built", "failed", "lost", "busy", "released"]))
    def a_build_ends(self, data, how):
        job = data.draw(st.sampled_from(sorted(self.building(), key=lambda job: job.key)))
        if how == "built":
            self.ours.built(job, self.now, job.began)
            self.twin.built(job.key, self.now, job.began)
            if self.owed.get(job.key):
                del self.owed[job.key]
        else:
            verb = getattr(self.ours, how)
            verb(job, self.now, *{"failed": [OSError()], "lost": [OSError()], "busy": [2.0], "released": []}[how])
            self.twin.missed(job.key, self.now, how, 2.0)
            if job.key in self.owed:
                self.owed[job.key] = None

    @rule(key=KEYS)
    def somebody_touches(self, key):
        known = self.ours.touch(key, self.now)
        assert known == self.twin.touch(key, self.now)
        if known:
            self.owed[key] = None

    @rule(tag=st.sampled_from(["x", "y"]))
    def somebody_touches_a_tag(self, tag):
        touched = [key for key, job in self.ours.jobs.items() if tag in job.tags and not job.gone]
        assert self.ours.touch_tags([tag], self.now) == self.twin.touch_tag(tag, self.now) == len(touched)
        self.owed.update(dict.fromkeys(touched))

    @precondition(lambda self: self.ours.jobs)
    @rule(data=st.data(), tags=TAGS)
    def a_key_gets_tags(self, data, tags):
        key = self.of(data)
        self.ours.tag(self.ours.jobs[key], tags)
        self.twin.keys_now[key]["tags"] = tags

    @precondition(lambda self: self.ours.jobs)
    @rule(data=st.data(), times=st.integers(1, 5))
    def somebody_reads(self, data, times):
        key = self.of(data)
        self.ours.jobs[key].reads += times
        self.twin.keys_now[key]["reads"] += times

    @precondition(lambda self: self.ours.jobs)
    @rule(data=st.data(), well=st.booleans())
    def a_reader_loads(self, data, well):
        key = self.of(data)
        if well:
            self.ours.noted(self.ours.jobs[key], self.now, self.now)
            self.twin.noted(key, self.now, self.now)
        else:
            self.ours.read_failed(self.ours.jobs[key], self.now, OSError())
            self.twin.read_failed(key, self.now)

    @rule(drains=st.booleans())
    def runners_end_or_begin(self, drains):
        if drains:
            self.ours.drain(self.now)
            self.twin.ripen(self.now)
            self.twin.ends = self.now
        else:
            self.ours.begin(self.now)
            self.twin.ends, self.twin.round_due = math.inf, self.now

    @rule()
    def the_process_forks(self):
        for job in self.building():
            self.twin.missed(job.key, job.began, "released")
            if job.key in self.owed:
                self.owed[job.key] = None
        for job in self.twin.of(READY):
            self.twin.ready(job, job["due"])
        self.ours.forget()
        self.twin.asking = self.asked = False

    @invariant()
    def both_stand_alike(self):
        if not hasattr(self, "ours"):
            return
        assert list(self.ours.jobs) == list(self.twin.keys_now)
        for key, job in self.ours.jobs.items():
            twin = self.twin.keys_now[key]
            assert {name: getattr(job, name) for name in ("state", "due", "touched", "again", "failures", "reads", "gone")} \
                == {name: twin[name] for name in ("state", "due", "touched", "again", "failures", "reads", "gone")}
        assert self.ours.queued == len(self.twin.of(READY)) and self.ours.building == len(self.twin.of(BUILDING))
        assert self.ours.building <= self.ours.concurrency

    @invariant()
    def no_touch_is_lost(self):
        for key, began_after in getattr(self, "owed", {}).items():
            job = self.ours.jobs[key]
            assert job.touched or job.again or (began_after and job.state == BUILDING and job.forced)

    @invariant()
    def dead_entries_are_bounded(self):
        if hasattr(self, "ours"):
            for heap in (self.ours._waiting, self.ours._ready, self.ours._oldest):
                assert len(heap) <= 66 + 3 * 6

    def teardown(self):
        """When everything goes well from now on, everything touched is built."""
        if not hasattr(self, "ours"):
            return
        self.ours.begin(self.now)
        for job in self.building():
            self.ours.built(job, self.now, job.began)
            if self.owed.get(job.key):
                del self.owed[job.key]
        asked = self.ours._asking
        for _ in range(200):
            kind, about = (ROUND, None) if asked else self.ours.next(self.now)
            asked = False
            if kind == ROUND:
                self.ours.keys(list(self.ours.jobs), self.now)
            elif kind == BUILD:
                self.owed.pop(about.key, None)
                self.ours.built(about, self.now, self.now)
            elif self.owed:
                assert about < math.inf
                self.now += about
        assert not self.owed and not [job for job in self.ours.jobs.values() if job.touched and job.state == WAITING]


Ahead.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestAhead = Ahead.TestCase


def test_key_that_goes_and_comes_back_while_it_is_built_is_built_again():
    schedule = Schedule(10.0, 1, lambda: 0.5, asks=True)
    schedule.next(0.0)
    schedule.keys(["tea"], 0.0)
    job = schedule.next(0.0)[1]
    schedule.keys([], 1.0)
    schedule.keys(["tea"], 2.0)
    schedule.built(job, 3.0, 0.0)
    assert schedule.next(3.0) == (BUILD, job)


def test_keys_that_nobody_reads_do_not_starve():
    schedule, now = Schedule(10.0, 1, lambda: 0.5), 0.0
    schedule.next(now)
    schedule.keys(["hot", "warm", "cold"], now)
    built = []
    for _ in range(40):  # each build takes as long as a third of what all of them may take together
        kind, job = schedule.next(now)
        assert kind == BUILD
        built.append(job.key)
        schedule.jobs["hot"].reads += 100
        schedule.jobs["warm"].reads += 10
        now += 10.0
        schedule.built(job, now, job.began)
    assert set(built[-4:]) == {"hot", "warm", "cold"}
    assert min(map(built.count, ("hot", "warm", "cold"))) >= 10


def test_touch_of_a_key_again_and_again_leaves_nothing_behind():
    schedule = Schedule(3600.0, 1, lambda: 0.5)
    schedule.next(0.0)
    schedule.keys(["first", "tea"], 0.0)
    for moment in (0.0, 1.0):
        schedule.built(schedule.next(moment)[1], moment, moment)
    for moment in range(1000, 6000):
        schedule.touch("tea", moment / 1000)
        kind, job = schedule.next(moment / 1000)
        assert kind == BUILD
        schedule.built(job, moment / 1000, moment / 1000)
    assert all(len(heap) < 100 for heap in (schedule._waiting, schedule._ready, schedule._oldest))
