"""What is kept of compiled code: the latest of each kind, so that a sweep over hyperparameters replaces its own programs."""

import threading

from jaxprice.anatomy import Cache

EACH = 16  # of a kind
TOTAL = 256


class Kept(Cache):
    """What was made, found again by its key; what has not been asked for the longest is let go of when there is too much.

    Args:
      each: how many of one kind.
      total: how many of all kinds together.
    """

    def __init__(self, each=EACH, total=TOTAL):
        super().__init__()
        self.each, self.total, self._lock = each, total, threading.Lock()

    def find(self, kind, key, make, *args):
        """What was made for this key, or `make(*args)` now; `kind` tells what it counts among."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
                return self[key][1]
        made = make(*args)  # unlocked: it may take long, and look for other things
        with self._lock:
            self[key] = kind, made
            self.move_to_end(key)
            mine = [other for other, (its, _) in self.items() if its == kind]
            for other in mine[: -self.each] or list(self)[: -self.total]:
                del self[other]
        return made


def maker(policy):
    """The kind of a policy, text: the name of what made it, apart from its hyperparameters."""
    act = policy.act
    description = getattr(act, "description", None)
    if isinstance(description, str):
        return description.partition("(")[0]
    return f"{getattr(act, '__module__', '')}.{getattr(act, '__qualname__', type(act).__qualname__)}"
