"""How a session begins: with a new journal, or with one that is there."""

import struct
from typing import Any

from jaxprice import checks
from jaxprice.live import identity
from jaxprice.live.guards import Door, Guards
from jaxprice.live.journal import Journal
from jaxprice.live.programs import Choices, programs
from jaxprice.live.shelf import Shelf


def new(policy, problem, path, products, seed, guards, sync, propensity, draws) -> tuple[Shelf, Journal | None, dict]:
    """Products at their start, a new journal or None, and what they belong to.

    Raises:
      ValueError: as in `Session`.
    """
    identity.check(policy, problem)
    products, seed = checks.positive_int("products", products), checks.seed(seed)
    if guards is not None and not isinstance(guards, Guards):
        raise ValueError(f"guards must be live.Guards or None, got {checks.shown(guards)}")
    options = {
        "propensity": checks.boolean("propensity", propensity),
        "draws": checks.whole("draws", draws, 0, checks.LARGEST),
    }
    about = identity.about(policy, problem, seed, products, guards or Guards(), options)
    about["guarded"] = guards is not None
    shelf = _shelf(policy, problem, about, guards or Guards())
    journal = None if path is None else Journal.create(path, about, sync)
    try:
        shelf.start()
        if journal is not None:
            journal.save(shelf.save())
    except BaseException:
        if journal is not None:
            journal.close()
            for name in (journal.path.name, journal.path.name + "-wal"):
                journal.path.with_name(name).unlink(missing_ok=True)
        raise
    return shelf, journal, about


def old(path: Any, policy, problem, seed, sync) -> tuple[Shelf, Journal, dict]:
    """The products of a journal as they stood, the journal, and what it belongs to.

    Raises:
      ValueError: as in `Session.open`.
    """
    identity.check(policy, problem)
    journal = Journal.open(path, sync)
    try:
        with journal.reading():
            about = journal.about()
        about.pop("version")
        identity.compare(journal.path, about, policy, problem)
        if seed is not None and checks.seed(seed) != about["seed"]:
            raise ValueError(f"seed must be that of {journal.path}, {about['seed']}, got {seed}")
        shelf = _shelf(policy, problem, about, Guards(**about["guards"]))
        replay(journal, shelf)
    except BaseException:
        journal.close()
        raise
    return shelf, journal, about


def replay(journal: Journal, shelf: Shelf) -> None:
    """Load the last snapshot and apply the events after it.

    Raises:
      ValueError: the journal is damaged.
    """
    number, data = journal.snapshot()
    try:
        shelf.load(data)
        for event in journal.events(number):
            shelf.apply(event)
    except (KeyError, EOFError, struct.error, ValueError) as error:
        if "damaged" in str(error):
            raise
        raise ValueError(f"{journal.path} is damaged: {error}; nothing was changed") from error


def _shelf(policy, problem, about, guards):
    choices = Choices(about["options"]["propensity"], about["options"]["draws"], about["guarded"])
    name = about["policy_digest"], about["problem_digest"]
    door = Door(guards, problem, about["products"])
    return Shelf(programs(name, policy, problem, about["seed"], choices), door, about["products"])
