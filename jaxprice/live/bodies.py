"""The body of a request: JSON of a limited size, with known fields, and nothing else."""

import json
from typing import Any

import numpy as np

from jaxprice import checks

LIMIT = 64 * 1024  # bytes


class Refused(Exception):
    """A request that is answered with an error: status and text for the client."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status, self.text = status, text


async def read(request: Any, limit: int) -> bytes:
    """The body of a request; what is too long is not read to its end.

    Raises:
      Refused: it is longer than `limit` bytes.
    """
    said = request.headers.get("content-length", "0")
    if not said.isascii() or not said.isdigit() or int(said[:20]) > limit:
        raise Refused(413, f"the body must be at most {limit} bytes")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Refused(413, f"the body must be at most {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def fields(body: bytes, needed: tuple[str, ...], optional: tuple[str, ...]) -> dict:
    """The fields of a JSON object.

    Raises:
      Refused: it is no JSON object, or a field is missing or unknown.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise Refused(400, f"the body must be JSON: {said}") from None
    if not isinstance(found, dict):
        raise Refused(400, f"the body must be a JSON object with {', '.join(needed)}")
    for name in found:
        try:
            checks.choice("field", name, (*needed, *optional))
        except ValueError as error:
            raise Refused(400, str(error)) from None
    for name in needed:
        if name not in found:
            raise Refused(400, f"the field {name!r} is missing")
    return found


def observation(name: str, value: Any, like: Any) -> Any:
    """An observation: a list of numbers, or an object of lists, in the structure of `like`; None stays None.

    Raises:
      Refused: it has another structure.
    """
    if value is None:
        return None
    if isinstance(like, dict):
        if not isinstance(value, dict) or value.keys() != like.keys():
            raise Refused(400, f"{name} must be an object with {', '.join(map(str, like))}")
        return {key: observation(name, value[key], like[key]) for key in like}
    try:
        array = np.asarray(value)
        if isinstance(value, dict) or array.dtype.kind not in "iufb":
            raise ValueError
    except ValueError:
        raise Refused(400, f"{name} must be numbers of shape {list(np.shape(like))}") from None
    return array


def _no_number(name):
    raise ValueError(f"{name} is no number in JSON")


def _once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found
