"""Registries: functions by name, which note the names that code looks up, so that a fingerprint can count these alone."""

import contextlib


class Registry(dict):
    """Functions by name. A narrow `Walk` counts only the entries whose names occur as strings in the code it reaches.

    Args:
      title: name of the registry, unique among registries.
      entries: name -> registered object.
    """

    every = {}  # title -> registry  # noqa: RUF012

    def __init__(self, title, entries=()):
        super().__init__(entries)
        self.title = title
        Registry.every[title] = self

    def _look(self, *names):
        for looked in _watching:
            looked.update((self.title, name) for name in names)

    def __getitem__(self, name):
        self._look(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        """Like `dict.get`."""
        self._look(name)
        return super().get(name, default)

    def items(self):
        """Like `dict.items`."""
        self._look(*self)
        return super().items()

    def values(self):
        """Like `dict.values`."""
        self._look(*self)
        return super().values()


_watching = []


@contextlib.contextmanager
def watching():
    """Collect the `(title, name)` pairs that are looked up in registries within the block, in a set."""
    looked = set()
    _watching.append(looked)
    try:
        yield looked
    finally:
        _watching[:] = [other for other in _watching if other is not looked]
