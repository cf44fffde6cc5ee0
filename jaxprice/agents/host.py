"""The loop of training on the host: chunks of updates, checkpoints, held-out scores, seconds, a progress bar."""

import warnings
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxprice.agents import checkpoint


def loop(begun, advance, score, *, runs, updates, store, chunk, progress):
    """Train until `updates` updates are done, from the newest checkpoint or from the start.

    Args:
      begun: state at the start, a pytree with a leading axis of runs and an attribute `update` `[runs]`.
      advance: `(state, count) -> (state, metrics)`: `count` more updates; metrics are arrays `[count, runs]`.
      score: `state -> dict` of the numbers of a point of the curve, arrays `[runs]`, at least "held_out".
      runs: number of runs.
      updates, chunk: number of updates in all, and between two points.
      store: `checkpoint.Store`.
      progress: whether to show a progress bar.

    Returns:
      `(state, curve)`.

    Raises:
      ValueError: the folder cannot be written, and the run in it is not finished.
      FloatingPointError: a metric is not finite; the last good checkpoint stays.
    """
    curve: dict[str, Any] = {}
    state, curve = store.resume(begun, curve)
    clock = checkpoint.Clock(curve)
    done = int(np.asarray(state.update)[0])
    if done < updates:
        store.check_writable(f"the run there has {done} of {updates} updates")
    with tqdm(total=updates, initial=done, unit=" updates", disable=not progress) as bar:
        while done < updates:
            count = min(chunk, updates - done)
            state, metrics = advance(state, count)
            metrics = {name: np.asarray(x) for name, x in metrics.items()}
            bad = [name for name, x in metrics.items() if not np.all(np.isfinite(x))]
            if bad:
                step = done + int(np.argmin(np.isfinite(metrics[bad[0]]).all(axis=-1))) + 1
                raise FloatingPointError(f"{bad[0]} is not finite at update {step}; the weights of update {done} are kept")
            done += count
            point: dict[str, Any] = {name: x.mean(axis=0) for name, x in metrics.items()}
            point |= {"update": np.full(runs, done)} | score(state)
            point |= {name: np.full(runs, seconds) for name, seconds in clock.seconds().items()}
            curve = {
                name: np.concatenate([curve[name] if name in curve else x[None][:0], x[None]]) for name, x in point.items()
            }
            store.save(state, curve, done)
            bar.update(count)
            shown = {name: f"{point[name].mean():.4g}" for name in ("held_out", "loss") if name in point}
            bar.set_postfix(shown, refresh=False)
    return state, curve


def relative(earned, best, told):
    """What a score says of the reward of a period under the agent and under the oracle, arrays `[runs]` both.

    Args:
      earned, best: the two rewards, in money.
      told: list; a warning fills it, so that it comes once.

    Returns:
      dict of "held_out", the share (NaN where the oracle's reward is not positive), and "held_out_regret".
    """
    earned, best = map(np.asarray, (earned, best))
    share = np.divide(earned, best, out=np.full_like(best, np.nan), where=best > 0)
    if not np.all(best > 0) and not told:
        told.append(True)
        warnings.warn(
            f"held_out is NaN where what the oracle earns on held-out markets is not positive, here {best.tolist()} "
            f"a period; held_out_regret tells what is lost to it",
            RuntimeWarning,
            stacklevel=5,
        )
    return {"held_out": share, "held_out_regret": best - earned}
