"""The laboratory's tools: crowds, the origin and its word, timelines, pictures."""

import asyncio
import random
import signal
import sys

import pytest

from samovar._lab.database import Database
from samovar._lab.findings import said
from samovar._lab.pictures import sparkline
from samovar._lab.reach import Counts, Origin, Refused
from samovar._lab.serving import Measured, busy
from samovar._lab.stale import ages
from samovar._lab.timeline import Timeline, concurrency, histogram, percentile
from samovar._lab.workloads import arrivals, crowd, zipf


def test_arrivals_are_seeded_ordered_and_as_many_as_the_rate_says():
    due = arrivals(1_000, 10, random.Random(1))
    assert due == sorted(due) and 0 < due[0] and due[-1] < 10
    assert due == arrivals(1_000, 10, random.Random(1)) != arrivals(1_000, 10, random.Random(2))
    assert abs(len(due) - 10_000) < 500  # five standard deviations


def test_zipf_asks_for_each_number_as_often_as_its_rank_says():
    keys = zipf(50_000, 100, 1.0, random.Random(1))
    assert set(keys) <= set(range(100))
    assert abs(keys.count(0) / keys.count(1) - 2) < 0.2 and abs(keys.count(0) / keys.count(9) - 10) < 2


def test_crowd_sends_every_caller_once_and_waits_for_all():
    came, gone = [], []

    async def request(number):
        came.append(number)
        await asyncio.sleep(0)
        gone.append(number)

    asyncio.run(crowd([0.0, 0.0, 0.001, 0.002], request))
    assert came == [0, 1, 2, 3] and sorted(gone) == came


def test_crowd_does_not_wait_for_an_answer_before_the_next_caller_comes():
    async def main():
        last = asyncio.Event()

        async def request(number):
            if number == 2:
                last.set()
            await asyncio.wait_for(last.wait(), 30)

        await crowd([0.0, 0.0, 0.0], request)

    asyncio.run(main())


def test_percentile_is_the_least_value_that_so_many_do_not_exceed():
    values = list(range(1, 101))
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0 and percentile([], 50) == 0.0


def test_timeline_tells_the_worst_wait_and_the_errors_of_each_part():
    timeline = Timeline()
    for came_s, took_s, failed in [(0.1, 1, False), (0.2, 3, False), (1.5, 2, True), (9, 5, True)]:
        timeline.note(came_s, took_s, failed=failed)
    assert timeline.worst(4, 2.0) == [3, 0, 0, 5] and timeline.errors(4, 2.0) == [0, 0, 0, 2]
    assert histogram([0, 0.9, 1], 2, 2.0) == [2, 1]


def test_concurrency_is_the_most_that_were_there_at_once():
    spans = ((0.0, 1.9), (0.2, 0.4), (1.1, 1.2), (1.3, 1.4))
    assert concurrency(Counts(4, 0, 2, spans), 4, 2.0) == [2, 1, 2, 1]
    late = (*spans, (1.8, 5.0), (2.5, 3.0), (2.6, 3.0))  # who comes after the end is not in the picture
    assert concurrency(Counts(7, 0, 3, late), 4, 2.0) == [2, 1, 2, 2]


def test_ages_are_counted_from_the_first_change_that_an_answer_does_not_know():
    assert ages([(0.5, 1), (1.5, 1), (2.5, 1), (2.5, 2), (2.5, 3)], [1.0, 2.0]) == [0.0, 0.5, 1.5, 0.5, 0.0]
    assert ages([(0.5, 2)], [1.0]) == [0.0]  # it knows more than was confirmed when its caller came


def test_sparkline_is_never_wider_than_asked_and_keeps_spikes():
    line = sparkline([1.0] * 59 + [1_000.0], 30, low=1.0, high=1_000.0)
    assert len(line) == 30 and line[-1] == "█" and set(line[:-1]) == {"▁"}


def test_said_never_shows_more_digits_than_a_person_reads():
    assert [said(number, "s") for number in (0.12345, 0.099, 123.0)] == ["0.12 s", "99 ms", "123 s"]
    assert [said(number, "count") for number in (0.875, 12.3, 3)] == ["0.88", "12", "3"]
    sizes = [said(number, "bytes") for number in (0, 1_950_000_000, 999_900_000, 3e12)]
    assert sizes == ["0 kB", "1.95 GB", "1,000 MB", "3,000 GB"]


def test_database_tunes_its_query_and_keeps_versions(tmp_path):
    database = Database.create(tmp_path / "shop.db", seed=1, query_s=0.001)
    other = database.another()
    assert database.takings("tea")["version"] == 1
    other.change("tea"), other.change("tea")
    assert database.takings("tea")["version"] == 3 and database.takings("mate")["version"] == 1
    assert database.takings("tea") == other.takings("tea") and database.takings("tea")["cents"] > 0
    database.close(), other.close()


def test_origin_counts_what_it_sees_and_refuses_over_its_line():
    async def main(origin):
        return await asyncio.gather(*(origin.takings("tea") for _ in range(12)), return_exceptions=True)

    with Origin(seed=1, query_s=0.1, capacity=1, line=2) as origin:
        origin.reset()
        answers = asyncio.run(main(origin))
        counts = origin.counts()
        refused = sum(isinstance(answer, Refused) for answer in answers)
        assert counts.calls == 12 and counts.refused == refused > 0 and counts.peak == 3
        assert len(counts.spans) == 12 - refused and all(came < went for came, went in counts.spans)
        origin.reset()
        assert origin.counts() == Counts(0, 0, 0, ())


def test_origin_says_when_it_does_not_start():
    with pytest.raises(RuntimeError, match="did not start"):
        Origin(seed="no seed", query_s="no time")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no signal to send")
def test_origin_leaves_an_interrupt_to_its_parent_and_ends_with_it(capfd):
    with Origin(seed=1, query_s=0.001) as origin:
        origin._process.send_signal(signal.SIGINT)
        assert asyncio.run(origin.takings("tea"))["name"] == "tea"
    assert origin._process.returncode == 0 and capfd.readouterr() == ("", "")


def test_origin_begins_to_count_anew_only_when_nobody_is_with_it():
    async def main(origin):
        callers = [asyncio.create_task(origin.takings("tea")) for _ in range(3)]
        while origin.counts().calls < 3:  # none of them is still on its way
            await asyncio.sleep(0)
        await asyncio.to_thread(origin.reset)
        assert origin.counts() == Counts(0, 0, 0, ())
        await asyncio.gather(*callers)

    with Origin(seed=1, query_s=0.05, capacity=1) as origin:
        origin.reset()
        asyncio.run(main(origin))


def test_busy_machine_is_told_of():
    run = [Measured(Timeline(), Counts(0, 0, 0, ()), 1.0, 0.0, late_s) for late_s in (0.001, 0.5, 0.6)]
    assert busy(run) == "" and "0.5 s late" in busy(run[1:])
