"""The harness of the fault table (bench/faults) runs, counts what it did, and tells a bar that was kept from one that was
not. Whether the cluster keeps them is measured on a machine at rest, not here."""

import functools
import io
import json
import pathlib
import sys
from contextlib import redirect_stdout

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.faults import stage, table  # noqa: E402
from bench.faults.__main__ import main  # noqa: E402
from bench.faults.crowd import Record  # noqa: E402
from bench.faults.figures import Bars, Check, Outcome, at_once, judge, percentile, settled, spell  # noqa: E402
from bench.faults.proxy import Proxy  # noqa: E402
from bench.faults.rows import ROWS, Row  # noqa: E402
from bench.faults.stage import KEYS, NODES, VICTIM, Run  # noqa: E402
from engines import RedisServer, program  # noqa: E402
from support import LIMIT, until  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("face", [[], ["--tasks"]], ids=["threads", "tasks"])
def test_row_is_played_on_real_engines(face, monkeypatch):
    program("redis-server")
    monkeypatch.setattr(stage, "Plan", functools.partial(stage.Plan, timeout_s=LIMIT))  # a busy machine is no fault
    monkeypatch.setattr(stage, "PATIENCE_S", 4 * LIMIT)

    def played(seconds):
        said = io.StringIO()
        with redirect_stdout(said):
            main(["--row", "sigkill", "--engine", "redis", "--seconds", seconds, "--tries", "1", "--json", *face])
        [row] = json.loads(said.getvalue())
        figures = {name: figure["value"] for name, figure in row["figures"].items()}
        assert (row["row"], row["engine"], figures["errors"]) == ("sigkill", "redis", 0)
        assert figures["calls"] <= KEYS and figures["at once"] <= 8
        return figures["calls"] > 0 and figures["noticed"] is not None and figures["noticed"] < LIMIT, figures, row

    for seconds in ("0.5", "4", "16"):  # a crowd that a busy machine does not run asks nothing meanwhile
        saw_the_fault, figures, row = played(seconds)
        if saw_the_fault:
            break
    assert saw_the_fault and figures["noticed"] >= 0 and figures["at once"] >= 1 and row["calm_p99_s"] > 0


# ------------------------------------------------------------------ judging

def run_of(record, **words):
    moments = {"begin_s": 0.0, "calm_s": 0.0, "fault_s": 10.0, "until_s": 14.0, "end_s": 17.0, "healed_s": 14.0, "ticks": []}
    return Run("redis", records=[record], owners={key: VICTIM for key in range(KEYS)}, **{**moments, **words})


def figures_of(record, row=None, **words):
    outcome = judge(row or Row("r", "t", fault=None, bars=Bars(noticed_s=0.15, recovery_s=1.0), goes=("down",)),
                    run_of(record, **words))
    return outcome, {check.name: check for check in outcome.checks}


def record_of(*, slow_s=0.0, error=False, loads=1):
    """Reads of a thousand keys, ten in a hundred of them so slow during the fault; and a node that went and came."""
    record = Record()
    for number in range(1700):
        due = number / 100
        late = slow_s if 10 <= due < 14 and number % 10 == 0 else 0.0
        record.reads.append((due, due + 0.001 + late, number % KEYS, 2 if error and number == 1200 else 0, False))
    begun = [10.5 + number / 500 / loads for number in range(400 * loads)]
    record.loads = [(came, came + 0.01, number % 400) for number, came in enumerate(begun)]
    up = dict.fromkeys(NODES, "up")
    record.states = [(0.0, up), (10.1, {**up, VICTIM: "down"}), (14.5, up)]
    return record


def test_bars_that_are_kept_pass():
    outcome, figures = figures_of(record_of())
    assert outcome.verdict == "pass", [check for check in outcome.checks if not check.passed]
    assert figures["noticed"].value == pytest.approx(0.1) and figures["recovery"].value == pytest.approx(0.5)
    assert figures["calls / key lost"].value == 1.0


@pytest.mark.parametrize("spoil, name", [
    ({"slow_s": 0.5}, "p99"), ({"slow_s": 0.5}, "max"), ({"error": True}, "errors"), ({"loads": 2}, "calls / key lost"),
    ({"loads": 2}, "at once"),
])
def test_bar_that_is_missed_is_told(spoil, name):
    outcome, figures = figures_of(record_of(**spoil))
    assert outcome.verdict == "MISS" and not figures[name].passed
    assert "MISSED" in table.report(outcome)


def test_what_the_calm_shows_is_allowed_on_top():
    record = record_of(slow_s=0.1)
    assert not figures_of(record)[1]["p99"].passed
    record.reads = [(due, end + (0.08 if due < 10 else 0), *rest) for due, end, *rest in record.reads]
    assert figures_of(record)[1]["p99"].passed


def test_times_of_a_busy_machine_are_not_trusted():
    late = [(11.0, 0.2)]
    assert figures_of(record_of(slow_s=0.5), ticks=late)[0].verdict == "unsure"
    assert figures_of(record_of(error=True), ticks=late)[0].verdict == "MISS"  # that is no matter of time


def test_node_that_does_not_come_back_has_not_recovered():
    record = record_of()
    record.states.pop()
    outcome, figures = figures_of(record)
    assert outcome.verdict == "MISS" and table.said(figures["recovery"].value, "s") == "never"


def test_moments_of_a_node_are_read_from_what_a_process_thought():
    record = record_of()
    assert spell(record, VICTIM, ("down",), 10.0) == 10.1 and spell(record, VICTIM, ("full",), 10.0) is None
    assert settled(record, [VICTIM], 14.0) == 14.5 and settled(record, [VICTIM], 15.0) == 15.0


def test_stale_reads_count_unless_the_writer_was_apart():
    """Nothing is promised while it cannot reach a node; everything once it has it back."""
    row = Row("r", "t", fault=None, bars=Bars(None, None, None, stale=True), writes=1)
    record = record_of()
    record.stale = [(10.2, 0.1), (14.4, 0.1)]
    outcome, figures = figures_of(record, row)
    assert figures["stale while apart"].value == 2 and figures["stale"].value == 0 and outcome.verdict == "pass"
    record.stale.append((14.6, 0.1))
    outcome, figures = figures_of(record, row, ticks=[(11.0, 0.2)])
    assert figures["stale"].value == 1 and outcome.verdict == "MISS"  # a busy machine is no excuse


def test_most_at_once_and_percentiles():
    assert at_once([(0.0, 1.0), (0.5, 2.0), (1.0, 3.0)]) == 2 and at_once([]) == 0
    assert percentile(list(range(1, 101)), 99) == 99 and percentile([], 99) == 0.0


def test_every_row_is_in_the_table_of_the_docs_once(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nyesterday's\n{table.END}\nafter\n")
    monkeypatch.setattr(table, "PAGE", page)
    monkeypatch.setattr(table, "RESULTS", tmp_path / "faults.json")
    names = [row.name for row in ROWS]
    outcomes = [Outcome(row.name, row.title, engine, [Check("errors", 0, 0)]) for row in ROWS for engine in row.engines]
    table.remembered(outcomes[::-1], names)
    again = Outcome("sigstop", next(row.title for row in ROWS if row.name == "sigstop"), "redis", [Check("errors", 7, 0)])
    assert table.publish(table.markdown(table.remembered([again], names)))  # one row is measured anew
    text = page.read_text()
    assert "yesterday's" not in text and text.startswith("before\n") and text.endswith("after\n")
    assert all(text.count(f"| {row.title} |") == len(row.engines) for row in ROWS)
    assert text.count("7 (≤ 0, MISSED)") == 1
    page.write_text("no marks")
    assert not table.publish("new") and page.read_text() == "no marks"


# ------------------------------------------------------------------ the proxy

def test_proxy_does_what_it_is_told():
    server = RedisServer()
    proxy = Proxy(server.port)
    try:
        def answers():
            try:
                return server.say(b"PING\r\n", b"\r\n", port=proxy.port) == b"+PONG\r\n"
            except (OSError, AssertionError):
                return False

        assert answers()
        for words in ("refuse", "reset"):
            proxy.tell(words)
            assert not answers()
            proxy.tell("pass")
            until(answers)
    finally:
        proxy.end()
        server.end()
