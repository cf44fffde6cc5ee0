"""What a run was made of, as plain data: for fingerprints of checkpoints and for the cards of trained agents."""

import dataclasses

import flax.linen as nn
import numpy as np

from jaxprice import policies
from jaxprice.types import Policy


def described(thing):
    """A nested dict, list, number or string that says what `thing` is; functions by their types.

    Raises:
      ValueError: a policy that has no description, see `policies.describe`.
    """
    if isinstance(thing, nn.Module):
        fields = {key: getattr(thing, key) for key in thing.__dataclass_fields__ if key not in ("parent", "name")}
        return {"kind": type(thing).__name__} | {key: described(value) for key, value in fields.items()}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        return {"kind": type(thing).__name__} | {key: described(value) for key, value in fields.items()}
    if isinstance(thing, Policy):
        return policies.describe(thing)
    if isinstance(thing, dict):
        return {str(key): described(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [described(value) for value in thing]
    if isinstance(thing, np.ndarray | np.generic):
        return thing.tolist()
    return thing if thing is None or isinstance(thing, bool | int | float | str) else repr(type(thing))
