"""Freshness: what each word accepts, and what is said when it is refused."""

import copy
import dataclasses
import datetime
import decimal
import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from samovar._base.freshness import Freshness, seconds

WORDS = {"ttl": 300.0, "tti": 60.0, "jitter": 0.1, "early": 1.0, "stale_while_revalidate": 30.0,
         "stale_if_error": 3600.0, "negative_ttl": 5.0}
LIFETIMES = ["ttl", "tti", "negative_ttl"]
WINDOWS = ["stale_while_revalidate", "stale_if_error"]
UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6)}


# ------------------------------------------------------------------ one duration

@pytest.mark.parametrize("given_as, expected", [
    (90, 90.0), (1.5, 1.5), (0, 0.0), (math.inf, math.inf), (Fraction(1, 4), 0.25), (datetime.timedelta(days=2), 172800.0),
    (datetime.timedelta(microseconds=1), 1e-6), ("90", 90.0), ("0", 0.0), ("0.5", 0.5), ("5m", 300.0), ("1h30m", 5400.0),
    ("1h 30m", 5400.0), (" 5 m ", 300.0), ("250ms", 0.25), ("2d", 172800.0), ("1.5h", 5400.0), ("1w", 604800.0),
    ("1m1s5ms", 61.005), ("7us", 7e-6), ("0.1s", 0.1),
])
def test_duration_is_read_as_float_seconds(given_as, expected):
    number = seconds(given_as, "ttl")
    assert type(number) is float and number == expected


@given(st.sets(st.sampled_from(list(UNITS)), min_size=1), st.data())
def test_duration_in_text_is_the_exact_sum_rounded_once(units, data):
    counts = {unit: data.draw(st.decimals(0, 10**6, places=3)) for unit in UNITS if unit in units}
    text = data.draw(st.sampled_from(["", " "])).join(f"{count}{unit}" for unit, count in counts.items())
    assert seconds(text, "ttl") == float(sum(Fraction(count) * UNITS[unit] for unit, count in counts.items()))


@given(st.text("0123456789.wdhmsu -+e", max_size=12) | st.text(max_size=8))
def test_duration_in_any_text_is_read_or_refused_by_name(text):
    try:
        assert 0 <= seconds(text, "the name") < math.inf
    except ValueError as error:
        assert str(error).startswith("the name must be ") and repr(text) in str(error)


@pytest.mark.parametrize("text", ["", " ", "m", "1h30", "30m1h", "1m1m", "5M", "5min", "-5", "-5m", "+5", "1e3", "nan", "inf",
                                  ".5", "5.", "1,5", "1_000", "\N{ARABIC-INDIC DIGIT FIVE}", "5m\0", "9" * 400])
def test_duration_in_unclear_text_is_refused(text):
    with pytest.raises(ValueError, match=r'^Cache: ttl must be seconds, a timedelta, or text such as "90"'):
        seconds(text, "Cache: ttl")


def test_duration_in_long_text_is_refused_at_once():
    """A pattern that goes back and forth would not come back from this."""
    for text in ["1w" + " " * 50_000 + "x", "1" * 50_000 + "x", "1m" * 50_000, "1." + "1" * 50_000]:
        with pytest.raises(ValueError):
            seconds(text, "ttl")


@pytest.mark.parametrize("value", [True, False, None, b"5m", [], 1j, decimal.Decimal(5), object(), datetime.time()])
def test_duration_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError) as caught:
        seconds(value, "ttl")
    assert str(caught.value).startswith("ttl must be seconds, a timedelta") and str(caught.value).endswith(repr(value))


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, -math.inf, datetime.timedelta(seconds=-1)])
def test_duration_out_of_bounds_is_refused(value):
    with pytest.raises(ValueError) as caught:
        seconds(value, "ttl")
    assert str(caught.value) == f"ttl must be 0 or more seconds, not {value!r}"


@pytest.mark.parametrize("value", [0, 0.0, -0.0, "0", "0ms", datetime.timedelta()])
def test_duration_of_nothing_is_refused_where_it_must_be_positive(value):
    assert math.copysign(1, seconds(value, "ttl")) == 1
    with pytest.raises(ValueError, match="^ttl must be more than 0 seconds, not "):
        seconds(value, "ttl", positive=True)


def test_duration_beyond_a_float_is_refused():
    with pytest.raises(ValueError, match="^ttl must fit a float; int is too large; math.inf means for ever$"):
        seconds(10**400, "ttl")


# ------------------------------------------------------------------ the words

def test_freshness_says_nothing_by_default():
    fresh = Freshness()
    assert dataclasses.asdict(fresh) == {"ttl": None, "tti": None, "jitter": 0.0, "early": 0.0,
                                         "stale_while_revalidate": 0.0, "stale_if_error": 0.0, "negative_ttl": None}
    assert repr(fresh) == "Freshness()"


def test_freshness_keeps_float_seconds():
    fresh = Freshness(ttl="5m", tti=datetime.timedelta(minutes=1), jitter=Fraction(1, 10), early=1,
                      stale_while_revalidate=30, stale_if_error="1h", negative_ttl="5s")
    assert dataclasses.asdict(fresh) == WORDS
    assert all(type(value) is float for value in dataclasses.asdict(fresh).values())


def test_freshness_is_equal_hashed_and_repeated_by_its_words():
    one, other = Freshness(**WORDS), Freshness(**WORDS)
    assert one == other and hash(one) == hash(other) and one != Freshness(ttl=300)
    assert eval(repr(one)) == one
    assert repr(Freshness(ttl=math.inf, jitter=0.5)) == "Freshness(ttl=inf, jitter=0.5)"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_freshness_survives_pickle_and_copy(protocol):
    fresh = Freshness(**WORDS)
    if protocol >= 2:
        assert pickle.loads(pickle.dumps(fresh, protocol)) == fresh
    assert copy.copy(fresh) == copy.deepcopy(fresh) == fresh


def test_freshness_cannot_be_changed():
    fresh = Freshness(ttl=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fresh.ttl = 2
    with pytest.raises((AttributeError, TypeError)):
        fresh.other = 2
    with pytest.raises(TypeError):
        Freshness(5)
    assert fresh.ttl == 1.0


@pytest.mark.parametrize("word", LIFETIMES)
def test_freshness_lifetime_is_more_than_nothing_or_none(word):
    assert getattr(Freshness(**{word: math.inf}), word) == math.inf
    assert getattr(Freshness(**{word: None}), word) is None
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match=f"^Freshness: {word} must be more than 0 seconds, not {bad!r}$"):
            Freshness(**{word: bad})
    with pytest.raises(TypeError, match=f"^Freshness: {word} must be seconds"):
        Freshness(**{word: True})


@pytest.mark.parametrize("word", WINDOWS)
def test_freshness_window_is_nothing_or_more(word):
    assert getattr(Freshness(**{word: 0}), word) == 0.0
    assert getattr(Freshness(**{word: math.inf}), word) == math.inf
    with pytest.raises(ValueError, match=f"^Freshness: {word} must be 0 or more seconds, not -1$"):
        Freshness(**{word: -1})
    with pytest.raises(TypeError, match=f"^Freshness: {word} must be seconds.*not None$"):
        Freshness(**{word: None})


@pytest.mark.parametrize("word, top, bad", [
    ("jitter", 1, [-0.1, 1.1, math.nan, math.inf]), ("early", 1e300, [-0.1, math.nan, math.inf, 10**400]),
])
def test_freshness_share_is_a_number_within_bounds(word, top, bad):
    assert getattr(Freshness(**{word: 0}), word) == 0.0
    assert getattr(Freshness(**{word: top}), word) == top
    for value in bad:
        with pytest.raises(ValueError, match=f"^Freshness: {word} must "):
            Freshness(**{word: value})
    for value in (True, "0.5", None, datetime.timedelta(0)):
        with pytest.raises(TypeError, match=f"^Freshness: {word} must be a number"):
            Freshness(**{word: value})


def test_freshness_keeps_stale_entries_for_the_longer_window():
    assert Freshness(ttl=1).keep == 0.0
    assert Freshness(stale_while_revalidate=3, stale_if_error=2).keep == 3.0
    assert Freshness(stale_while_revalidate=3, stale_if_error="1m").keep == 60.0


def test_freshness_replaces_some_words_and_checks_them():
    fresh = Freshness(**WORDS)
    assert fresh.replace() == fresh and fresh.ttl == 300.0
    assert fresh.replace(ttl="1m", tti=None) == Freshness(**WORDS | {"ttl": 60, "tti": None})
    with pytest.raises(ValueError, match="^Freshness: jitter must"):
        fresh.replace(jitter=2)
    with pytest.raises(TypeError, match="'tll'"):
        fresh.replace(tll=2)


def test_freshness_of_a_call_lets_ttl_win():
    fresh = Freshness(**WORDS)
    assert Freshness.of(None, None) is None
    assert Freshness.of(None, fresh) is fresh
    assert Freshness.of("1m", None) == Freshness(ttl=60)
    assert Freshness.of("1m", fresh) == fresh.replace(ttl=60)
    assert Freshness.of(math.inf, fresh).ttl == math.inf


def test_freshness_of_a_call_names_what_is_wrong():
    with pytest.raises(TypeError, match="^memoize: fresh must be a Freshness or None, not 60; for a plain .* give ttl=$"):
        Freshness.of(None, 60, who="memoize")
    with pytest.raises(ValueError, match="^memoize: ttl must be more than 0 seconds, not 0$"):
        Freshness.of(0, None, who="memoize")
    with pytest.raises(TypeError, match="^ttl must be seconds"):
        Freshness.of(True, None)
