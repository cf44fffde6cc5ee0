"""Checkpoints of training: orbax behind one class, so that a killed run resumes.

A `Store` keeps the newest two checkpoints of a folder, each with the learning curve so far and the fingerprint of what is
being trained. Orbax writes to a temporary name and renames, so that a kill while writing costs one checkpoint, not the run.
"""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np

from jaxprice.agents.describe import described

KEEP = 2


def fingerprint(training, learn, hyper, seeds, updates):
    """A hash of all that decides what training ends with."""
    numbers = {key: np.asarray(value).tolist() for key, value in vars(hyper).items()}
    whole = {
        "training": described(training),
        "learn": described(learn),
        "hyper": numbers,
        "seeds": seeds.tolist(),
        "updates": updates,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """The checkpoints of one run; without a folder it keeps none."""

    def __init__(self, folder, fingerprint):
        self.fingerprint, self.manager = fingerprint, None
        if folder is not None:
            import orbax.checkpoint as ocp  # slow to import

            self.ocp = ocp
            options = ocp.CheckpointManagerOptions(max_to_keep=KEEP, enable_async_checkpointing=False)
            self.manager = ocp.CheckpointManager(Path(folder).absolute(), options=options)

    def resume(self, state, curve):
        """The newest `(state, curve)`, or those given.

        Raises:
          ValueError: the folder has a run of another configuration.
        """
        if self.manager is None or self.manager.latest_step() is None:
            return state, curve
        step, args = self.manager.latest_step(), self.ocp.args
        told = self.manager.restore(step, args=args.Composite(told=args.JsonRestore()))["told"]
        if told["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{self.manager.directory} holds a run of another configuration ({told['fingerprint']}, this one is "
                f"{self.fingerprint}); give another folder, or remove it"
            )
        template = jax.tree.map(np.asarray, state)
        state = self.manager.restore(step, args=args.Composite(state=args.StandardRestore(template)))["state"]
        return jax.tree.map(jax.numpy.asarray, state), {name: np.asarray(x) for name, x in told["curve"].items()}

    def save(self, state, curve, step):
        """Keep this checkpoint."""
        if self.manager is None:
            return
        told = {"fingerprint": self.fingerprint, "curve": {name: np.asarray(x).tolist() for name, x in curve.items()}}
        args = self.ocp.args
        kept = args.Composite(state=args.StandardSave(jax.tree.map(np.asarray, state)), told=args.JsonSave(told))
        self.manager.save(step, args=kept)
        self.manager.wait_until_finished()
