"""Who is measured: a bare dict, functools, samovar and eight libraries, each as its own documentation says to use it.

A contestant is a name and a way to memoize a function. A peer that is not installed, or breaks, is reported in one line
and left out; it never fails the run. Peers differ in what they promise (policy, threads, coalescing): `PROMISES` says
how, because a number without it misleads. `python -m bench.peers` lists them, `--install` installs what is missing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

Function = Callable[..., Any]
Maker = Callable[[Function, "int | None"], Function]

HERE = Path(__file__).parent
FUNCTOOLS, DROP_IN, MEMOIZE, METHOD = "functools", "samovar.lru_cache", "samovar.memoize", "samovar.cached_method"
DICT, NOOP = "dict", "no-op call"

ENDLESS = 1 << 40  # for peers that know no "unbounded"


def by_functools(fn: Function, maxsize: int | None) -> Function:
    return functools.lru_cache(maxsize)(fn)


def by_samovar_lru_cache(fn: Function, maxsize: int | None) -> Function:
    import samovar

    return samovar.lru_cache(maxsize)(fn)


def by_samovar_memoize(fn: Function, maxsize: int | None) -> Function:
    import samovar

    return samovar.memoize(maxsize=maxsize)(fn)


def by_cachebox(fn: Function, maxsize: int | None) -> Function:
    import cachebox

    return cachebox.cached(cachebox.LRUCache(maxsize or 0), postprocess=None)(fn)


def by_cachetools(fn: Function, maxsize: int | None) -> Function:
    import cachetools

    store: Any = {} if maxsize is None else cachetools.LRUCache(maxsize)
    return cachetools.cached(store)(fn)


def by_moka(fn: Function, maxsize: int | None) -> Function:
    import moka_py

    return moka_py.cached(ENDLESS if maxsize is None else maxsize, policy="lru")(fn)


def by_theine(fn: Function, maxsize: int | None) -> Function:
    import theine

    if maxsize is None:
        raise NotImplementedError("theine has no unbounded cache")
    return theine.Memoize(maxsize, None)(fn)


def by_lru_dict(fn: Function, maxsize: int | None) -> Function:
    import lru

    if maxsize is None:
        raise NotImplementedError("lru-dict has no unbounded cache")
    store: Any = lru.LRU(maxsize)

    def remembered(key: Any) -> Any:  # lru-dict is a mapping: the wrapper that its users write
        try:
            return store[key]
        except KeyError:
            store[key] = value = fn(key)
            return value

    return remembered


def by_fastcache(fn: Function, maxsize: int | None) -> Function:
    import fastcache

    memoized: Function = fastcache.clru_cache(maxsize=maxsize)(fn)
    return memoized


def by_warp_cache(fn: Function, maxsize: int | None) -> Function:
    import warp_cache

    if maxsize is None:
        raise NotImplementedError("warp_cache has no unbounded cache")
    return warp_cache.cache(max_size=maxsize)(fn)


def by_async_lru(fn: Function, maxsize: int | None) -> Function:
    import async_lru

    return async_lru.alru_cache(maxsize=maxsize)(fn)


OURS: dict[str, Maker] = {DROP_IN: by_samovar_lru_cache, MEMOIZE: by_samovar_memoize}
PEERS: dict[str, tuple[str, Maker]] = {  # name on PyPI: (module, maker)
    "cachebox": ("cachebox", by_cachebox),
    "cachetools": ("cachetools", by_cachetools),
    "moka-py": ("moka_py", by_moka),
    "theine": ("theine", by_theine),
    "lru-dict": ("lru", by_lru_dict),
    "fastcache": ("fastcache", by_fastcache),
    "warp_cache": ("warp_cache", by_warp_cache),
    "async-lru": ("async_lru", by_async_lru),
}
PROMISES = {
    FUNCTOOLS: "C; exact LRU; concurrent misses all compute",
    DROP_IN: "C; exact LRU; the same promises as functools",
    MEMOIZE: "C; exact LRU; concurrent misses on one key compute once",
    "cachebox": "Rust store, Python wrapper; exact LRU; a lock per key while loading",
    "cachetools": "pure Python; exact LRU; no lock unless given one",
    "moka-py": "Rust store, Python wrapper; LRU, bounds kept shortly after the fact; safe in threads",
    "theine": "Rust policy, Python store; W-TinyLFU; maintenance in a thread of its own",
    "lru-dict": "C mapping; exact LRU; the wrapper here is three lines of Python",
    "fastcache": "C; exact LRU; no longer maintained",
    "warp_cache": "Rust; SIEVE; safe in threads",
    "async-lru": "pure Python, async def only; exact LRU; a task per miss, shared by waiters",
}
ONE_ARGUMENT = {"lru-dict"}  # left out where a case passes anything but one positional argument
ASYNC_TOO = {"cachebox", "moka-py", "theine", "warp_cache"}


def why_missing(name: str) -> str | None:
    """None when the peer `name` can be imported here, otherwise one line that says why not."""
    try:
        importlib.import_module(PEERS[name][0])
    except Exception as error:  # a peer may break in any way it likes
        return f"{name}: not measured, {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def installed() -> list[str]:
    return [name for name in PEERS if why_missing(name) is None]


def versions() -> dict[str, str]:
    """The version of every contestant that is a distribution."""
    found = {}
    try:
        found["samovar"] = importlib.import_module("samovar").__version__
    except (ImportError, AttributeError):
        pass
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def install() -> None:
    """Install every line of requirements.txt that is missing, one by one; what fails is named and passed over."""
    for line in (HERE / "requirements.txt").read_text().splitlines():
        name = line.split("#")[0].strip()
        if not name:
            continue
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
            done = subprocess.run(command, capture_output=True, text=True)
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{name}: installed" if done.returncode == 0 else f"{name}: left out, pip said: {last}", flush=True)


def main() -> None:
    if "--install" in sys.argv[1:]:
        install()
    known = versions()
    for name in PEERS:
        print(why_missing(name) or f"{name} {known.get(name, '?')}: {PROMISES[name]}")


if __name__ == "__main__":
    main()
