"""The replay against plain loops: what it holds, returns over several steps, how often rows are sampled, their weights."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxprice.agents import replay, worlds

LANES, LENGTH, ROWS, SIZE = 3, 4, 11, 2  # the ring is no multiple of what is written at once
DISCOUNT, LEVEL = 0.8, 0.3


def record(rng):
    """A record of `LENGTH` periods; episodes end often, in both ways."""
    shape = (LENGTH, LANES)
    token, last = rng.normal(size=(2, *shape, SIZE)).astype(np.float32)
    ends = rng.choice(3, p=[0.6, 0.2, 0.2], size=shape)
    reward = rng.normal(size=shape).astype(np.float32)
    step = worlds.Step(last, last, reward, ends == 1, ends == 2, reward, reward)  # what follows a reset plays no part
    return SimpleNamespace(token=token, action=rng.integers(0, 5, shape).astype(np.int32), step=step)


class Plain:
    """All periods ever written, in lists."""

    def __init__(self):
        self.periods = []

    def write(self, one):
        for t in range(LENGTH):
            names = ("reward", "last", "terminated", "truncated")
            period = {name: np.asarray(getattr(one.step, name))[t] for name in names}
            self.periods.append(period | {"token": one.token[t], "action": one.action[t]})

    def transition(self, number, lane, n_step):
        """Token, action, return, last token and factor of the period `number`."""
        total, factor = 0.0, 1.0
        for k in range(n_step):
            now = {name: x[lane] for name, x in self.periods[number + k].items()}
            total, factor = total + factor * (now["reward"] - LEVEL), factor * DISCOUNT
            if now["terminated"] or now["truncated"]:
                factor = 0.0 if now["terminated"] else factor
                break
        first = self.periods[number]
        return first["token"][lane], first["action"][lane], total, now["last"], factor

    def number(self, row):
        """Which period stands in a row of the ring."""
        newest = len(self.periods) - 1
        return newest - (newest - row) % ROWS


def filled(writes, n_step, seed=0):
    rng, plain = np.random.default_rng(seed), Plain()
    ring = replay.start(ROWS, LANES, jnp.zeros(SIZE), jnp.int32(0))
    for _ in range(writes):
        one = record(rng)
        plain.write(one)
        ring = WRITE(ring, one.token, one.action, one.step, n_step)
    return ring, plain


def written(ring, token, action, step, n_step):
    return replay.write(ring, SimpleNamespace(token=token, action=action, step=step), n_step)


WRITE = jax.jit(written, static_argnames="n_step")
SAMPLE = jax.jit(replay.sample, static_argnames=("size", "n_step"))


@pytest.mark.parametrize("beta", [None, 0.5])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("writes", [1, 2, 3, 7])
def test_returns_and_rows_that_can_be_sampled(writes, n_step, beta):
    """Before the ring is full, and after it has begun anew."""
    ring, plain = filled(writes, n_step)
    batch = SAMPLE(ring, jax.random.key(1), size=600, n_step=n_step, discount=DISCOUNT, beta=beta, level=LEVEL)
    batch, seen = jax.tree.map(np.asarray, batch), set()
    for i, (row, lane) in enumerate(batch.place.tolist()):
        seen.add((row, lane))
        token, action, total, last, factor = plain.transition(plain.number(row), lane, n_step)
        np.testing.assert_array_equal(batch.token[i], token)
        np.testing.assert_array_equal(batch.last[i], last)
        assert batch.action[i] == action
        np.testing.assert_allclose([batch.reward[i], batch.factor[i]], [total, factor], rtol=1e-5, atol=1e-6)
    count = len(plain.periods)
    complete = [number % ROWS for number in range(max(0, count - ROWS), count - (n_step - 1))]
    assert seen == {(row, lane) for row in complete for lane in range(LANES)}
    np.testing.assert_array_equal(ring.mass > 0, np.isin(np.arange(ROWS), complete)[:, None] & np.ones(LANES, bool))


@pytest.mark.parametrize("n_step", [1, 3])
def test_uniform_sampling_is_uniform(n_step):
    ring, plain = filled(2, n_step)
    size, cells = 20_000, (len(plain.periods) - n_step + 1) * LANES
    batch = SAMPLE(ring, jax.random.key(2), size=size, n_step=n_step, discount=DISCOUNT, beta=None)
    counts = np.bincount(np.asarray(batch.place) @ [LANES, 1], minlength=ROWS * LANES)
    wanted = size / cells
    assert np.all(np.abs(counts[counts > 0] - wanted) < 4.5 * wanted**0.5) and np.sum(counts > 0) == cells
    np.testing.assert_array_equal(batch.weight, 1)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_prioritised_sampling_follows_the_errors(alpha):
    """Shares are p^a / sum p^a, and weights (N P)^-b by the largest of the batch; errors of either sign count alike."""
    n_step, beta, size = 2, 0.7, 20_000
    ring, plain = filled(5, n_step)
    rows, lanes = np.nonzero(np.asarray(ring.mass))
    errors = np.random.default_rng(3).normal(size=rows.size) ** 3
    place = np.stack([rows, lanes], axis=1)
    ring = replay.set_priorities(ring, place, jnp.float32(errors), alpha)
    batch = SAMPLE(ring, jax.random.key(4), size=size, n_step=n_step, discount=DISCOUNT, beta=beta)
    power = (np.abs(errors) + replay.SMALL) ** alpha
    likely = power / power.sum()
    counts = np.zeros((ROWS, LANES))
    np.add.at(counts, tuple(np.asarray(batch.place).T), 1)
    error = (size * likely * (1 - likely)) ** 0.5
    assert np.all(np.abs(counts[rows, lanes] - size * likely) < 4.5 * error + 1)
    table = np.zeros((ROWS, LANES))
    table[rows, lanes] = (rows.size * likely) ** -beta
    weight = table[tuple(np.asarray(batch.place).T)]
    np.testing.assert_allclose(batch.weight, weight / weight.max(), rtol=1e-4)
    np.testing.assert_allclose(ring.largest, max(1.0, power.max()), rtol=1e-5)
    assert len(plain.periods) > ROWS


def test_new_rows_have_the_largest_priority_and_lose_that_of_the_rows_before_them():
    n_step = 2
    ring, _ = filled(3, n_step)  # 12 periods in 11 rows: the newest in row 0 is incomplete
    ring = replay.set_priorities(ring, jnp.array([[5, 1], [6, 0]]), jnp.array([-16.0, 0.25]), 0.5)
    np.testing.assert_allclose([ring.mass[5, 1], ring.mass[6, 0], ring.largest], [4, 0.5, 4], rtol=1e-5)
    after = replay.write(ring, record(np.random.default_rng(9)), n_step)
    np.testing.assert_allclose(after.mass[jnp.array([0, 1, 2, 3])], 4, rtol=1e-5)
    np.testing.assert_array_equal(after.mass[4], 0)
    np.testing.assert_array_equal(after.mass[5:], ring.mass[5:])


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("at least lanes x (length + n_step) = 12 transitions, got 9", {"capacity": 9}),
        ("at least lanes x (length + n_step) = 18 transitions, got 12", {"capacity": 12, "n_step": 3, "length": 3}),
    ],
)
def test_a_replay_too_short_for_an_update(message, options):
    options = {"capacity": 100, "lanes": 3, "length": 2, "n_step": 2} | options
    with pytest.raises(ValueError) as error:
        replay.rows_of(**options)
    assert message in str(error.value)
    assert replay.rows_of(100, 3, 2, 2) == 34


def test_a_replay_larger_than_memory_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(replay, "_memory", lambda: 2**30)
    replay.check_memory(rows=1000, lanes=16, runs=2, size=5)
    with pytest.raises(ValueError, match=r"capacity must fit into memory: .* of 4 runs take 14\.\d GiB, there are 1\.0 GiB"):
        replay.check_memory(rows=2**20, lanes=16, runs=4, size=27)
