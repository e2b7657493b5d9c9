"""The workers of one proxy, joined so that a purge reaches all of them before it is answered, and one can speak for all.

Each worker listens on a Unix socket in a directory that only the proxy's user can open, from before it serves until
after. Whoever purges does it at home first, then tells every socket that is there and waits for each. One that nobody
listens on any more was left by a worker that died, and its cache with it. One that does not answer in time makes the
purge fail, so that nobody believes in what did not happen; to purge again is safe.

A worker that starts while others purge: it listens before it takes its first request, so what it has when it was not
told is younger than the purge.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

Purge = Callable[..., Awaitable[int]]
Look = Callable[[int], dict[str, Any]]  # what a worker says of itself, as JSON can
_LONGEST = 16_777_216  # bytes of one message


class PurgeIncomplete(Exception):
    """Not every worker has answered: some may still serve what was to be purged. Purge again."""


class Joined:
    """This worker's end, and its ways to the others."""

    def __init__(self, directory: str, purge: Purge, limit_s: float, look: Look = lambda most: {}) -> None:
        self._place = Path(directory) / f"{os.getpid()}.sock"
        self._purge, self._limit_s, self._look = purge, limit_s, look
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        The others find the socket when somebody listens on it, and no sooner: one that refuses is taken for a dead worker's
        and removed, and this worker would never hear of a purge again.
        """
        unready = self._place.with_suffix(".new")
        _forget(unready)
        self._server = await asyncio.start_unix_server(self._told, unready, limit=_LONGEST)
        os.replace(unready, self._place)

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            _forget(self._place)

    async def purge(self, *, urls: Iterable[str] = (), tags: Iterable[str] = (), everything: bool = False,
                    soft: bool = False) -> int:
        """Purge here and in every other worker; how many keys in all. Raises PurgeIncomplete, and what Exchange.purge
        raises for what is no URL or tag."""
        words = {"urls": [*urls], "tags": [*tags], "everything": everything, "soft": soft}
        count = await self._purge(**words)
        told = await self._tell_all({"purge": words})
        silent = sorted(worker for worker, answer in told.items() if answer is None or type(answer.get("purged")) is not int)
        if silent:
            raise PurgeIncomplete(f"no answer from the workers {', '.join(silent)}")
        counts: list[int] = [answer["purged"] for answer in told.values() if answer is not None]
        return count + sum(counts)

    async def look(self, most: int) -> list[dict[str, Any]]:
        """What this worker says of itself, and every other that answers. most: how much of what there may be much of."""
        told = await self._tell_all({"look": most})
        return [self._look(most), *(answer["looked"] for answer in told.values() if answer and "looked" in answer)]

    async def _tell_all(self, words: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
        """What each other worker that is there answers, by its process; None for one that does not answer properly."""
        line = json.dumps(words).encode() + b"\n"
        others = [place for place in self._place.parent.glob("*.sock") if place != self._place]
        told = await asyncio.gather(*(self._tell(place, line) for place in others))
        return {place.stem: answer for place, answer in zip(others, told, strict=True) if answer != {}}

    async def _tell(self, place: Path, line: bytes) -> dict[str, Any] | None:
        """What one worker answers; {} when it is gone, None when it does not answer properly."""
        writer = None
        try:
            async with asyncio.timeout(self._limit_s):
                reader, writer = await asyncio.open_unix_connection(place, limit=_LONGEST)
                writer.write(line)
                answer = json.loads(await reader.readline())
                return answer if isinstance(answer, dict) and answer else None
        except (ConnectionRefusedError, FileNotFoundError):  # nobody is there any more
            _forget(place)
            return {}
        except (OSError, TimeoutError, ValueError):
            return None
        finally:
            if writer is not None:
                writer.close()

    async def _told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                words = json.loads(await reader.readline())
            answer = ({"looked": self._look(words["look"])} if "look" in words else
                      {"purged": await self._purge(**words["purge"])})
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()


def _forget(place: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
