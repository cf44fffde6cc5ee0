"""Atomic writes: a file appears complete or not at all. Folders of results are recognised by a marker file.

A file is written under a temporary name, flushed to disk, and renamed. If writing fails, the temporary file is removed. If
the process is killed, its temporary file stays until the next process opens the folder and calls `sweep`. `sweep` leaves the
temporary files of running processes alone.
"""

import contextlib
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
