"""Markets that a run is given, made ready to be played.

Markets may come from `make`, from `replace`, from a file or from a device. Here they become NumPy arrays with the structure,
shapes and types of the environment. Impossible markets are refused. The tables of the oracle are solved again, because
numbers in the market may have been replaced.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks


def kind_of(env):
    """The shapes of a drawn market; and the same market with numbers where all draws have equal numbers."""
    drawn = []

    def draw(key):
        drawn.append(env.sample_params(key))
        return drawn[0]

    kind = jax.eval_shape(draw, jax.random.key(0))
    return kind, jax.tree.map(lambda shape, x: shape if checks.is_traced(x) else x, kind, drawn[0])


def _bare(env, params):
    """Params without the tables of the oracle, which `solve` fills in."""
    return dataclasses.replace(params, **dict.fromkeys(env.tables)) if env.tables else params


def ready(env, kind, params, lanes, horizon):
    """Prepared params, NumPy arrays unless they are traced; and whether they are a batch."""
    if type(params) is not type(kind):
        got = "a tuple; make returns (env, params)" if isinstance(params, tuple) else _named_type(type(params))
        own = f"; env.default_params() and env.sample_params(key) are {env.name}'s"
        raise ValueError(f"params must be the {_named_type(type(kind))} of {env.name}, got {got}{own}")
    batched = np.ndim(params.max_steps_in_episode) > 0
    params = _fit(env, _bare(env, kind), _bare(env, params), lanes, batched)
    params = dataclasses.replace(params, max_steps_in_episode=np.full((lanes,) * batched, horizon, np.int32))
    env.check_params(params)
    return _fit(env, kind, env.solved(params, batched), lanes, batched), batched


def _named_type(cls):
    """The name of a class in a message, with its module, because every market calls its params `Params`."""
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def _fit(env, kind, params, lanes, batched):
    """Params as arrays of the structure, shapes and types of `kind`, with a leading axis of lanes if they are batched."""
    wanted, structure = jax.tree_util.tree_flatten_with_path(kind)
    try:
        leaves = structure.flatten_up_to(params)
    except ValueError as error:
        raise ValueError(f"params must be those of {env.name}, which has another structure: {error}") from None
    arrays, own = [], f"those of {env.name}, as it was made"
    for (path, like), leaf in zip(wanted, leaves, strict=True):
        name = jax.tree_util.keystr(path).lstrip(".")
        array = jnp.asarray(leaf) if checks.is_traced(leaf) else _array(name, leaf, like.dtype)
        shape = np.shape(array)
        if batched and shape[:1] != (lanes,):
            one = f"params must hold one market or one for each of the {lanes} lanes"
            raise ValueError(f"{one}, got {name} of shape {list(shape)}")
        if shape[batched:] != like.shape:
            got, each = list(shape[batched:]), " for each lane" if batched else ""
            raise ValueError(f"params must be {own}: {name} must have shape {list(like.shape)}{each}, got {got}")
        arrays.append(array)
    return structure.unflatten(arrays)


def _array(name, leaf, dtype):
    """A leaf as a NumPy array with JAX's width, and with the kind of `dtype`: floats, integers or bools."""
    try:
        array = np.asarray(leaf)
        with np.errstate(over="ignore"):
            array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
        if jnp.issubdtype(array.dtype, np.number) and not jnp.issubdtype(dtype, np.bool_):
            whole = jnp.issubdtype(dtype, np.integer)
            cast = array if jnp.issubdtype(array.dtype, np.integer if whole else np.floating) else array.astype(dtype)
            if not whole or np.array_equal(cast, np.asarray(leaf)):
                return cast
        elif array.dtype == dtype:
            return array
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"params must be numbers that {np.dtype(dtype).name} can hold, got {name}={checks.shown(leaf)}")


def shapes_of(params, batched):
    """Shapes of one market of params."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[batched:], jnp.result_type(x)), params)
