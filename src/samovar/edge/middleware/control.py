"""`cache_control`: a Cache-Control value from words that are checked, instead of a text that nobody reads.

It refuses what would say two things at once: `no_store` beside a lifetime, `private` beside `s_maxage`, and the like. Not
because a cache could not read it (RFC 9111 says what wins), but because whoever wrote it meant something else.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import update_wrapper
from typing import Any

from ..._base.freshness import Duration, seconds
from ...memo.options import is_async
from ..rules.directives import MAX_DELTA
from ..rules.fields import is_token
from .app_origin import App, Message, Receive, Scope, Send

_FLAGS = ("public", "private", "no_cache", "no_store", "no_transform", "must_revalidate", "proxy_revalidate",
          "must_understand", "immutable")
_TIMES = ("max_age", "s_maxage", "stale_while_revalidate", "stale_if_error")


class CacheControl(str):
    """A Cache-Control value: a text, that also puts itself on answers.

    It is a str, so it goes wherever a header value goes. Called with a response that has `headers`, it is put there, and
    the response returned; called with a view that returns one, plain or async (a decorator, that is), it is that view with
    this on its responses. `wrap` does it for a whole ASGI application.
    """

    __slots__ = ()

    def __bytes__(self) -> bytes:
        return self.encode("ascii")

    def __call__(self, target: Any) -> Any:
        """Put this on what `target` answers, or on `target` itself."""
        headers = getattr(target, "headers", None)
        if headers is not None and hasattr(headers, "__setitem__"):
            headers["Cache-Control"] = str(self)
            return target
        if not callable(target):
            raise TypeError(f"cache_control: it goes on a response or a view, not on {target!r}")
        return _view(target, self)

    def wrap(self, app: App) -> App:
        """An ASGI application whose answers carry this, where they do not say their own."""
        value = bytes(self)

        async def controlled(scope: Scope, receive: Receive, send: Send) -> None:
            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = list(message.get("headers", ()))
                    if not any(name.lower() == b"cache-control" for name, _ in headers):
                        message = {**message, "headers": [*headers, (b"cache-control", value)]}
                await send(message)

            await app(scope, receive, sent if scope["type"] == "http" else send)

        return controlled


def cache_control(
    *,
    max_age: Duration | None = None,
    s_maxage: Duration | None = None,
    stale_while_revalidate: Duration | None = None,
    stale_if_error: Duration | None = None,
    public: bool = False,
    private: bool | str | Iterable[str] = False,
    no_cache: bool | str | Iterable[str] = False,
    no_store: bool = False,
    no_transform: bool = False,
    must_revalidate: bool = False,
    proxy_revalidate: bool = False,
    must_understand: bool = False,
    immutable: bool = False,
) -> CacheControl:
    """A Cache-Control value for a response (RFC 9111 section 5.2.2, RFC 5861, RFC 8246).

    max_age, s_maxage, stale_while_revalidate, stale_if_error: durations: seconds, a timedelta, or text such as "5m"; whole
        seconds are said, rounded down.
    private, no_cache: True, or the names of the fields that it is about.
    The others are True or False.

    The value is a str; put it on a response or a view by calling it: see `CacheControl`.
    Raises TypeError or ValueError that names the argument, also for words that contradict each other.

    >>> from samovar.edge import cache_control
    >>> cache_control(public=True, max_age="5m", stale_while_revalidate=30)
    'public, max-age=300, stale-while-revalidate=30'
    >>> cache_control(no_cache="set-cookie", max_age="1h")
    'no-cache="set-cookie", max-age=3600'
    """
    given: dict[str, Any] = {
        "public": public, "private": private, "no_cache": no_cache, "no_store": no_store, "no_transform": no_transform,
        "must_revalidate": must_revalidate, "proxy_revalidate": proxy_revalidate, "must_understand": must_understand,
        "immutable": immutable}
    times: dict[str, Duration | None] = {
        "max_age": max_age, "s_maxage": s_maxage, "stale_while_revalidate": stale_while_revalidate,
        "stale_if_error": stale_if_error}
    parts = [said for word in _FLAGS if (said := _flag(word, given[word])) is not None]
    parts += [f"{word.replace('_', '-')}={_whole(word, value)}" for word in _TIMES if (value := times[word]) is not None]
    if not parts:
        raise ValueError("cache_control: nothing is said; max_age=0 or no_cache=True makes every use ask first")
    _check(given, times)
    return CacheControl(", ".join(parts))


def _flag(word: str, value: Any) -> str | None:
    name = word.replace("_", "-")
    if value is True:
        return name
    if value is False:
        return None
    if word in ("private", "no_cache"):
        names: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
        if names and all(isinstance(one, str) and one.isascii() and is_token(one.encode()) for one in names):
            return f'{name}="{", ".join(one.lower() for one in names)}"'
        raise TypeError(f"cache_control: {word} must be True, False or names of fields, not {value!r}")
    raise TypeError(f"cache_control: {word} must be True or False, not {value!r}")


def _whole(word: str, value: Duration) -> int:
    return int(min(seconds(value, f"cache_control: {word}"), MAX_DELTA))


def _check(flags: dict[str, Any], times: dict[str, Duration | None]) -> None:
    said = {word for word, value in {**flags, **times}.items() if value is not False and value is not None}
    if flags["no_store"] is True and not flags["must_understand"] and said - {"no_store", "private", "no_cache",
                                                                              "no_transform"}:
        others = ", ".join(sorted(said - {"no_store", "private", "no_cache", "no_transform"}))
        raise ValueError(f"cache_control: no_store goes without {others}: what is not stored has no lifetime")
    if flags["public"] is True and flags["private"] is True:
        raise ValueError("cache_control: public and private contradict each other")
    if flags["private"] is True and "s_maxage" in said:
        raise ValueError("cache_control: s_maxage is for shared caches, which private keeps out")
    stale = {"stale_while_revalidate", "stale_if_error"} & said
    if stale and (flags["must_revalidate"] or flags["no_cache"] is True):
        who = "must_revalidate" if flags["must_revalidate"] else "no_cache"
        raise ValueError(f"cache_control: {who} forbids what {min(stale)} permits")


def _view(view: Callable[..., Any], value: CacheControl) -> Callable[..., Any]:
    """A view whose response carries the value."""
    def put(response: Any) -> Any:
        headers = getattr(response, "headers", None)
        if headers is None or not hasattr(headers, "__setitem__"):
            raise TypeError(f"cache_control: {view!r} must return a response that has headers, not {response!r}")
        headers["Cache-Control"] = str(value)
        return response

    if is_async(view):
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            answer: Awaitable[Any] = view(*args, **kwargs)
            return put(await answer)

        return update_wrapper(awaited, view)

    def called(*args: Any, **kwargs: Any) -> Any:
        return put(view(*args, **kwargs))

    return update_wrapper(called, view)
