"""Atomic writes: a file appears complete or not at all. Folders of results are recognised by a marker file.

A file is written under a temporary name, flushed to disk, and renamed. If writing fails, the temporary file is removed. If
the process is killed, its temporary file stays until the next process opens the folder and calls `sweep`. `sweep` leaves the
temporary files of running processes alone.
"""

import contextlib
import csv
import itertools
import json
import os
import re
import socket
import tempfile
import time
import uuid
from pathlib import Path

HOST = re.sub(r"\W+", "-", socket.gethostname())[:40]
TOKEN = uuid.uuid4().hex[:8]  # of this process, because the system reuses process ids
LEFTOVER = re.compile(r"\.(?P<host>[\w-]*)\.(?P<process>\d+)\.(?P<token>[0-9a-f]{8})\.\d+\.jaxprice-temporary$")
FORGOTTEN = 24 * 3600.0  # seconds after which a temporary file of another machine is taken as abandoned
_numbers = itertools.count()  # makes names unique among threads


@contextlib.contextmanager
def whole(path):
    """A temporary path that replaces `path` if the block succeeds, and is removed if it fails."""
    path = Path(path)
    with temporary(path.parent, path.name) as made:
        yield made
        place(made, path)


@contextlib.contextmanager
def temporary(folder, name):
    """A path in a folder to write to before `place`; a file that is still there when the block ends is removed."""
    made = Path(folder) / f"{name}.{HOST}.{os.getpid()}.{TOKEN}.{next(_numbers)}.jaxprice-temporary"
    try:
        yield made
    finally:
        made.unlink(missing_ok=True)


def place(made, path):
    """Flush a written file to disk, then give it its final name."""
    with open(made, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(made, path)
    with contextlib.suppress(OSError):  # some systems cannot flush a folder; the rename reaches the disk later
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path, content):
    """Write bytes or text atomically."""
    with whole(path) as made:
        made.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path, content):
    """Write plain data as JSON, atomically."""
    write(path, json.dumps(content, indent=1, default=str) + "\n")


def read_json(path):
    """Plain data of a JSON file, or None if the file is missing or cannot be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return None


def write_csv(path, header, rows):
    """Write a table as CSV, whole or not at all.

    Args:
      path: of the file.
      header: names of the columns.
      rows: one sequence a row, or a dict, of which the entries in the header are written.
    """
    lines = [[row.get(name, "") for name in header] if isinstance(row, dict) else row for row in rows]
    with whole(path) as made, made.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])


def write_figure(path, figure, dpi=110):
    """Write a Matplotlib figure, whole or not at all; the ending of the path gives the format."""
    with whole(path) as made:
        figure.savefig(made, dpi=dpi, format=Path(path).suffix[1:])


def open_folder(folder, name, holds, ours, *inside):
    """Make a results folder, or check the one that is there.

    Leftovers of dead processes are removed. Hidden files do not count as content.

    Args:
      folder: path.
      name: of the argument, for messages.
      holds: what such a folder holds, in words.
      ours: function without arguments: whether the content is of this kind. It is asked if there is any.
      *inside: names of folders in it that are made too.

    Returns:
      `(whether it had content, whether it can be written)`.

    Raises:
      ValueError: it is a file, it cannot be made, or it holds other files.
    """
    folder = Path(folder)
    try:
        taken = folder.exists() and not folder.is_dir()
        held = [path.name for path in folder.iterdir() if not _ignored(path)] if folder.is_dir() else []
    except (OSError, ValueError) as error:
        raise _not_writable(folder, name, error) from error
    if taken:
        raise ValueError(f"{name} must be a folder, but {folder} is a file")
    if held and not ours():
        raise ValueError(
            f"{name} must be empty or hold {holds}, but {folder} holds other files: {', '.join(sorted(held)[:5])}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = can_write(folder)
        if writable:
            sweep(folder, *(folder / one for one in inside))
            for one in inside:
                (folder / one).mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise _not_writable(folder, name, error) from error
    return bool(held), writable


def _ignored(path):
    return path.name[0] == "." or is_temporary(path)


def _not_writable(folder, name, error):
    reason = getattr(error, "strerror", None) or error
    return ValueError(f"{name} must be a folder that can be written, got {str(folder)[-200:]!r}: {reason}")


def set_aside(path, why):
    """Rename a file that cannot be read; returns a sentence that says so."""
    ways = ("unreadable", *(f"unreadable-{k}" for k in range(2, 1000)))
    aside = next(there for way in ways if not os.path.lexists(there := path.with_suffix(f".{way}")))
    path.rename(aside)
    return f"{path} cannot be used ({why}): it is kept as {aside.name}, and computed anew"


def sweep(*folders):
    """Remove the temporary files of processes that have ended."""
    for folder in folders:
        for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if (found := LEFTOVER.search(path.name)) and not _lives(path, **found.groupdict()):
                with contextlib.suppress(OSError):
                    path.unlink()


def _lives(path, host, process, token):
    """Whether a process may still be writing to a temporary file."""
    if host != HOST:
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < FORGOTTEN
        return False
    if int(process) == os.getpid():
        return token == TOKEN
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        return True
    return True


def is_temporary(path):
    """Whether a file is one of these temporary files, in use or abandoned."""
    return LEFTOVER.search(Path(path).name) is not None


def can_write(folder):
    """Whether this process can create files in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
