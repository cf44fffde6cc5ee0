"""Checkpoints of training: orbax behind one class, so that a killed run resumes.

A folder holds runs, each under a hash of everything that decides its numbers: market, network, learner, hyperparameters, and
the code of all of them. So an unchanged run is found again, and a changed run is trained from the start beside it.

    FOLDER/training.json     the marker of a folder of checkpoints
    FOLDER/run-<hash>.json   configuration of a run, date of its start, and the revision of the code
    FOLDER/run-<hash>/N      the checkpoint after N updates; the newest two are stored
    FOLDER/damaged-<hash>-N  a checkpoint that could not be read

Orbax writes to a temporary name and renames, so a kill while writing costs one checkpoint, not the run. Each checkpoint
holds checksums of its content. A damaged checkpoint is renamed, and the previous one is used.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxprice import cells, checks, files, fingerprint, provenance

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

KEEP = 2
MARK = "training.json"


def decided_by(training, hyper, things, **told):
    """Everything that decides the final weights of a run, name -> digest or plain data.

    Args:
      training, hyper: as in `learning`; every field is listed under its name.
      things: name -> object whose code and content count.
      **told: other plain data that counts.

    Raises:
      ValueError: a part has no digest, so that the run could not be found again.
    """
    fields = {field.name: getattr(training.play, field.name) for field in dataclasses.fields(training.play)}
    fields |= {name: getattr(training, name) for name in ("lanes", "minibatches", "clip_norm")}
    told |= {name: value for name, value in fields.items() if isinstance(value, int | float | str)}
    told |= {name: np.asarray(value).tolist() for name, value in vars(hyper).items()}
    things = things | {name: value for name, value in fields.items() if name not in told and value is not None}
    return digests(things, told)


def digests(things, told):
    """A configuration: the plain data `told`, and a digest of each of `things`.

    Raises:
      ValueError: a part has no digest, so that the run could not be found again.
    """
    configuration, unknown = cells.decided_by(fingerprint.Walk(), things, **told)
    if unknown:
        raise ValueError(f"a run with a folder must be found again, but there is no digest of {', '.join(unknown)}")
    return configuration


def open_folder(folder):
    """A folder for checkpoints, created if it does not exist; and whether it can be written.

    Raises:
      ValueError: it is a file, it holds other files, or it cannot be written and holds no checkpoints.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ValueError(f"folder must be a path, got {checks.shown(folder)}")
    folder = Path(folder).absolute()
    mark = folder / MARK
    held, writable = files.open_folder(folder, "folder", "checkpoints of training", mark.exists)
    if not (writable or held):
        raise ValueError(f"folder must be a folder that can be written, but {str(folder)[-200:]!r} is not")
    if not held:
        files.write_json(mark, {"holds": "checkpoints of jaxprice.agents"})
    return folder, writable


class Store:
    """The checkpoints of one run. Without a folder, nothing is stored; from one that cannot be written, runs are read.

    Args:
      folder: path, or None.
      configuration: function without arguments that returns the result of `decided_by`.

    Raises:
      ValueError: the folder is not one for checkpoints, another process trains the same run in it, or it cannot be written
        and does not hold this run.
    """

    def __init__(self, folder, configuration):
        manager: Any = None
        self.manager, self.lock, self.writable = manager, None, True
        if folder is None:
            return
        (self.folder, self.writable), configuration = open_folder(folder), configuration()
        self.name = cells.short(configuration)
        self.runs = self.folder / f"run-{self.name}"
        if self.writable and not self.runs.exists() and (changed := self._changed(configuration)):
            warnings.warn(f"{str(self.folder)!r} holds another run, {changed}; this one is trained anew", stacklevel=4)
        if self.writable:
            self._begin(configuration)
        elif not self.runs.exists():
            changed = self._changed(configuration)
            self.check_writable(f"it holds another run, {changed}" if changed else "it does not hold this run")
        import orbax.checkpoint as ocp  # slow to import

        self.ocp = ocp
        kept: dict[str, Any] = {"max_to_keep": KEEP} if self.writable else {"read_only": True}
        options = ocp.CheckpointManagerOptions(**kept, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(self.runs, options=options)

    def _begin(self, configuration):
        """Take the run for this process, and record what decides its numbers."""
        self.runs.mkdir(exist_ok=True)
        self.lock = _locked(self.runs)
        for leftover in self.runs.glob("*tmp*"):  # from a run that was killed while writing
            shutil.rmtree(leftover, ignore_errors=True)
        date = datetime.datetime.now(datetime.UTC).isoformat()
        about = {"configuration": configuration, "date": date, "revision": provenance.revision()}
        files.write_json(self.folder / f"{self.runs.name}.json", about)

    def check_writable(self, why):
        """Raise if the folder cannot be written, although the run is not finished.

        Args:
          why: it is not, in words.

        Raises:
          ValueError: the folder cannot be written.
        """
        if not self.writable:
            raise ValueError(f"folder must be a folder that can be written, but {str(self.folder)!r} is not, and {why}")

    def _changed(self, configuration):
        """The differences between the last run of the folder and this one, in words; "" if there is no other run."""
        known = [files.read_json(path) for path in self.folder.glob("run-*.json")]
        known = [about for about in known if isinstance(about, dict) and {"date", "configuration"} <= set(about)]
        known = [about for about in known if about["configuration"] != configuration]
        if not known:
            return ""
        last = max(known, key=lambda about: about["date"])
        names = sorted(key for key in configuration if last["configuration"].get(key) != configuration[key])
        return f"from {last['date'][:19]}, that differs in {', '.join(names)}"

    def resume(self, state, curve) -> tuple[Any, dict[str, np.ndarray]]:
        """The newest readable `(state, curve)`, or the arguments if there is none."""
        steps = [] if self.manager is None else sorted(self.manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return self._read(step, state)
            except (PermissionError, MemoryError):
                raise
            except Exception as error:  # readers raise many kinds of error on damaged files
                aside = self._set_aside(step) if self.writable else self.runs / str(step)
                why = str(error)[:200] or type(error).__name__
                warnings.warn(
                    f"the checkpoint of update {step} is damaged ({why}): it is kept as {str(aside)!r}, and training goes "
                    f"on from the one before it, or from the start",
                    stacklevel=3,
                )
        return state, curve

    def save(self, state, curve, step):
        """Store a checkpoint."""
        if self.manager is None:
            return
        state = jax.tree.map(np.asarray, state)
        curve = {name: np.asarray(x).tolist() for name, x in curve.items()}
        told = {"curve": curve, "checksum": _checksum(state, curve)}
        args = self.ocp.args
        self.manager.save(step, args=args.Composite(state=args.StandardSave(state), told=args.JsonSave(told)))
        self.manager.wait_until_finished()

    def close(self):
        """Release the lock, so that another process can train this run."""
        if self.manager is not None:
            self.manager.close()
        if self.lock is not None:
            self.lock.close()

    def _read(self, step, state):
        args, template = self.ocp.args, jax.tree.map(np.asarray, state)
        told = self.manager.restore(step, args=args.Composite(told=args.JsonRestore()))["told"]
        state = self.manager.restore(step, args=args.Composite(state=args.StandardRestore(template)))["state"]
        state = jax.tree.map(lambda x, like: np.asarray(x, like.dtype).reshape(like.shape), state, template)
        if _checksum(state, told["curve"]) != told["checksum"]:
            raise ValueError("its checksum is another")
        return jax.tree.map(jax.numpy.asarray, state), {name: np.asarray(x) for name, x in told["curve"].items()}

    def _set_aside(self, step):
        aside, count = self.folder / f"damaged-{self.name}-{step}", 1
        while aside.exists():
            aside, count = aside.with_name(f"damaged-{self.name}-{step}-{count}"), count + 1
        os.replace(self.runs / str(step), aside)
        self.manager.reload()
        return aside


class Clock:
    """Seconds of training: those since the start of this clock plus those recorded in a curve."""

    def __init__(self, curve):
        self.before = {name: float(curve[name][-1, 0]) if curve else 0.0 for name in ("wall_s", "cpu_s")}
        self.start = time.perf_counter(), time.process_time()

    def seconds(self):
        """Name -> total seconds."""
        passed = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        return {name: before + more for (name, before), more in zip(self.before.items(), passed, strict=True)}


def _checksum(state, curve):
    """Digest of the content of a checkpoint."""
    digest = hashlib.sha256(json.dumps(curve, sort_keys=True).encode())
    for leaf in jax.tree.leaves(state):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
    return digest.hexdigest()


def _locked(folder):
    """An open file that locks the folder against other processes.

    Raises:
      ValueError: another process holds the lock.
    """
    file = (folder / ".lock").open("w")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ValueError(f"folder must not be in use, but another process trains in {str(folder)!r}") from None
        except OSError:  # the file system has no locks
            pass
    return file
