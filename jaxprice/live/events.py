"""The bytes of journalled events: plain numbers in a stated order, little-endian, and nothing that is executed.

| kind | bytes |
|---|---|
| quotes | number of the first quote (int64), count (int32), `ledger.QUOTE` rows, observations uint32 `[count, words]` |
| sales | count (int32), whether next observations follow (int32), `ledger.SALE` rows, next observations |
| switch | count (int32), products (int32), fallback prices (float32), NaN where the switch is turned off |
| stock | count (int32), products (int32), units that are added (float32) |
| refused | count (int32), products (int32) that were asked for without stock |
"""

import struct

import numpy as np

from jaxprice.live.ledger import QUOTE, SALE

KINDS = ("quotes", "sales", "switch", "stock", "refused")


def quotes(first: int, rows: np.ndarray, seen: np.ndarray) -> bytes:
    """The bytes of quotes."""
    return struct.pack("<qi", first, len(rows)) + rows.tobytes() + seen.tobytes()


def sales(rows: np.ndarray, after: np.ndarray | None) -> bytes:
    """The bytes of sales, with what the seller saw after them, or None."""
    return struct.pack("<ii", len(rows), after is not None) + rows.tobytes() + (b"" if after is None else after.tobytes())


def numbers(product: np.ndarray, *more: np.ndarray) -> bytes:
    """The bytes of products and, for each, one float32 of every further column."""
    parts = (np.ascontiguousarray(x, "<f4").tobytes() for x in more)
    return struct.pack("<i", len(product)) + np.ascontiguousarray(product, "<i4").tobytes() + b"".join(parts)


def read_quotes(data: bytes, words: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of the first quote, quotes, and observations `[count, words]`."""
    first, count = struct.unpack_from("<qi", data)
    rows, seen = _columns(data, 12, count, (QUOTE, 1), ("<u4", words))
    return first, rows[:, 0], seen


def read_sales(data: bytes, words: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Sales, and next observations `[count, words]` or None."""
    count, told = struct.unpack_from("<ii", data)
    if told:
        rows, after = _columns(data, 8, count, (SALE, 1), ("<u4", words))
        return rows[:, 0], after
    return _columns(data, 8, count, (SALE, 1))[0][:, 0], None


def read_numbers(data: bytes, columns: int) -> list[np.ndarray]:
    """Products, and further columns."""
    (count,) = struct.unpack_from("<i", data)
    return [x[:, 0] for x in _columns(data, 4, count, ("<i4", 1), *(("<f4", 1) for _ in range(columns)))]


def _columns(data, at, count, *kinds):
    """Arrays `[count, width]` that follow each other, which must fill the bytes."""
    found = []
    for dtype, width in kinds:
        size = np.dtype(dtype).itemsize * width * count
        if count < 0 or at + size > len(data):
            raise ValueError("an event of the journal is shorter than it says")
        found.append(np.frombuffer(data, dtype, width * count, at).reshape(count, width))
        at += size
    if at != len(data):
        raise ValueError("an event of the journal is longer than it says")
    return found
