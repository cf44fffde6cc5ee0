"""The journal of a session: one SQLite file to which events are appended, and snapshots of what follows from them.

An event is one call of the session: quotes, sales, a switch, new stock. It is one row with a number, a kind, the time and
a block of bytes, and it is committed whole before the call returns. Calls for many products are therefore committed as a
group. The file is in write-ahead mode. How durable a commit is, the caller chooses (`SYNC`). With "full" it survives a power
failure. With "normal" and "off" it survives the end of the process, but the last commits before a power failure may be lost;
with "off" the whole file may be. A killed process loses nothing in any of them.

A file belongs to one process at a time: it is opened exclusively, and the system frees it when the process ends, however it
ends. Nothing in the file is executed or unpickled: blocks are plain numbers with a checksum.

Source: SQLite's documentation, "Write-Ahead Logging" (sqlite.org/wal.html) and "PRAGMA synchronous".
"""

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxprice import checks

VERSION = 1
SYNC = ("full", "normal", "off")
PART = 2**26  # bytes of a snapshot in one row
TABLES = """
create table about (name text primary key, value text not null) without rowid;
create table events (
  number integer primary key, kind text not null, time real not null, data blob not null, sum integer not null
);
create table snapshots (number integer, part integer, data blob not null, sum integer not null, primary key (number, part));
"""


class JournalError(OSError):
    """The journal could not be written; the call that needed it had no effect."""


class Event(NamedTuple):
    """One call of a session: its number, kind, time in seconds, and bytes."""

    number: int
    kind: str
    time: float
    data: bytes


class Journal:
    """An open journal. Make it with `create` or `open`."""

    def __init__(self, path: Path, sync: str, new: bool):
        checks.choice("sync", sync, SYNC)
        self.path, self.broken = path, ""
        self._file = _connect(path, sync, new)
        self.next = 0

    @classmethod
    def create(cls, path: Any, about: dict, sync: str = "full") -> "Journal":
        """A new journal.

        Args:
          path: of a file that does not exist yet.
          about: what the file belongs to, plain data.
          sync: one of `SYNC`.

        Raises:
          ValueError: there is a file already, or it cannot be made.
        """
        path = checked_path(path)
        if path.exists():
            raise ValueError(f"path must be a new file, but {path} exists: live.Session.open goes on with it")
        made = cls(path, sync, True)
        try:
            made._file.executescript("begin;" + TABLES + "commit;")
            rows = [("version", json.dumps(VERSION)), *((name, json.dumps(value)) for name, value in about.items())]
            with made._transaction():
                made._file.executemany("insert into about values (?, ?)", rows)
        except (sqlite3.Error, JournalError) as error:
            made.close()
            raise ValueError(f"path must be a file that can be written, got {str(path)[-200:]!r}: {error}") from error
        return made

    @classmethod
    def open(cls, path: Any, sync: str = "full") -> "Journal":
        """A journal that is there.

        Raises:
          ValueError: there is none; it is damaged, of another version or no journal; or a process has it open.
        """
        path = checked_path(path)
        if not path.is_file() or not path.stat().st_size:
            held = "it is empty" if path.is_file() else "there is no such file"
            raise ValueError(f"path must be a journal, got {path}: {held}; live.Session(...) makes one")
        made = cls(path, sync, False)
        try:
            with made.reading():
                made._check()
                made.next = made._file.execute("select coalesce(max(number) + 1, 0) from events").fetchone()[0]
        except BaseException:
            made.close()
            raise
        return made

    def _check(self):
        """Raise if the file is not a whole journal of this version."""
        tables = {name for (name,) in self._file.execute("select name from sqlite_master where type = 'table'")}
        if not {"about", "events", "snapshots"} <= tables:
            raise ValueError(
                f"path must be a journal of jaxprice.live, but {self.path} holds {sorted(tables)[:5] or 'nothing'}"
            )
        version = self.about().get("version")
        if version != VERSION:
            raise ValueError(f"{self.path} is a journal of version {checks.shown(version)}; this is version {VERSION}")
        pages, size = (self._file.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if pages * size > self.path.stat().st_size + sum(wal.stat().st_size for wal in _beside(self.path)):
            raise ValueError(f"{self.path} is damaged: it should have {pages} pages and is shorter; nothing was changed")
        if self.path.stat().st_size <= 2**28 and (found := self._file.execute("pragma quick_check").fetchone()[0]) != "ok":
            raise ValueError(f"{self.path} is damaged: {found}; nothing was changed")

    @contextlib.contextmanager
    def reading(self):
        """Within the block, what SQLite finds wrong with the file is a ValueError."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise _taken(self.path) from error
            raise ValueError(f"{self.path} cannot be read: {error}; nothing was changed") from error
        except (sqlite3.Error, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is damaged: {error}; nothing was changed") from error

    def about(self) -> dict:
        """What the file belongs to."""
        return {name: json.loads(value) for name, value in self._file.execute("select name, value from about")}

    def append(self, kind: str, time: float, data: bytes) -> int:
        """Commit an event and return its number.

        Raises:
          JournalError: it could not be written, as on a full disk. The file is as before.
        """
        with self._transaction():
            row = self.next, kind, time, data, zlib.crc32(data)
            self._file.execute("insert into events values (?, ?, ?, ?, ?)", row)
        self.next += 1
        return self.next - 1

    @contextlib.contextmanager
    def _transaction(self):
        if self.broken:
            raise JournalError(f"{self.path} is closed to writing after an error: {self.broken}; open it again")
        try:
            self._file.execute("begin immediate")
            yield
            self._file.execute("commit")
        except sqlite3.Error as error:
            self._undo(error)
            raise JournalError(f"{self.path} could not be written, so nothing was done: {error}") from error

    def _undo(self, error):
        """Take back what a failed transaction has written; if that fails too, write no more."""
        try:
            if self._file.in_transaction:
                self._file.execute("rollback")
            last = self._file.execute("select coalesce(max(number) + 1, 0) from events").fetchone()[0]
            if last != self.next:
                self.broken = f"it is not known what was written ({error})"
        except sqlite3.Error as second:
            self.broken = str(second)

    def events(self, first: int = 0) -> Iterator[Event]:
        """The events from number `first`.

        Raises:
          ValueError: one is missing or damaged.
        """
        expected = first
        with self.reading():
            for number, kind, time, data, total in self._file.execute(
                "select number, kind, time, data, sum from events where number >= ? order by number", (first,)
            ):
                if number != expected:
                    raise ValueError(f"{self.path} is damaged: event {expected} is missing; nothing was changed")
                if zlib.crc32(data) != total:
                    raise ValueError(f"{self.path} is damaged: event {number} has another checksum; nothing was changed")
                expected += 1
                yield Event(number, kind, time, data)

    def save(self, data: bytes) -> None:
        """Commit a snapshot of what follows from the events so far; the first one and the last two are kept."""
        with self._transaction():
            self._file.execute("delete from snapshots where number = ?", (self.next,))
            for part, first in enumerate(range(0, len(data), PART)):
                piece = data[first : first + PART]
                self._file.execute("insert into snapshots values (?, ?, ?, ?)", (self.next, part, piece, zlib.crc32(piece)))
            self._file.execute(
                "delete from snapshots where number > 0 and number not in "
                "(select distinct number from snapshots order by number desc limit 2)"
            )

    def snapshot(self, first: bool = False) -> tuple[int, bytes]:
        """The latest snapshot that is whole, or the first one: the number of events before it, and its bytes.

        Raises:
          ValueError: there is none.
        """
        order = "asc" if first else "desc"
        with self.reading():
            numbers = self._file.execute(f"select distinct number from snapshots order by number {order}").fetchall()
            for (number,) in numbers[:1] if first else numbers:
                rows = self._file.execute(
                    "select data, sum from snapshots where number = ? order by part", (number,)
                ).fetchall()
                if rows and all(zlib.crc32(data) == total for data, total in rows):
                    return number, b"".join(data for data, _ in rows)
        raise ValueError(f"{self.path} is damaged: it has no whole snapshot; nothing was changed")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self.broken = self.broken or "it was closed"
        self._file.close()


def checked_path(path: Any) -> Path:
    """`path` as a `Path`.

    Raises:
      ValueError: it is no path.
    """
    if not isinstance(path, str | os.PathLike) or not str(path) or "\0" in str(path):
        raise ValueError(f"path must be the path of a file, got {checks.shown(path)}")
    return Path(path)


def _connect(path, sync, new):
    try:
        file = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ValueError(f"path must be a file that can be opened, got {str(path)[-200:]!r}: {error}") from error
    try:
        file.execute("pragma trusted_schema = off")
        file.execute("pragma locking_mode = exclusive")
        file.execute("pragma journal_mode = wal")
        file.execute(f"pragma synchronous = {sync}")
        file.execute("begin immediate")  # takes the lock, which stays until the file is closed
        file.execute("rollback")
    except sqlite3.Error as error:
        file.close()
        if new:
            raise ValueError(f"path must be a file that can be written, got {str(path)[-200:]!r}: {error}") from error
        if "locked" in str(error):
            raise _taken(path) from error
        raise ValueError(f"path must be a journal, but {path} is damaged or none: {error}; nothing was changed") from error
    return file


def _taken(path):
    return ValueError(
        f"{path} is open in another session, of this process or another one: a journal has one writer at a time"
    )


def _beside(path):
    wal = path.with_name(path.name + "-wal")
    return [wal] if wal.exists() else []
