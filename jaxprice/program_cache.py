"""A cache of compiled code that holds the latest of each kind: a sweep over hyperparameters replaces its own code."""

import threading

from jaxprice.anatomy import Cache

EACH = 16  # entries of a kind
TOTAL = 256


class ProgramCache(Cache):
    """A cache with a limited number of entries; it drops the entry that has been unused for the longest time.

    Args:
      each: largest number of entries of one kind.
      total: largest number of entries of all kinds together.
    """

    def __init__(self, each=EACH, total=TOTAL):
        super().__init__()
        self.each, self.total, self._lock = each, total, threading.Lock()

    def find(self, kind, key, make, *args):
        """The cached value for this key, or else `make(*args)`; `kind` is the kind that the entry counts for."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
                return self[key][1]
        made = make(*args)  # without the lock: it may take long and call `find` itself
        with self._lock:
            self[key] = kind, made
            self.move_to_end(key)
            mine = [other for other, (its, _) in self.items() if its == kind]
            for other in mine[: -self.each] or list(self)[: -self.total]:
                del self[other]
        return made


def maker_name(policy):
    """The kind of a policy, text: the name of the function that made it, without its hyperparameters."""
    act = policy.act
    description = getattr(act, "description", None)
    if isinstance(description, str):
        return description.partition("(")[0]
    return f"{getattr(act, '__module__', '')}.{getattr(act, '__qualname__', type(act).__qualname__)}"
