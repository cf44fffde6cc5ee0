"""What a run was made of, as plain data: for fingerprints of checkpoints and for the cards of trained agents."""

import dataclasses

import flax.linen as nn
import numpy as np


def described(thing):
    """A nested dict, list, number or string that says what `thing` is; functions and policies by their names."""
    if isinstance(thing, nn.Module):
        fields = {key: getattr(thing, key) for key in thing.__dataclass_fields__ if key not in ("parent", "name")}
        return {"kind": type(thing).__name__} | {key: described(value) for key, value in fields.items()}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        return {"kind": type(thing).__name__} | {key: described(value) for key, value in fields.items()}
    if hasattr(thing, "_fields"):  # a policy: its three functions are closures; the maker's name says which
        return getattr(thing.act, "__qualname__", "policy").split(".")[0]
    if isinstance(thing, dict):
        return {str(key): described(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [described(value) for value in thing]
    if isinstance(thing, np.ndarray | np.generic):
        return thing.tolist()
    return thing if thing is None or isinstance(thing, bool | int | float | str) else repr(type(thing))
