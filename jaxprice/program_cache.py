"""A cache of compiled code: the latest programs of each kind, so that a sweep over hyperparameters replaces its own."""

import threading

from jaxprice.anatomy import Cache

EACH = 16  # of a kind
TOTAL = 256


class ProgramCache(Cache):
    """A cache of values by key; when it is full, the value that was used least recently is dropped.

    Args:
      each: how many values of one kind it holds.
      total: how many values of all kinds together.
    """

    def __init__(self, each=EACH, total=TOTAL):
        super().__init__()
        self.each, self.total, self._lock = each, total, threading.Lock()

    def find(self, kind, key, make, *args):
        """The value of this key, made by `make(*args)` if there is none; `kind` is what it is counted with."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
                return self[key][1]
        made = make(*args)  # without the lock: it may take long, and call `find` itself
        with self._lock:
            self[key] = kind, made
            self.move_to_end(key)
            mine = [other for other, (its, _) in self.items() if its == kind]
            for other in mine[: -self.each] or list(self)[: -self.total]:
                del self[other]
        return made


def maker_name(policy):
    """The kind of a policy, text: the name of what made it, apart from its hyperparameters."""
    act = policy.act
    description = getattr(act, "description", None)
    if isinstance(description, str):
        return description.partition("(")[0]
    return f"{getattr(act, '__module__', '')}.{getattr(act, '__qualname__', type(act).__qualname__)}"
