"""A database with a query that is really slow: an SQLite file, a table without an index, and a sum over all of it.

How slow is not guessed: the table grows until the query takes as long as asked, measured on this machine.
"""

import sqlite3
from pathlib import Path

from .._base.clock import stopwatch

_TABLES = """
CREATE TABLE article (name TEXT PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE sale (number INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
"""
_GROW = """
INSERT INTO sale
WITH RECURSIVE more(number) AS (SELECT :first UNION ALL SELECT number + 1 FROM more WHERE number < :last)
SELECT number, (number * 48271 + :seed) % 100003 FROM more
"""
_TAKINGS = """
SELECT coalesce((SELECT version FROM article WHERE name = :name), 1), sum(cents), count(*)
FROM sale WHERE number <= :depth AND (cents + :salt) % 7 > 0
"""
_CHANGE = "INSERT INTO article VALUES (:name, 2) ON CONFLICT (name) DO UPDATE SET version = version + 1"


class Database:
    """One connection to a file that `create` made. A connection is used by one thread at a time."""

    def __init__(self, path: Path, depth: int) -> None:
        self._path, self.depth = path, depth
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)

    @classmethod
    def create(cls, path: Path, *, seed: int, query_s: float) -> "Database":
        """Make the file, with as many sales as it takes for `takings` to last about `query_s` seconds here."""
        made = cls(path, 0)
        made._file.execute("PRAGMA journal_mode = WAL")  # whoever reads does not wait for whoever writes
        made._file.execute("PRAGMA synchronous = OFF")
        made._file.executescript(_TABLES)
        rows, took_s = 0, 0.0
        while took_s < query_s:
            more = 20_000 if not took_s else min(max(20_000, int(rows * (1.1 * query_s / took_s - 1))), 500_000)
            made._file.execute(_GROW, {"first": rows + 1, "last": rows + more, "seed": seed})
            rows += more
            made.depth = rows
            took_s = made.measure()
        made.depth = max(1, int(rows * query_s / took_s))
        return made

    def another(self) -> "Database":
        """One more connection to the same file."""
        return Database(self._path, self.depth)

    def measure(self, times: int = 7) -> float:
        """How long the query takes when nobody else asks, in seconds: the least of some tries."""
        took_s = []
        for _ in range(times):
            begun_s = stopwatch()
            self.takings("tea")
            took_s.append(stopwatch() - begun_s)
        return min(took_s)

    def takings(self, name: str) -> dict[str, object]:
        """What was taken for an article: the slow query. `version` says how often the article was changed."""
        salt = sum(name.encode())
        version, cents, count = self._file.execute(_TAKINGS, {"name": name, "depth": self.depth, "salt": salt}).fetchone()
        return {"name": name, "version": version, "cents": cents, "count": count}

    def change(self, name: str) -> None:
        """Change an article: whatever was read of it before is out of date."""
        self._file.execute(_CHANGE, {"name": name})

    def close(self) -> None:
        self._file.close()
