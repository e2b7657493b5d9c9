"""What every node promises, held to on each kind of node, blocking and in asyncio: the claims of cluster/node.py."""

import pytest

from samovar.cluster.local import LocalNode
from samovar.cluster.node import (
    FENCED, HIT, LEASED, LOST, MISS, NOTHING, OK, OWNER, TOO_MANY, TOOBIG, YOURS, Status, new_owner,
)
from support import until

SOON, LONG = 60, 60_000  # ms
ANN, BEN = b"a" * OWNER, b"b" * OWNER


def fenced(node, key):
    """Whether a fence stands."""
    return node.lease(key, LONG)[0] is FENCED


# ------------------------------------------------------------------ values

def test_read_answers_each_key_in_order(node):
    assert node.put_many([("a", b"1", LONG), ("c", b"3", LONG)]) == (OK, [(OK, None), (OK, None)])
    status, found = node.read(["c", "b", "a", "c"])
    assert status is OK
    assert [one.kind for one in found] == [HIT, MISS, HIT, HIT]
    assert [one.body for one in found] == [b"3", None, b"1", b"3"]
    assert found[1] == NOTHING
    assert found[0].token == found[3].token != found[2].token


def question(node, request):
    return (yield node, request)


def test_question_about_one_key_is_answered_as_read_answers(node):
    node.put_many([("value", b"1", LONG), ("empty", b"", LONG)])
    node.lease("leased", LONG)
    node.begin_write(["fenced"], ANN, LONG)
    for key in ("value", "empty", "leased", "fenced", "nothing"):
        request = node.node.asks(key)
        if request is None:
            assert type(node.node) is LocalNode  # which has its verbs alone
            continue
        replies = node.ask(question(node.node, request))
        status, (found,) = node.read([key])
        assert node.node.said(replies) == (status, [found])
        assert (node.node.body_in(replies) or None) == (found.body or None)


def test_read_of_nothing_asks_nothing(node):
    assert node.read([]) == (OK, [])
    assert node.lease_many([], LONG) == (OK, [])
    assert node.fill_many([]) == node.put_many([]) == (OK, [])
    assert node.delete([]) == (OK, 0)
    assert node.versions([]) == node.bump([]) == (OK, [])


@pytest.mark.parametrize("body", [b"", b"\0", b"\r\n", b"END\r\nVA 2 c1\r\n", bytes(range(256)) * 5, b"V" * 17,
                                  b"x" * 100_000], ids=["empty", "zero", "line", "protocol", "binary", "cell", "large"])
def test_body_comes_back_as_it_was(node, body):
    assert node.put("k", body, LONG) == (OK, None)
    assert node.read_one("k").body == body
    status, found = node.lease("k", LONG)
    assert (status, found.body) == (HIT, body)
    assert node.delete(["k"]) == (OK, 1)
    status, token = node.lease("k", LONG)
    assert node.fill("k", token, body, LONG) == (OK, None)
    assert (node.read_one("k").kind, node.read_one("k").body) == (HIT, body)


def test_put_replaces_a_value_and_its_token(node):
    node.put("k", b"old", LONG)
    before = node.read_one("k")
    node.put("k", b"old", LONG)
    after = node.read_one("k")
    assert after.body == b"old" and after.token != before.token


def test_delete_counts_what_was_there(node):
    node.put("a", b"1", LONG)
    node.lease("b", LONG)
    assert node.delete(["a", "b", "c"]) == (OK, 2)
    assert [one.kind for one in node.read(["a", "b", "c"])[1]] == [MISS] * 3
    assert node.delete(["a"]) == (OK, 0)


def test_value_ends_with_its_ttl(node):
    node.put_many([("soon", b"1", SOON), ("later", b"1", LONG)])
    node.passes(SOON, lambda: node.read_one("soon") == NOTHING)
    assert node.read_one("later").kind is HIT
    assert node.lease("soon", LONG)[0] is YOURS


def test_filled_value_ends_with_its_ttl_not_with_the_lease(node):
    _, token = node.lease("k", LONG)
    node.fill("k", token, b"1", SOON)
    node.passes(SOON, lambda: node.read_one("k") == NOTHING)


def test_touch_gives_values_time_and_nothing_else(node):
    assert node.touch("k", LONG) == (MISS, None)
    until(lambda: node.put_many([("k", b"1", SOON), ("witness", b"1", SOON)]) and node.touch("k", LONG) == (OK, None))
    node.passes(SOON, lambda: node.read_one("witness") == NOTHING)
    assert node.read_one("k").body == b"1"
    node.lease("leased", LONG)
    assert node.touch("leased", LONG) == (MISS, None)
    assert node.touch("k", SOON) == (OK, None)
    node.passes(SOON, lambda: node.read_one("k") == NOTHING)


def test_body_too_big_is_told_and_nothing_is_kept(node):
    most = node.node.capabilities.max_value
    if most is None:
        pytest.skip("no word about it")
    node.put("k", b"old", LONG)
    assert node.put("k", b"x" * (most + 1), LONG) == (TOOBIG, None)
    assert node.read_one("k") == NOTHING
    _, token = node.lease("k", LONG)
    assert node.fill("k", token, b"x" * (most + 1), LONG) == (TOOBIG, None)
    assert node.read_one("k").kind is not HIT
    assert node.put("k", b"x", LONG) == (OK, None)
    assert node.read_one("k").body == b"x"


# ------------------------------------------------------------------ leases

def test_lease_is_given_to_one(node):
    status, token = node.lease("k", LONG)
    assert status is YOURS
    assert node.lease("k", LONG) == (LEASED, None)
    assert node.read_one("k").kind is LEASED
    assert node.fill("k", token, b"1", LONG) == (OK, None)
    assert node.lease("k", LONG)[0] is HIT


def test_leases_of_many_keys_are_told_apart(node):
    node.put("value", b"1", LONG)
    node.lease("leased", LONG)
    node.begin_write(["fenced"], ANN, LONG)
    status, answers = node.lease_many(["value", "leased", "new", "fenced", "new too"[:3] + "2"], LONG)
    assert status is OK
    assert [answer[0] for answer in answers] == [HIT, LEASED, YOURS, FENCED, YOURS]
    assert answers[0][1].body == b"1"
    assert node.fill_many([("new", answers[2][1], b"n", LONG), ("new2", answers[2][1], b"n", LONG)]) == (
        OK, [(OK, None), (LOST, None)])


def test_fill_is_lost_when_the_key_was_deleted(node):
    _, token = node.lease("k", LONG)
    assert node.delete(["k"]) == (OK, 1)
    assert node.fill("k", token, b"old", LONG) == (LOST, None)
    assert node.read_one("k") == NOTHING
    _, second = node.lease("k", LONG)
    assert second != token
    assert node.fill("k", token, b"old", LONG) == (LOST, None)
    assert node.fill("k", second, b"new", LONG) == (OK, None)


def test_fill_is_lost_when_a_value_was_put(node):
    _, token = node.lease("k", LONG)
    assert node.put("k", b"put", LONG) == (OK, None)
    assert node.fill("k", token, b"old", LONG) == (LOST, None)
    assert node.read_one("k").body == b"put"


def test_fill_twice_is_lost_the_second_time(node):
    _, token = node.lease("k", LONG)
    assert node.fill("k", token, b"1", LONG) == (OK, None)
    assert node.fill("k", token, b"2", LONG) == (LOST, None)
    assert node.read_one("k").body == b"1"


def test_lease_ends_by_itself_and_its_fill_is_lost(node):
    _, token = node.lease("k", SOON)
    node.passes(SOON, lambda: node.read_one("k") == NOTHING)
    assert node.fill("k", token, b"1", LONG) == (LOST, None)
    status, second = node.lease("k", LONG)
    assert status is YOURS
    assert node.fill("k", token, b"1", LONG) == (LOST, None)
    assert node.fill("k", second, b"2", LONG) == (OK, None)


def test_release_gives_a_lease_back_and_only_its_own(node):
    _, token = node.lease("k", LONG)
    assert node.release("k", token) == (OK, None)
    assert node.read_one("k") == NOTHING
    _, second = node.lease("k", LONG)
    assert node.release("k", token) == (LOST, None)
    assert node.read_one("k").kind is LEASED
    assert node.fill("k", second, b"1", LONG) == (OK, None)
    assert node.release("k", second) == (LOST, None)
    assert node.read_one("k").kind is HIT


# ------------------------------------------------------------------ claims

def test_claim_lets_one_renew_while_all_read(node):
    node.put("k", b"old", LONG)
    token = node.read_one("k").token
    status, mine = node.claim("k", token, LONG)
    assert status is YOURS
    assert node.claim("k", token, LONG) == (LEASED, None)
    found = node.read_one("k")
    assert (found.kind, found.body) == (HIT, b"old")
    assert node.claim("k", found.token, LONG) == (LEASED, None)
    assert node.fill("k", mine, b"new", LONG) == (OK, None)
    found = node.read_one("k")
    assert found.body == b"new"
    assert node.claim("k", found.token, LONG)[0] is YOURS


def test_claim_is_lost_on_another_cell(node):
    node.put("k", b"old", LONG)
    token = node.read_one("k").token
    node.put("k", b"new", LONG)
    assert node.claim("k", token, LONG) == (LOST, None)
    node.delete(["k"])
    assert node.claim("k", token, LONG) == (LOST, None)
    node.lease("k", LONG)
    assert node.claim("k", token, LONG) == (LOST, None)


@pytest.mark.parametrize("change", ["delete", "put", "begin_write"])
def test_fill_of_a_claim_is_lost_after_a_change(node, change):
    node.put("k", b"old", LONG)
    _, mine = node.claim("k", node.read_one("k").token, LONG)
    {"delete": lambda: node.delete(["k"]), "put": lambda: node.put("k", b"put", LONG),
     "begin_write": lambda: node.begin_write(["k"], ANN, LONG)}[change]()
    assert node.fill("k", mine, b"late", LONG) == (LOST, None)
    assert node.read_one("k").body == (b"put" if change == "put" else None)


def test_claim_ends_by_itself(node):
    node.put("k", b"old", LONG)
    _, first = node.claim("k", node.read_one("k").token, SOON)
    node.passes(SOON, lambda: node.claim("k", node.read_one("k").token, LONG)[0] is YOURS)
    assert node.read_one("k").body == b"old"


def test_claim_can_be_given_back(node):
    node.put("k", b"old", LONG)
    _, first = node.claim("k", node.read_one("k").token, LONG)
    assert node.release("k", first) == (OK, None)
    assert node.read_one("k").body == b"old"
    status, second = node.claim("k", node.read_one("k").token, LONG)
    assert status is YOURS
    assert node.fill("k", second, b"new", LONG) == (OK, None)
    assert node.release("k", second) == (LOST, None)


# ------------------------------------------------------------------ fences

def test_fence_removes_what_was_there_and_lets_nothing_in(node):
    node.put("value", b"old", LONG)
    _, token = node.lease("leased", LONG)
    assert node.begin_write(["value", "leased", "new"], ANN, LONG) == (OK, None)
    for key in ("value", "leased", "new"):
        assert node.read_one(key).kind is (FENCED if node.node.capabilities.fence_seen else MISS)
        assert fenced(node, key)
        assert node.put(key, b"put", LONG) == (FENCED, None)
        assert node.read_one(key).kind is not HIT
    assert node.fill("leased", token, b"late", LONG) == (LOST, None)
    assert node.touch("value", LONG) == (MISS, None)
    assert node.end_write(["value", "leased", "new"], ANN) == (OK, None)
    for key in ("value", "leased", "new"):
        assert node.read_one(key) == NOTHING
        assert node.lease(key, LONG)[0] is YOURS


def test_fence_stands_until_each_owner_has_ended(node):
    node.begin_write(["k"], ANN, LONG)
    node.begin_write(["k"], BEN, LONG)
    node.end_write(["k"], ANN)
    assert fenced(node, "k")
    node.end_write(["k"], ANN)
    assert fenced(node, "k")
    node.end_write(["k"], BEN)
    assert not fenced(node, "k")


def test_fence_of_an_owner_that_dies_ends_with_its_hold(node):
    node.begin_write(["k"], ANN, SOON)
    node.begin_write(["both"], ANN, SOON)
    node.begin_write(["both"], BEN, LONG)
    node.passes(SOON, lambda: not fenced(node, "k"))
    assert fenced(node, "both")
    node.end_write(["both"], BEN)
    node.passes(SOON, lambda: not fenced(node, "both"))  # where Ann's began a moment after the other


def test_fence_is_prolonged_by_its_owner(node):
    node.begin_write(["k", "witness"], ANN, SOON)
    node.begin_write(["k"], ANN, LONG)
    node.passes(SOON, lambda: not fenced(node, "witness"))
    assert fenced(node, "k"), "though its first hold began no later than the witness's"


def test_fence_outlives_a_delete(node):
    node.begin_write(["k"], ANN, LONG)
    assert node.delete(["k"]) == (OK, 0)
    assert fenced(node, "k")


def test_end_of_a_write_removes_what_came_when_the_fence_was_lost(node):
    node.put("value", b"old", LONG)
    _, token = node.lease("leased", LONG)
    assert node.end_write(["value", "leased", "none"], ANN) == (OK, None)
    assert node.read_one("value") == NOTHING
    assert node.fill("leased", token, b"old", LONG) == (LOST, None)


# ------------------------------------------------------------------ counters

def test_versions_begin_at_random_and_stay(node):
    status, numbers = node.versions(["a", "b"])
    assert status is OK and len(set(numbers)) == 2
    assert all(0 <= number < 1 << 63 for number in numbers)
    assert node.versions(["b", "c", "a"])[1][::2] == numbers[::-1]


def test_bump_moves_a_counter_to_where_it_never_was(node):
    _, (a, b) = node.versions(["a", "b"])
    _, (now, new) = node.bump(["a", "new"])
    assert now != a
    assert node.versions(["a", "b", "new"]) == (OK, [now, b, new])
    seen = {a, now}
    for _ in range(5):
        _, (now,) = node.bump(["a"])
        assert now not in seen
        seen.add(now)


def test_epoch_is_a_namespace_s_own_and_names_the_run(node):
    status, (epoch, run) = node.epoch("tea")
    assert status is OK and run
    assert node.epoch("tea") == (OK, (epoch, run))
    other = node.epoch("coffee")[1][0]
    assert other != epoch
    status, now = node.bump_epoch("tea")
    assert (status, node.epoch("tea")) == (OK, (OK, (now, run)))
    assert now != epoch and node.epoch("coffee")[1][0] == other


def test_epoch_is_no_key_of_the_caller_s(node):
    _, (epoch, run) = node.epoch("tea")
    node.put("tea", b"1", LONG)
    node.bump(["tea"])
    node.delete(["tea"])
    assert node.epoch("tea") == (OK, (epoch, run))


def test_notes_come_back_in_order_and_end(node):
    assert node.noted("n") == (OK, [])
    assert node.note("n", [b"k1", bytes(range(255))], 10, LONG) == (OK, None)
    assert node.note("n", [], 10, LONG) == (OK, None)
    assert node.note("n", [b"k1"], 10, LONG) == (OK, None)
    assert node.noted("n") == (OK, [b"k1", bytes(range(255)), b"k1"])
    assert node.noted("other") == (OK, [])
    assert node.note("n", [b"k2"], 10, SOON) == (OK, None)
    node.passes(SOON, lambda: node.noted("n") == (OK, []))


def test_notes_that_are_too_many_say_so_whatever_comes_later(node):
    for at in range(0, 3000, 100):
        assert node.note("n", [b"%250d" % number for number in range(at, at + 100)], 2000, LONG) == (OK, None)
    assert node.note("n", [b"last"], 2000, LONG) == (OK, None)
    assert TOO_MANY in node.noted("n")[1]


@pytest.mark.parametrize("item, error", [(b"", ValueError), (b"x" * 256, ValueError), ("text", TypeError)])
def test_note_that_is_none_is_refused(node, item, error):
    with pytest.raises(error, match="a note must be"):
        node.note("n", [b"fine", item], 10, LONG)
    assert node.noted("n") == (OK, [])


def test_probe_of_a_node_that_is_well(node):
    assert node.probe() == (OK, True)


def test_push_is_there_where_it_is_said(node):
    if not node.node.capabilities.push:
        with pytest.raises(NotImplementedError, match="push"):
            node.node.publish("channel", b"")
        with pytest.raises(NotImplementedError, match="push"):
            node.node.subscribe(["channel"])
    else:
        assert node.publish("channel", b"") == (OK, 0)


# ------------------------------------------------------------------ mistakes of the caller's

@pytest.mark.parametrize("key", ["", "two words", "a|b", "line\n", "\r\nflush_all\r\n", "tab\t", "é", "x" * 201, "del\x7f"],
                         ids=repr)
def test_key_that_is_none_is_refused_by_every_verb(node, key):
    node.put("good", b"1", LONG)
    calls = [
        lambda: node.read(["good", key]), lambda: node.lease_many(["new", key], LONG), lambda: node.lease(key, LONG),
        lambda: node.fill(key, 1, b"", LONG), lambda: node.put_many([("new", b"", LONG), (key, b"", LONG)]),
        lambda: node.delete(["good", key]), lambda: node.touch(key, LONG), lambda: node.claim(key, 1, LONG),
        lambda: node.release(key, 1), lambda: node.begin_write(["good", key], ANN, LONG),
        lambda: node.end_write(["good", key], ANN), lambda: node.versions([key]), lambda: node.bump([key]),
        lambda: node.epoch(key), lambda: node.bump_epoch(key),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="a node's key must be"):
            call()
    assert node.read_one("good").body == b"1"
    assert node.read_one("new") == NOTHING


@pytest.mark.parametrize("key", [b"bytes", 1, None, ("a",)], ids=repr)
def test_key_of_another_type_is_refused(node, key):
    with pytest.raises(TypeError, match="a node's key must be str"):
        node.read([key])


@pytest.mark.parametrize("ms, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError),
                                       (None, TypeError)], ids=repr)
def test_milliseconds_that_are_none_are_refused(node, ms, error):
    for call in (lambda: node.lease("k", ms), lambda: node.put("k", b"", ms), lambda: node.fill("k", 1, b"", ms),
                 lambda: node.touch("k", ms), lambda: node.claim("k", 1, ms), lambda: node.begin_write(["k"], ANN, ms)):
        with pytest.raises(error, match="ms"):
            call()
    assert node.read_one("k") == NOTHING


def test_bodies_and_owners_that_are_none_are_refused(node):
    for call in (lambda: node.put("k", "text", LONG), lambda: node.fill("k", 1, bytearray(b"1"), LONG)):
        with pytest.raises(TypeError, match="a body must be bytes"):
            call()
    for verb in (lambda owner: node.begin_write(["k"], owner, LONG), lambda owner: node.end_write(["k"], owner)):
        with pytest.raises(TypeError, match="owner must be bytes"):
            verb("ann")
        with pytest.raises(ValueError, match="owner must be 16 bytes, not 3"):
            verb(b"ann")
    assert node.read_one("k") == NOTHING


def test_owners_are_all_different():
    assert len({new_owner() for _ in range(100)}) == 100
    assert isinstance(Status(0), int)
