"""The file of an agent: an uncompressed `.npz` with a card in JSON and one array a weight. Reading does not trust the file.

The content of a file is checked before its data are read. The directory of the archive must list a card and weights, and
they may not be larger than the file could hold. The card must be of this version. The headers of the arrays must have the
names, shapes and types of the network described by the card. So a file of a few megabytes cannot allocate gigabytes, and
nothing is ever unpickled.
"""

import contextlib
import dataclasses
import io
import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np

from jaxprice import files

VERSION = 1  # version of the file format
CARD = "card"
LARGEST_CARD = 2**22  # bytes
LARGEST_HEADER = 12_000  # bytes
EXPANDS = 16  # largest ratio of expanded size to file size: weights hardly compress
SMALL = 2**24  # bytes to which a file of any size may expand


@dataclasses.dataclass(frozen=True)
class Header:
    """Shape, type and place of an array, without its data."""

    shape: tuple
    dtype: np.dtype
    start: int  # start of the data in the entry
    size: int  # size of the entry


class Reader:
    """An open agent file; `card` is a dict, and `headers` describes the weights by name."""

    def __init__(self, file, size):
        self.zip = zipfile.ZipFile(file)
        entries = self.zip.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
            raise ValueError("its entries must be arrays with names of their own")
        for entry in entries:
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
                raise ValueError(f"its entry {entry.filename!r} is encrypted, or compressed by another way than deflation")
        if (whole := sum(entry.file_size for entry in entries)) > max(SMALL, EXPANDS * size):
            raise ValueError(f"a file of {size:,} bytes expands to {whole:,}, which no weights do")
        self.entries = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        if CARD not in self.entries:
            raise ValueError("it has no card")
        headers = {name: self._header(name) for name in self.entries}
        self.card = self._card(headers.pop(CARD))
        self.headers = headers

    def weights(self):
        """Name -> array. Call it only after checking the headers."""
        return {name: self._array(name) for name in self.headers}

    def _header(self, name):
        entry = self.entries[name]
        with self.zip.open(entry) as stream:
            head = io.BytesIO(stream.read(min(entry.file_size, LARGEST_HEADER)))
        version = np.lib.format.read_magic(head)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{name!r} is an array of version {version}")
        shape, _, dtype = readers[version](head)
        header = Header(shape, dtype, head.tell(), entry.file_size)
        if dtype.hasobject or header.start + dtype.itemsize * int(np.prod(shape, dtype=object)) != entry.file_size:
            raise ValueError(f"{name!r} does not hold the numbers that its header tells of")
        return header

    def _card(self, header):
        if header.shape != () or header.dtype.kind != "U" or header.size > LARGEST_CARD:
            raise ValueError("its card is not a text")
        card = json.loads(str(self._array(CARD)))
        if not isinstance(card, dict):
            raise ValueError("its card must be a JSON object")
        version = card.get("version")
        if type(version) is not int or version != VERSION:
            raise ValueError(f"its card is of version {version!r}")
        wanted = {"version", "network", "actions", "options", "deploy", "inputs", "told"}
        if wanted != set(card):
            raise ValueError(f"its card must have the keys {sorted(wanted)}, got {sorted(card)}")
        return card

    def _array(self, name):
        with self.zip.open(self.entries[name]) as stream:
            return np.lib.format.read_array(io.BytesIO(stream.read()), allow_pickle=False)  # verifies the checksum too


@contextlib.contextmanager
def opened(path):
    """The `Reader` of a file.

    Raises:
      ValueError: the file does not exist, cannot be read, or is not an agent; errors inside the block have this type too.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"no agent at {_name(path)}: an agent is one .npz file")
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"no agent at {_name(path)}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"no agent at {_name(path)}: it is not a file")
    try:
        with path.open("rb") as file:
            yield Reader(file, status.st_size)
    except Exception as error:  # damaged or hostile files cause many kinds of error
        told = str(error) or type(error).__name__
        raise ValueError(f"{_name(path)} is not an agent of version {VERSION}: {told[:300]}") from error


def write(path, card, weights):
    """Write a card and weights atomically.

    Raises:
      ValueError: the path does not end with ".npz" or cannot be written, or the card is not plain data.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"an agent is saved as one .npz file, got {_name(path)}")
    try:
        card = json.dumps(card)
    except (TypeError, ValueError) as error:
        raise ValueError(f"what an agent was told must be plain data: {error}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(path.parent)
        with files.whole(path) as made, made.open("wb") as file:
            np.savez(file, **{CARD: card}, **weights)
    except OSError as error:
        raise ValueError(f"no agent can be written to {_name(path)}: {error.strerror or error}") from error


def _name(path):
    """A path as an error message shows it."""
    text = str(path)
    return repr(text if len(text) <= 200 else f"...{text[-200:]}")
