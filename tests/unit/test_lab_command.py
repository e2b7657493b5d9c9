"""The command `samovar`: what it prints, what it writes, what it says when something is missing."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

import samovar
from samovar._cli import lab
from samovar._cli.command import app
from samovar._lab import memo, report
from samovar._lab.findings import Bar, Bars, Panel, Series, Timelines
from samovar._lab.pictures import draw
from samovar._lab.registry import DEMONSTRATIONS, named

LIMIT = 120


def run(*args, **env):
    return subprocess.run([sys.executable, "-c", "from samovar._cli import main; main()", *args], capture_output=True,
                          text=True, encoding="utf-8", timeout=LIMIT, env={**os.environ, "PYTHONUTF8": "1", **env})


class Reader(HTMLParser):
    """What a page links to, its ids, and whether its elements are closed in order."""

    VOID = {"meta", "br", "link", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.links, self.ids, self.wrong, self.tags = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_command_prints_json_in_a_process_of_its_own():
    done = run("lab", "memo", "--json", "--scale", "0.05", "--seed", "7")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seed"] == 7 and [one["name"] for one in found["demonstrations"]] == ["memo"]
    ways = {way["label"]: way["figures"] for way in found["demonstrations"][0]["ways"]}
    assert ways["plain function"]["calls"] > 1_000 and ways["memoize"]["calls"] < 30


def test_command_shows_a_table_and_what_was_found():
    done = CliRunner().invoke(app, ["lab", "memo", "--scale", "0.05"])
    assert done.exit_code == 0, done.output
    assert memo.TITLE in done.output and "plain function" in done.output and "█" in done.output


def test_command_refuses_a_demonstration_that_there_is_not():
    done = CliRunner().invoke(app, ["lab", "nothing"])
    assert done.exit_code == 2 and "'nothing'" in done.output and "herd" in done.output


def test_command_says_its_version_and_its_commands():
    assert CliRunner().invoke(app, ["--version"]).output == f"samovar {samovar.__version__}\n"
    assert "lab" in CliRunner().invoke(app, ["--help"]).output


def test_command_without_the_extra_says_which_to_install():
    code = "import sys; sys.modules['typer'] = None; from samovar._cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2 and done.stderr == "samovar: this command needs typer: pip install 'samovar[cli]'\n"


def test_report_without_matplotlib_says_which_extra_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(samovar.SamovarError, match=r"pip install 'samovar\[cli\]'"):
        report.page([memo.run(1, 0.05)])


@pytest.fixture
def measured(monkeypatch):
    """What was measured, in order: nothing is."""
    names = []
    monkeypatch.setattr(lab, "_run", lambda entry, *_: names.append(entry.name) or memo.run(1, 0.05))
    return names


def test_report_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, measured):
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["lab", "memo", "--html", str(tmp_path / "no" / "where.html")])
    assert done.exit_code == 2 and "--html: the report cannot be written there" in done.output and not measured


def test_report_without_its_extra_is_refused_before_anything_is_measured(tmp_path, measured, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for words in (["--html", str(tmp_path / "report.html"), "herd"], []):
        done = CliRunner().invoke(app, ["lab", *words])
        assert done.exit_code == 2 and "pip install 'samovar[cli]'" in done.output and not measured
    assert CliRunner().invoke(app, ["lab", "memo"]).exit_code == 0 and measured == ["memo"]


def test_report_that_turns_out_not_to_be_writable_is_an_error_not_a_traceback(tmp_path, measured):
    target = tmp_path / ("x" * 300)
    done = CliRunner().invoke(app, ["lab", "memo", "--html", str(target)])
    assert done.exit_code == 1 and "the report cannot be written" in done.output


def test_report_is_named_as_it_was_typed(tmp_path, measured):
    target = tmp_path / "[bold]x.html"
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["lab", "memo", "--html", str(target)])
    assert done.exit_code == 0 and "[bold]x.html" in done.output and target.exists()


def test_report_is_whole_by_itself(tmp_path):
    target = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["lab", "memo", "--scale", "0.05", "--html", str(target)])
    assert done.exit_code == 0, done.output
    text = target.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.wrong and not reader.open
    assert reader.tags.count("svg") == 2 and "script" not in reader.tags
    assert reader.links and all(link.startswith("#") for link in reader.links)
    assert "http:" not in text and "https:" not in text and "@import" not in text
    assert len(reader.ids) == len(set(reader.ids)) and {link[1:] for link in reader.links} <= set(reader.ids)
    assert "prefers-color-scheme: dark" in text and "var(--bad)" in text


def test_report_escapes_what_it_is_told():
    bars = Bars("a < b & \"c\"", "", (Bar("x", 1.0, "good"), Bar("y", 3.0, "bad", 2.0)), "n", "count", log=True)
    lines = Timelines("two", "", (Panel("p", (Series("s", (0, 1), (1, 2), "fair", "steps"),), (0.5,), (1.5, "most")),) * 2,
                      "x", "y", "count", side_by_side=True)
    for place, picture in enumerate((bars, lines)):
        svg = draw(picture, place)
        assert svg.startswith('<svg role="img" aria-label=') and svg.endswith("</svg>")
        assert "#01" not in svg and "#0b0" not in svg  # every stand-in colour became the page's
    assert 'aria-label="a &lt; b &amp; &quot;c&quot;"' in draw(bars, 0)


def test_registry_names_each_demonstration_once():
    names = [entry.name for entry in DEMONSTRATIONS]
    assert len(set(names)) == len(names) and [named(name).name for name in names] == names
    with pytest.raises(ValueError, match="no demonstration is called 'x'; there are memo"):
        named("x")


def test_command_is_installed_under_its_name():
    from importlib.metadata import entry_points

    found = [point.load() for point in entry_points(group="console_scripts") if point.name == "samovar"]
    assert found and found[0].__module__ == "samovar._cli"


def test_only_pages_of_the_report_lie_where_it_was_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["lab", "memo", "--scale", "0.05"]).exit_code == 0
    assert list(Path(tmp_path).iterdir()) == []
