"""Files that are there whole or not at all, and folders that are known by a mark.

A file is written under a temporary name, brought to the disk, and renamed. The temporary goes when writing fails; of a
process that was killed it stays until the next one opens the folder (`sweep`), which leaves those of living processes alone.
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
TOKEN = uuid.uuid4().hex[:8]  # of this process: another one may get its number after it has ended
LEFTOVER = re.compile(r"\.(?P<host>[\w-]*)\.(?P<process>\d+)\.(?P<token>[0-9a-f]{8})\.\d+\.jaxprice-temporary$")
FORGOTTEN = 24 * 3600.0  # seconds after which a temporary of another machine is nobody's
_numbers = itertools.count()  # threads may write to the same place


@contextlib.contextmanager
def whole(path):
    """A temporary path that takes the place of `path` when the block ends well, and is gone when it does not."""
    path = Path(path)
    with temporary(path.parent, path.name) as made:
        yield made
        place(made, path)


@contextlib.contextmanager
def temporary(folder, name):
    """A path in a folder to write to, and then to `place`; what is left there when the block ends is removed."""
    made = Path(folder) / f"{name}.{HOST}.{os.getpid()}.{TOKEN}.{next(_numbers)}.jaxprice-temporary"
    try:
        yield made
    finally:
        made.unlink(missing_ok=True)


def place(made, path):
    """Give a file that was written its name, once its content is on the disk."""
    with open(made, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(made, path)
    with contextlib.suppress(OSError):  # some systems cannot: there the rename is on the disk a little later
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path, content):
    """Write bytes or text, whole or not at all."""
    with whole(path) as made:
        made.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path, content):
    """Write plain data as JSON, whole or not at all."""
    write(path, json.dumps(content, indent=1, default=str) + "\n")


def read_json(path):
    """Plain data of a JSON file, or None where there is none that can be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return None


def set_aside(path, why):
    """Rename what cannot be read; returns a sentence that says so."""
    ways = ("unreadable", *(f"unreadable-{k}" for k in range(2, 1000)))
    aside = next(there for way in ways if not os.path.lexists(there := path.with_suffix(f".{way}")))
    path.rename(aside)
    return f"{path} cannot be used ({why}): it is kept as {aside.name}, and computed anew"


def sweep(*folders):
    """Remove temporaries of processes that ended before they could."""
    for folder in folders:
        for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if (found := LEFTOVER.search(path.name)) and not _lives(path, **found.groupdict()):
                with contextlib.suppress(OSError):
                    path.unlink()


def _lives(path, host, process, token):
    """Whether somebody may still be writing to a temporary."""
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
    except OSError:  # somebody else's
        return True
    return True


def is_temporary(path):
    """Whether a file is one of these temporaries, living or not."""
    return LEFTOVER.search(Path(path).name) is not None


def can_write(folder):
    """Whether files can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
