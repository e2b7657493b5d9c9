"""`samovar ring`: exact figures, beside hash mod N, and errors that name what was typed."""

import json
import random

import pytest
from typer.testing import CliRunner

from samovar import HashRing
from samovar._cli.command import app
from samovar._watch.ring_changes import modulo_moves, ring_report

NODES = ["10.0.0.1:6379", "10.0.0.2:6379", "big:6379=2"]


def run(*words):
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["ring", *words])


@pytest.mark.parametrize("before, after", [(4, 5), (5, 4), (3, 6), (1, 2), (10, 11), (7, 7)])
def test_modulo_moves_is_what_hash_mod_n_moves(before, after):
    moved = sum(number % before != number % after for number in range(before * after * 10))
    assert modulo_moves(before, after) == pytest.approx(moved / (before * after * 10))


def test_report_says_what_the_ring_itself_says():
    weights = {"a": 1.0, "b": 2.0, "c": 1.0}
    report = ring_report(weights, {"d": 0.5}, ["b"], vnodes=80)
    whole = HashRing(list(weights), weights=weights, vnodes=80)
    more, less = whole.copy(), whole.copy()
    more.add_node("d", 0.5)
    less.remove_node("b")
    assert report.load == whole.load()
    assert [change.moves for change in report.changes] == [whole.diff(more).moves, whole.diff(less).moves]
    came, went = report.changes
    assert {takes for _, takes in came.moves} == {"d"} and {gives for gives, _ in went.moves} == {"b"}
    assert went.moved == pytest.approx(went.at_least) and came.at_least == 0.5 / 4.5
    keys = [random.Random(7).getrandbits(64) + at for at in range(20_000)]
    moved = sum(whole.get_node(key % 2**64) != more.get_node(key % 2**64) for key in keys) / len(keys)
    assert moved == pytest.approx(came.moved, abs=0.02)


def test_command_shows_shares_and_who_moves():
    said = run(*NODES, "--add", "new:6379", "--remove", "10.0.0.1:6379")
    assert said.exit_code == 0, said.output
    assert "3 nodes, 160 points for weight 1, xxh3: the fullest has 1." in said.output
    assert "new:6379 comes: " in said.output and "hash % N would move 75.0%" in said.output
    assert "10.0.0.1:6379 goes: " in said.output and "hash % N would move 66.7%" in said.output


def test_command_asks_for_one_more_and_one_less_when_nothing_is_said():
    changes = json.loads(run("a", "b", "--json").output)["changes"]
    assert [(change["node"], change["comes"]) for change in changes] == [("a new node", True), ("b", False)]
    assert [change["node"] for change in json.loads(run("a", "--json").output)["changes"]] == ["a new node"]


def test_command_says_it_as_json():
    said = json.loads(run(*NODES, "--remove", "big:6379", "--hash", "ketama", "--json").output)
    load = HashRing(["10.0.0.1:6379", "10.0.0.2:6379", "big:6379"], weights={"big:6379": 2}, hash="ketama").load()
    assert {node["node"]: node["share"] for node in said["nodes"]} == load.shares
    assert (said["hash"], said["vnodes"], said["imbalance"]) == ("ketama", 160, load.imbalance)
    assert sum(move["share"] for move in said["changes"][0]["moves"]) == pytest.approx(said["changes"][0]["moved"])


@pytest.mark.parametrize("words, complaint", [
    (["a=two"], "NODE[=WEIGHT]: 'a=two' must be NODE or NODE=WEIGHT"),
    (["a", "a=2"], "NODE[=WEIGHT]: 'a' is there twice"),
    (["a=0"], "NODE[=WEIGHT]: weight of 'a' must be a number above 0"),
    (["a", "b", "--remove", "c"], "--remove: node must be in the ring, 'c' is not"),
    (["a", "b", "--add", "a"], "--add: node must be new, 'a' is in the ring"),
    (["a", "--add", "b=x"], "--add: 'b=x' must be NODE or NODE=WEIGHT"),
    (["a", "--add", "b=0"], "--add: weight of 'b' must be a number above 0"),
    (["a", "--add", "b", "--add", "b"], "--add: 'b' is there twice"),
    (["a", "--remove", "a"], "--remove: must leave a node"),
    (["a", "--vnodes", "0"], "--vnodes: vnodes must be"),
    (["a", "--hash", "md5"], "md5"),
], ids=" ".join)
def test_command_says_what_was_wrong(words, complaint):
    said = run(*words)
    assert said.exit_code == 2 and complaint in " ".join(said.output.replace("│", " ").split())
