"""Related products: a task distribution for meta-learning over any market.

The seller sells many products of one kind, in sequence or in parallel. The numbers of a product are

    theta = s theta_kind + (1 - s) theta_own,     theta_kind, theta_own ~ the wrapped market's task distribution,

where theta_kind is the same for all products of the kind and the similarity s is in [0, 1]. If the parameters of the wrapped
market form a convex set, so do these. Alternatively, with `spread`, they have the hierarchical Gaussian prior of Bastani,
Simchi-Levi and Zhu,

    theta = theta_kind + spread |theta_kind| z,     z ~ N(0, 1), clipped at two standard deviations,

for the leaves of the params named in `leaves` (for example "theta"); the others are those of theta_kind. The seller's
knowledge, prices and costs, never changes. `split` gives disjoint sets of products for training and for testing.

Sources: H. Bastani, D. Simchi-Levi, R. Zhu (2022), "Meta dynamic pricing: transfer learning across experiments",
doi:10.1287/mnsc.2021.4071.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, random
from jaxprice.environment import Environment
from jaxprice.envs.options import amount, inner, market, option, optional, share

TOLD = ("prices", "low", "high", "cost", "max_steps_in_episode")  # leaves that all products share


def _number_of_kind(name, value):
    """The option `kind`."""
    return checks.whole(name, value, 0, 2**64 - 1)


def _names(name, value):
    """The option `leaves`."""
    if not isinstance(value, str | tuple | list):
        raise ValueError(f"{name} must be names of params, got {checks.shown(value)}")
    return (value,) if isinstance(value, str) else tuple(value)


@market(
    kind="any market",
    what="any market, its tasks drawn around a common kind; `split` for training and held-out tasks",
    paper="Bastani, Simchi-Levi and Zhu (2022)",
    oracle="the wrapped market's",
)
@dataclasses.dataclass(frozen=True)
class RelatedProducts(Environment):
    """The wrapped market with related products; everything except `sample_params` is that of the wrapped market.

    Observation, action, reward and oracle: those of the wrapped market.

    Attributes:
      base: the wrapped environment.
    """

    base: Environment
    kind: int = option(0, "number of the kind of products, which seeds theta_kind; integer in `[0, 2**64)`", _number_of_kind)
    similarity: float = option(
        0.8, "how alike products are: 0 as different as tasks of the wrapped market, 1 all the same", share
    )
    spread: float | None = option(
        None, "relative standard deviation of a product around its kind, instead of `similarity`", optional(amount)
    )
    leaves: tuple[str, ...] = option((), "names of the params that `spread` moves", _names)

    def check_options(self):
        if self.spread is None:
            if self.leaves:
                raise ValueError(f"leaves must be empty where spread is None, since spread moves them; got {self.leaves!r}")
            return
        kind = type(self.base.default_params())
        allowed = [field.name for field in dataclasses.fields(kind) if field.name not in TOLD]
        if not self.leaves:
            raise ValueError(f"leaves must name the params that spread moves, some of {allowed}")
        for leaf in self.leaves:
            checks.choice(f"leaf of {self.base.name}", leaf, allowed)

    @classmethod
    def make(cls, market="PostedPrice", *, options=None, **choices):
        """A market of related products, and the params of their kind.

        Args:
          market: the wrapped market: a name that `jaxprice.make` knows, or an environment.
          options: options of the wrapped market, a dict.
          **choices: fields of the class.

        Raises:
          ValueError: an unknown market or leaf, numbers out of range.
        """
        env = cls(inner(market, options), **choices)
        if env.spread is not None:
            env.check_spread()
        return env, env.default_params()

    @property
    def name(self):
        return f"RelatedProducts-{self.base.name}"

    @property
    def longest(self):
        return self.base.longest

    @property
    def endless(self):
        return self.base.endless

    @property
    def tables(self):
        return self.base.tables

    @property
    def infinite(self):
        return self.base.infinite

    def rules(self, params):
        return self.base.rules(params)

    def centre(self):
        """Params of the kind, theta_kind."""
        return self.base.sample_params(self._key_of_kind())

    def _key_of_kind(self):
        return random.address(random.stream(self.kind, "market"), 0, 0)

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.centre)())

    def check_spread(self):
        """Raise if some products would not be valid markets within two standard deviations of the spread."""
        centre = self.default_params()
        for side in (-2, 2):
            moved = {
                leaf: jax.tree.map(lambda x, side=side: x + side * (self.spread or 0.0) * np.abs(x), getattr(centre, leaf))
                for leaf in self.leaves
            }
            try:
                self.base.check_params(dataclasses.replace(centre, **moved))
            except ValueError as error:
                raise ValueError(f"spread={self.spread:g} would draw impossible markets: {error}") from None

    def sample_params(self, key):
        return self._related(self.base.sample_params, key)

    def draw_params(self, key, horizon):
        return self._related(lambda key: self.base.draw_params(key, horizon), key)

    def _related(self, draw, key):
        """A product around its kind; `draw` is `key -> params` of the wrapped market."""
        centre = draw(self._key_of_kind())
        own = centre if self.spread is not None else draw(key)
        moved = {}
        for number, field in enumerate(dataclasses.fields(centre)):
            middle, other = getattr(centre, field.name), getattr(own, field.name)
            if self.spread is None and field.name not in TOLD:
                moved[field.name] = jax.tree.map(self._blend, middle, other)
            elif field.name in self.leaves:
                moved[field.name] = self._scatter(jax.random.fold_in(key, number), middle)
        return self.base.solve(dataclasses.replace(centre, **moved))

    def _blend(self, middle, other):
        middle, other = jnp.asarray(middle), jnp.asarray(other)
        if not jnp.issubdtype(middle.dtype, jnp.floating):
            return middle
        return middle + (1 - self.similarity) * (other - middle)

    def _scatter(self, key, tree):
        leaves, structure = jax.tree.flatten(tree)
        keys = jax.random.split(key, len(leaves))
        moved = [
            x + (self.spread or 0.0) * jnp.abs(x) * jnp.clip(jax.random.normal(k, jnp.shape(x), jnp.float32), -2, 2)
            for k, x in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, moved)

    def problem(self, params):
        return self.base.problem(params)

    def solve(self, params):
        return self.base.solve(params)

    def refresh(self, state, params):
        return self.base.refresh(state, params)

    def specialise(self, params):
        return self.base.specialise(params)

    def reset_env(self, key, params):
        return self.base.reset_env(key, params)

    def step_env(self, key, state, action, params):
        return self.base.step_env(key, state, action, params)

    def expected_reward(self, state, action, params):
        return self.base.expected_reward(state, action, params)

    def allowed(self, state, params):
        return self.base.allowed(state, params)

    def optimal_reward(self, state, params):
        return self.base.optimal_reward(state, params)

    def optimal_action(self, state, params):
        return self.base.optimal_action(state, params)

    def believed(self, observation, params, problem):
        return self.base.believed(observation, params, problem)

    def offer(self, state, action, params):
        return self.base.offer(state, action, params)


def split(env, *, train, held_out, seed=0):
    """Two disjoint sets of tasks, for training and for testing.

    Product i of a set is drawn with its own address, so a set can grow without changing, and no product is in both sets.

    Args:
      env: an environment.
      train, held_out: numbers of tasks.
      seed: integer in `[0, 2**63)`.

    Returns:
      Two batches of params, every leaf with a leading axis `[train]` and `[held_out]`, for `simulate(params=...)`.

    Raises:
      ValueError: numbers that are not positive, a seed out of range.
    """
    sizes = checks.positive_int("train", train), checks.positive_int("held_out", held_out)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    sample = jax.jit(jax.vmap(lambda words, number: env.sample_params(random.address(words, 0, number)), (None, 0)))

    def draw(part, size):
        return jax.device_get(sample(random.stream(2 * int(seed) + part, "market"), np.arange(size, dtype=np.uint32)))

    return draw(0, sizes[0]), draw(1, sizes[1])
