"""`cache_control` says what was asked for, in words that our own parser reads, and refuses what contradicts itself."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps import answers, get
from samovar.edge import CacheControl, HTTPCacheMiddleware, cache_control
from samovar.edge.rules.directives import MAX_DELTA, response_directives
from support import run_async


@pytest.mark.parametrize("words, value", [
    ({"max_age": "5m"}, "max-age=300"),
    ({"max_age": timedelta(hours=1), "public": True}, "public, max-age=3600"),
    ({"max_age": 1.9}, "max-age=1"),
    ({"max_age": float("inf")}, f"max-age={MAX_DELTA}"),
    ({"no_store": True}, "no-store"),
    ({"private": True, "max_age": 0}, "private, max-age=0"),
    ({"private": ["Set-Cookie", "x"], "max_age": 1}, 'private="set-cookie, x", max-age=1'),
    ({"s_maxage": "1d", "stale_while_revalidate": 30, "stale_if_error": "1h", "immutable": True},
     "immutable, s-maxage=86400, stale-while-revalidate=30, stale-if-error=3600"),
    ({"no_store": True, "must_understand": True, "max_age": 5}, "no-store, must-understand, max-age=5"),
])
def test_value_says_what_was_asked_for(words, value):
    said = cache_control(**words)
    assert said == value and isinstance(said, str) and bytes(said) == value.encode()


@pytest.mark.parametrize("words, error, named", [
    ({}, ValueError, "nothing"), ({"max_age": -1}, ValueError, "max_age"), ({"max_age": True}, TypeError, "max_age"),
    ({"s_maxage": "soon"}, ValueError, "s_maxage"), ({"public": 1}, TypeError, "public"),
    ({"private": ["a b"]}, TypeError, "private"), ({"no_cache": ""}, TypeError, "no_cache"),
    ({"private": []}, TypeError, "private"),
    ({"no_store": True, "max_age": 5}, ValueError, "no_store"), ({"public": True, "private": True}, ValueError, "private"),
    ({"private": True, "s_maxage": 5}, ValueError, "s_maxage"),
    ({"must_revalidate": True, "max_age": 1, "stale_if_error": 5}, ValueError, "must_revalidate"),
    ({"no_cache": True, "stale_while_revalidate": 5}, ValueError, "no_cache"),
])
def test_what_cannot_be_meant_is_refused_by_name(words, error, named):
    with pytest.raises(error, match=named):
        cache_control(**words)


@given(st.fixed_dictionaries({}, optional={
    "max_age": st.integers(0, 10**12), "s_maxage": st.integers(0, 10**6), "stale_if_error": st.integers(0, 10**6),
    "public": st.booleans(), "immutable": st.booleans(), "must_understand": st.booleans(),
    "no_cache": st.lists(st.sampled_from(["a", "set-cookie"]), min_size=1, max_size=2)}))
def test_caches_read_what_was_said(words):
    if not any(value is not False for value in words.values()):
        return
    read = response_directives([(b"cache-control", bytes(cache_control(**words)))])
    for word, value in words.items():
        if word == "no_cache":
            assert read.no_cache_fields == {name.encode() for name in value} and not read.no_cache
        else:
            assert getattr(read, word) == (min(value, MAX_DELTA) if isinstance(value, int) and value is not True else value)


class Response:
    def __init__(self):
        self.headers = {}


def test_value_puts_itself_on_responses_and_views():
    said = cache_control(max_age=5)
    response = Response()
    assert said(response) is response and response.headers == {"Cache-Control": "max-age=5"}

    @said
    def view(number):
        """Of some use."""
        return Response()

    @said
    async def aview(number):
        return Response()

    assert view(1).headers == asyncio.run(aview(1)).headers == {"Cache-Control": "max-age=5"}
    assert (view.__name__, view.__doc__) == ("view", "Of some use.")


@pytest.mark.parametrize("target", [5, None, "text"])
def test_what_is_no_response_and_no_view_is_refused(target):
    with pytest.raises(TypeError, match="cache_control"):
        cache_control(max_age=5)(target)
    with pytest.raises(TypeError, match="cache_control"):
        cache_control(max_age=5)(lambda: target)()


def test_application_is_wrapped_where_it_does_not_say_its_own():
    async def test():
        edge = HTTPCacheMiddleware(cache_control(max_age=5).wrap(answers(headers={})))
        await get(edge)
        assert (await get(edge)).said.startswith("samovar;hit;ttl=")
        own = cache_control(max_age=5).wrap(answers(headers={"Cache-Control": "no-store"}))
        assert (await get(own)).lines == [("Cache-Control", "no-store")]

    run_async(test())
    assert isinstance(cache_control(public=True), CacheControl)
