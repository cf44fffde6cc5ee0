"""`widen` against `jax.vmap` with the lane axis last, with one small function for each rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxprice import random
from jaxprice.lanes import stored, widen

LANES = 5
RNG = np.random.default_rng(7)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape):
    return RNG.uniform(0.1, 3, size=shape).astype(np.float32)


def ints(low, high, *shape):
    return RNG.integers(low, high, size=shape, dtype=np.int32)


SCALAR, OTHER, VECTOR, MATRIX = floats(LANES), floats(LANES), floats(4, LANES), floats(3, 4, LANES)
LONG, WIDE_MATRIX = floats(40, LANES), floats(40, 3, LANES)
SHARED = floats(4)
TABLE = floats(40, 4, LANES)
INDEX = np.array([0, 3, 1, 2, 3], np.int32)
ODD_INDEX = np.array([-1, -4, 4, 9, -7], np.int32)  # counted from the end, or outside
TIES = np.array([[1, 2, 2, 0, 5], [3, 2, 1, 0, 5], [3, 1, 2, 0, 4]], np.float32)
LONG_TIES = np.tile(TIES, (14, 1))
FLAG = np.array([True, False, True, True, False])
LANE_KEYS = np.arange(LANES, dtype=np.uint32)
EACH, ALL = -1, None


def lane_key(lane):
    return random.address(random.stream(3, "act"), 7, lane)


def loop_shared_stop(x):
    return lax.fori_loop(0, 6, lambda i, v: v * 0.5 + i, x)


def loop_own_stop(x):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + jnp.abs(x) + 0.1, c[1] + 1), (x, jnp.int32(0)))


def scan_with_outputs(x, rows):
    return lax.scan(lambda c, r: (c * 0.9 + r, (c, r * c)), x, rows)


def scan_that_widens(x):
    """The second carry starts shared and gets a lane axis by way of the first."""
    return lax.scan(
        lambda c, _: ((c[0] + x, c[0] * 2, c[2] + 1), c[1]), (jnp.float32(0), jnp.float32(1), jnp.int32(0)), length=4
    )


def scan_over_keys(lane):
    def body(key, _):
        key, use = jax.random.split(key)
        return key, jax.random.uniform(use)

    return lax.scan(body, lane_key(lane), length=3)[1]


def choose_key(flag, lane):
    a, b = jax.random.split(lane_key(lane))
    return jax.random.uniform(jax.tree.map(lambda x, y: jnp.where(flag, x, y), a, b))


@jax.custom_jvp
def cubed(x):
    return x**3


@cubed.defjvp
def _cubed_jvp(primals, tangents):
    return cubed(*primals), 3 * primals[0] ** 2 * tangents[0]


ELEMENTWISE = {
    "scalar times vector": (lambda x, v: x * v + 1.0, (SCALAR, VECTOR), (EACH, EACH)),
    "shared vector": (lambda x, v: (x - v) / (2 + v**2), (SCALAR, SHARED), (EACH, ALL)),
    "shared scalar": (lambda v, c: jnp.maximum(v, c) ** 3, (VECTOR, np.float32(0.3)), (EACH, ALL)),
    "vector and matrix": (lambda v, m: v + m, (VECTOR, MATRIX), (EACH, EACH)),
    "functions": (
        lambda v: [
            f(v) for f in (jnp.exp, jnp.sin, jnp.tanh, jnp.floor, jnp.sign, jnp.abs, jnp.square, jnp.expm1, jax.nn.sigmoid)
        ],
        (VECTOR,),
        (EACH,),
    ),
    "positive functions": (
        lambda v: [f(v) for f in (jnp.log, jnp.sqrt, lax.rsqrt, jnp.log1p, lax.lgamma, lax.digamma, jax.scipy.special.ndtr)],
        (positive(4, LANES),),
        (EACH,),
    ),
    "two arguments": (
        lambda x, y: (x**y, jnp.arctan2(x, y), x % y, jnp.nextafter(x, y)),
        (positive(LANES), OTHER),
        (EACH, EACH),
    ),
    "comparisons": (lambda x, y: (x < y, x >= y, x == x, (x < y) & (y > 0), ~(x < 0)), (SCALAR, OTHER), (EACH, EACH)),
    "clip": (lambda v, low: jnp.clip(v, low, 0.5), (VECTOR, np.float32(-0.2)), (EACH, ALL)),
    "clamp": (lambda v, low: lax.clamp(low, v, np.float32(0.5)), (VECTOR, -positive(LANES)), (EACH, EACH)),
    "integers": (
        lambda i, j: (i // 3, i % 3, i << 2, i >> 1, i ^ j, -i),
        (ints(-9, 9, LANES), ints(1, 9, LANES)),
        (EACH, EACH),
    ),
    "casts": (lambda x: (x.astype(jnp.int32), x.astype(bool), x.astype(jnp.bfloat16)), (VECTOR,), (EACH,)),
    "bitcast": (lambda x: lax.bitcast_convert_type(x, jnp.uint32), (VECTOR,), (EACH,)),
    "bitcast to bytes": (lambda x: lax.bitcast_convert_type(x, jnp.uint8), (VECTOR,), (EACH,)),
    "where, flags of a lane": (lambda c, v: jnp.where(c, v, 0.0), (FLAG, VECTOR), (EACH, EACH)),
    "where, flags of arms": (lambda v, w: jnp.where(v > 0, v, w), (VECTOR, SHARED), (EACH, ALL)),
    "select_n, scalar predicate": (lambda c, v, w: lax.select_n(c, v, w), (FLAG, VECTOR, SHARED), (EACH, EACH, ALL)),
    "select_n of four": (lambda i, v: lax.select_n(i, v, v + 1, v * 2, -v), (INDEX, VECTOR), (EACH, EACH)),
    "shared predicate": (lambda c, v: lax.select(c, v, -v), (np.bool_(True), VECTOR), (ALL, EACH)),
}
SHAPES = {
    "reshape": (lambda m: (m.reshape(4, 3), m.reshape(-1), m.reshape(2, 3, 2)), (MATRIX,), (EACH,)),
    "to and from scalars": (lambda x: (x.reshape(1, 1), x.reshape(1, 1)[0, 0]), (SCALAR,), (EACH,)),
    "transpose": (lambda m: (m.T, jnp.swapaxes(m[None], 0, 2)), (MATRIX,), (EACH,)),
    "squeeze": (lambda m: jnp.squeeze(m[:, None, :1], (1, 2)), (MATRIX,), (EACH,)),
    "expand": (lambda v: (v[:, None], v[None], jnp.broadcast_to(v, (3, 4))), (VECTOR,), (EACH,)),
    "stack": (lambda x, y: (jnp.stack([x, y, 0.5]), jnp.stack([x, y], -1)), (SCALAR, OTHER), (EACH, EACH)),
    "stack rows": (lambda v, w: (jnp.stack([v, w], 1), jnp.stack([w, v])), (VECTOR, SHARED), (EACH, ALL)),
    "unstack": (lambda m: (list(m), [m[:, k] for k in range(4)]), (MATRIX,), (EACH,)),
    "concatenate": (lambda v, w: jnp.concatenate([v, w, v[:1]]), (VECTOR, SHARED), (EACH, ALL)),
    "concatenate columns": (lambda m: jnp.concatenate([m, m[:, :2]], 1), (MATRIX,), (EACH,)),
    "append": (lambda v, x: jnp.append(v, x), (VECTOR, SCALAR), (EACH, EACH)),
    "slices": (lambda v, m: (v[1:3], v[::2], v[-1], m[1:, ::3], m[2]), (VECTOR, MATRIX), (EACH, EACH)),
    "reverse": (lambda v, m: (v[::-1], m[:, ::-1]), (VECTOR, MATRIX), (EACH, EACH)),
    "pad": (lambda v: jnp.pad(v, (1, 2)), (VECTOR,), (EACH,)),
    "roll": (lambda v: jnp.roll(v, 1), (VECTOR,), (EACH,)),
    "constant outputs": (lambda x: (jnp.arange(3), jnp.float32(2), x), (SCALAR,), (EACH,)),
    "iota": (lambda x: jnp.arange(4) * x, (SCALAR,), (EACH,)),
}
REDUCTIONS = {
    "sums": (lambda v, m: (v.sum(), m.sum(0), m.sum(1), m.sum(), m.mean(1)), (VECTOR, MATRIX), (EACH, EACH)),
    "extremes": (lambda v, m: (v.max(), v.min(), m.max(1), m.min(0), m.max()), (VECTOR, MATRIX), (EACH, EACH)),
    "long": (lambda v, m: (v.sum(), v.max(), v.min(), m.sum(0), m.max(0)), (LONG, WIDE_MATRIX), (EACH, EACH)),
    "integers": (lambda i: (i.sum(), i.max(), i.min(), i.prod()), (ints(-3, 4, 5, LANES),), (EACH,)),
    "extremes with NaN": (lambda v: (v.max(), v.min(), v.sum()), (np.where(VECTOR > 1, np.nan, VECTOR),), (EACH,)),
    "products and flags": (lambda v: (v.prod(), (v > 0).any(), (v > 0).all()), (VECTOR,), (EACH,)),
    "running": (
        lambda v, m: (jnp.cumsum(v), jnp.cumprod(m, 1), lax.cummax(v), lax.cummin(v, reverse=True)),
        (VECTOR, MATRIX),
        (EACH, EACH),
    ),
    "running log-sum": (lambda v: lax.cumlogsumexp(v), (VECTOR,), (EACH,)),
    "variance": (lambda v: (v.var(), v.std()), (VECTOR,), (EACH,)),
    "log-sum-exp": (lambda v: (jax.nn.logsumexp(v), jax.nn.softmax(v)), (VECTOR,), (EACH,)),
}
ARGUMENTS = {
    "short": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (VECTOR,), (EACH,)),
    "long": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (LONG,), (EACH,)),
    "ties": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (TIES,), (EACH,)),
    "long ties": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (LONG_TIES,), (EACH,)),
    "infinite": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (np.array([[-np.inf, np.inf]] * 3, np.float32),), (EACH,)),
    "integers": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (ints(0, 3, 6, LANES),), (EACH,)),
    "columns": (lambda m: (jnp.argmax(m, 0), jnp.argmax(m, 1), jnp.argmax(m)), (MATRIX,), (EACH,)),
    "32 and 33": (lambda v: (jnp.argmax(v[:32]), jnp.argmax(v[:33])), (LONG_TIES,), (EACH,)),
}
INDEXING = {
    "own index": (lambda v, i: v[i], (VECTOR, INDEX), (EACH, EACH)),
    "shared array": (lambda v, i: v[i], (SHARED, INDEX), (ALL, EACH)),
    "shared index": (lambda v, i: v[i], (VECTOR, np.int32(2)), (EACH, ALL)),
    "shared window": (lambda v, i: lax.dynamic_slice(v, (i,), (3,)), (VECTOR, np.int32(2)), (EACH, ALL)),
    "shared place": (
        lambda v, x, i: lax.dynamic_update_index_in_dim(v, x, i, 0),
        (VECTOR, SCALAR, np.int32(2)),
        (EACH, EACH, ALL),
    ),
    "shared place, shared value": (
        lambda m, v, i: lax.dynamic_update_index_in_dim(m, v, i, 0),
        (MATRIX, SHARED, np.int32(1)),
        (EACH, ALL, ALL),
    ),
    "own place": (lambda v, x, i: lax.dynamic_update_index_in_dim(v, x, i, 0), (VECTOR, SCALAR, INDEX), (EACH, EACH, EACH)),
    "negative and outside": (lambda v, i: v[i], (VECTOR, ODD_INDEX), (EACH, EACH)),
    "row of a matrix": (lambda m, i: m[i], (floats(4, 3, LANES), INDEX), (EACH, EACH)),
    "row of a shared matrix": (lambda m, i: m[i], (floats(4, 3), INDEX), (ALL, EACH)),
    "row outside": (lambda m, i: m[i], (floats(4, 3, LANES), ODD_INDEX), (EACH, EACH)),
    "integers": (lambda v, i: v[i], (ints(0, 9, 4, LANES), INDEX), (EACH, EACH)),
    "flags": (lambda v, i: v[i], (VECTOR > 0, INDEX), (EACH, EACH)),
    "long array": (lambda v, i: v[i * 9], (LONG, INDEX), (EACH, EACH)),
    "long shared array": (lambda v, i: v[i * 9], (LONG[:, 0], INDEX), (ALL, EACH)),
    "long array outside": (lambda v, i: v[i * 20], (LONG, ODD_INDEX), (EACH, EACH)),
    "row of a table": (lambda m, i: m[i * 9], (TABLE, INDEX), (EACH, EACH)),
    "element of a table": (lambda m, i, j: m[i * 9, j], (TABLE, INDEX, ODD_INDEX), (EACH, EACH, EACH)),
    "column of a table": (lambda m, i: m[:, i], (TABLE, INDEX), (EACH, EACH)),
    "rows of a table": (lambda m, i: m[jnp.stack([i, 9 * i, i])], (TABLE, INDEX), (EACH, EACH)),
    "shared rows": (lambda m, i: m[i], (TABLE, np.array([3, 1, 3])), (EACH, ALL)),
    "shared table": (lambda m, i, j: m[jnp.stack([i, j]), j], (TABLE[..., 0], INDEX, ODD_INDEX), (ALL, EACH, EACH)),
    "window": (lambda m, i: lax.dynamic_slice(m, (9 * i, i), (5, 2)), (TABLE, ODD_INDEX), (EACH, EACH)),
    "element of a matrix": (lambda m, i: m[1, i], (MATRIX, INDEX), (EACH, EACH)),
    "several": (lambda v, i: v[jnp.stack([i, 0, i])], (VECTOR, INDEX), (EACH, EACH)),
    "dynamic slice": (lambda v, i: lax.dynamic_slice_in_dim(v, i, 2), (VECTOR, INDEX), (EACH, EACH)),
    "dynamic row": (
        lambda m, i: lax.dynamic_index_in_dim(m, i, keepdims=False),
        (floats(4, 3, LANES), ODD_INDEX),
        (EACH, EACH),
    ),
    "add": (lambda v, i, x: v.at[i].add(x), (VECTOR, INDEX, SCALAR), (EACH, EACH, EACH)),
    "set": (lambda v, i, x: v.at[i].set(x), (VECTOR, INDEX, SCALAR), (EACH, EACH, EACH)),
    "multiply": (lambda v, i, x: v.at[i].multiply(x), (VECTOR, INDEX, SCALAR), (EACH, EACH, EACH)),
    "add one": (lambda v, i: v.at[i].add(1.0), (VECTOR, INDEX), (EACH, EACH)),
    "add to shared": (lambda v, i: v.at[i].add(1.0), (SHARED, INDEX), (ALL, EACH)),
    "add at shared": (lambda v, i, x: v.at[i].add(x), (VECTOR, np.int32(1), SCALAR), (EACH, ALL, EACH)),
    "counts": (lambda v, i: v.at[i].add(1), (ints(0, 9, 4, LANES), INDEX), (EACH, EACH)),
    "minimum": (lambda v, i, x: v.at[i].min(x), (VECTOR, INDEX, SCALAR), (EACH, EACH, EACH)),
    "add outside": (lambda v, i, x: v.at[i].add(x), (VECTOR, ODD_INDEX, SCALAR), (EACH, EACH, EACH)),
    "set outside": (lambda v, i, x: v.at[i].set(x), (VECTOR, ODD_INDEX, SCALAR), (EACH, EACH, EACH)),
    "multiply outside": (lambda v, i, x: v.at[i].multiply(x), (VECTOR, ODD_INDEX, SCALAR), (EACH, EACH, EACH)),
    "set, clipped": (lambda v, i, x: v.at[i].set(x, mode="clip"), (VECTOR, ODD_INDEX, SCALAR), (EACH, EACH, EACH)),
    "rows": (lambda m, i, r: m.at[i].add(r), (floats(4, 3, LANES), INDEX, floats(3, LANES)), (EACH, EACH, EACH)),
    "rows outside": (lambda m, i, r: m.at[i].set(r), (floats(4, 3, LANES), ODD_INDEX, floats(3)), (EACH, EACH, ALL)),
    "element": (lambda m, i, x: m.at[1, i].add(x), (MATRIX, INDEX, SCALAR), (EACH, EACH, EACH)),
    "several at once": (lambda v, i: v.at[jnp.stack([i, i])].add(1.0), (VECTOR, INDEX), (EACH, EACH)),
    "long": (lambda v, i: v.at[i * 9].add(1.0), (LONG, INDEX), (EACH, EACH)),
    "long outside": (lambda v, i, x: v.at[i * 20].set(x), (LONG, ODD_INDEX, SCALAR), (EACH, EACH, EACH)),
    "table": (lambda m, i, j, x: m.at[i * 9, j].add(x), (TABLE, INDEX, ODD_INDEX, SCALAR), (EACH, EACH, EACH, EACH)),
    "table, shared": (lambda m, i, j: m.at[i * 9, j].set(2.0), (TABLE[..., 0], INDEX, ODD_INDEX), (ALL, EACH, EACH)),
    "table, row": (lambda m, i, r: m.at[9 * i].multiply(r), (TABLE, INDEX, TABLE[0]), (EACH, EACH, EACH)),
    "table, rows": (lambda m, i, r: m.at[jnp.stack([i, i])].add(r), (TABLE, INDEX, TABLE[0]), (EACH, EACH, EACH)),
    "table, window": (
        lambda m, i, r: lax.dynamic_update_slice(m, r, (9 * i, i)),
        (TABLE, ODD_INDEX, TABLE[:2, :2]),
        (EACH, EACH, EACH),
    ),
}
CONTROL = {
    "fori": (loop_shared_stop, (SCALAR,), (EACH,)),
    "fori, own count": (lambda n, x: lax.fori_loop(0, n, lambda i, v: v * 0.5 + i, x), (INDEX, SCALAR), (EACH, EACH)),
    "fori, shared count": (lambda n, x: lax.fori_loop(0, n, lambda i, v: v * x, x), (np.int32(3), SCALAR), (ALL, EACH)),
    "fori, index": (lambda v: lax.fori_loop(0, 4, lambda i, s: s + v[i] * i, jnp.float32(0)), (VECTOR,), (EACH,)),
    "while, own stop": (loop_own_stop, (SCALAR,), (EACH,)),
    "while, shared stop": (
        lambda x: lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] * x), (jnp.int32(0), jnp.float32(1))),
        (SCALAR,),
        (EACH,),
    ),
    "scan": (scan_with_outputs, (SCALAR, VECTOR), (EACH, EACH)),
    "scan of shared rows": (scan_with_outputs, (SCALAR, SHARED), (EACH, ALL)),
    "scan, reversed": (
        lambda x, v: lax.scan(lambda c, r: (c + r * x, c), x, v, reverse=True),
        (SCALAR, VECTOR),
        (EACH, EACH),
    ),
    "scan that widens": (scan_that_widens, (SCALAR,), (EACH,)),
    "map": (lambda v: lax.map(jnp.exp, v), (VECTOR,), (EACH,)),
    "loop of arms": (
        lambda v, i: lax.fori_loop(0, 3, lambda k, u: u.at[(i + k) % 4].add(1.0), v),
        (VECTOR, INDEX),
        (EACH, EACH),
    ),
    "cond, own": (lambda c, x: lax.cond(c, lambda y: y * 2, lambda y: y - 1, x), (FLAG, SCALAR), (EACH, EACH)),
    "cond, shared": (
        lambda c, x: lax.cond(c, lambda y: y * 2, lambda y: y - 1, x),
        (np.bool_(False), SCALAR),
        (ALL, EACH),
    ),
    "switch": (lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.exp, jnp.abs], x), (INDEX, SCALAR), (EACH, EACH)),
    "loop in a cond": (lambda c, x: lax.cond(c, loop_shared_stop, jnp.sin, x), (FLAG, SCALAR), (EACH, EACH)),
    "nested jit": (lambda v: jax.jit(lambda a: jax.jit(jnp.sum)(a) + a)(v), (VECTOR,), (EACH,)),
    "relu": (lambda v: (jax.nn.relu(v), jax.nn.silu(v), jax.nn.softplus(v)), (VECTOR,), (EACH,)),
    "custom jvp": (lambda x: (cubed(x), jax.grad(cubed)(x)), (SCALAR,), (EACH,)),
    "gradient": (lambda v: jax.grad(lambda a: jnp.sum(jnp.log(1 + jnp.exp(a))))(v), (VECTOR,), (EACH,)),
    "checkpoint": (lambda v: jax.checkpoint(jnp.sin)(v), (VECTOR,), (EACH,)),
    "inner vmap": (lambda m: jax.vmap(lambda r: r[jnp.argmax(r)] - r.min())(m), (MATRIX,), (EACH,)),
}
FALLBACK = {
    "sort": (lambda v: (jnp.sort(v), jnp.argsort(v)), (VECTOR,), (EACH,)),
    "matmul": (lambda m, w: (m @ w, m @ m.T), (MATRIX, SHARED), (EACH, ALL)),
    "dot": (lambda v, w: v @ w, (VECTOR, SHARED), (EACH, ALL)),
    "solve": (lambda m, v: jnp.linalg.solve(m @ m.T + jnp.eye(3), v[:3]), (MATRIX, VECTOR), (EACH, EACH)),
    "searchsorted": (lambda v, x: jnp.searchsorted(jnp.sort(v), x), (VECTOR, SCALAR), (EACH, EACH)),
    "top k": (lambda v: lax.top_k(v, 2), (VECTOR,), (EACH,)),
}
KEYS = {
    "uniform": (lambda lane: jax.random.uniform(lane_key(lane)), (LANE_KEYS,), (EACH,)),
    "uniform array": (lambda lane: jax.random.uniform(lane_key(lane), (3, 2)), (LANE_KEYS,), (EACH,)),
    "normal": (lambda lane: jax.random.normal(lane_key(lane), (3,)), (LANE_KEYS,), (EACH,)),
    "bits": (
        lambda lane: [jax.random.bits(lane_key(lane), (3,), t) for t in (jnp.uint8, jnp.uint16, jnp.uint32)],
        (LANE_KEYS,),
        (EACH,),
    ),
    "integers": (lambda lane: jax.random.randint(lane_key(lane), (4,), 0, 10), (LANE_KEYS,), (EACH,)),
    "split": (
        lambda lane: [jax.random.normal(k, (2,)) for k in jax.random.split(lane_key(lane), 3)],
        (LANE_KEYS,),
        (EACH,),
    ),
    "split, vmapped": (
        lambda lane: jax.vmap(jax.random.uniform)(jax.random.split(lane_key(lane), 3)),
        (LANE_KEYS,),
        (EACH,),
    ),
    "split of splits": (
        lambda lane: jax.vmap(lambda k: jax.random.key_data(jax.random.split(k)))(jax.random.split(lane_key(lane), 3)),
        (LANE_KEYS,),
        (EACH,),
    ),
    "fold in": (
        lambda lane, i: jax.random.uniform(jax.random.fold_in(lane_key(lane), i)),
        (LANE_KEYS, INDEX),
        (EACH, EACH),
    ),
    "fold in shared": (
        lambda lane, i: jax.random.uniform(jax.random.fold_in(lane_key(lane), i)),
        (LANE_KEYS, np.int32(4)),
        (EACH, ALL),
    ),
    "fold own number in shared key": (
        lambda i: jax.random.uniform(jax.random.fold_in(lane_key(jnp.uint32(3)), i)),
        (INDEX,),
        (EACH,),
    ),
    "key data": (lambda lane: jax.random.key_data(lane_key(lane)), (LANE_KEYS,), (EACH,)),
    "categorical": (lambda lane, v: jax.random.categorical(lane_key(lane), v), (LANE_KEYS, VECTOR), (EACH, EACH)),
    "permutation": (lambda lane: jax.random.permutation(lane_key(lane), 5), (LANE_KEYS,), (EACH,)),
    "carried": (scan_over_keys, (LANE_KEYS,), (EACH,)),
    "selected": (choose_key, (FLAG, LANE_KEYS), (EACH, EACH)),
    "one of several": (
        lambda lane, i: jax.random.uniform(jax.random.split(lane_key(lane), 4)[i]),
        (LANE_KEYS, INDEX),
        (EACH, EACH),
    ),
    "in a cond": (
        lambda c, lane: lax.cond(c, jax.random.uniform, jax.random.normal, lane_key(lane)),
        (FLAG, LANE_KEYS),
        (EACH, EACH),
    ),
    "ordinary keys": (lambda seed: jax.random.uniform(jax.random.key(seed), (2,)), (LANE_KEYS,), (EACH,)),
}
GROUPS = {
    "elementwise": ELEMENTWISE,
    "shapes": SHAPES,
    "reductions": REDUCTIONS,
    "arguments": ARGUMENTS,
    "indexing": INDEXING,
    "control": CONTROL,
    "fallback": FALLBACK,
    "keys": KEYS,
}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


def compare(wide, reference):
    assert jax.tree.structure(wide) == jax.tree.structure(reference)
    for ours, theirs in zip(jax.tree.leaves(wide), jax.tree.leaves(reference), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        if jnp.issubdtype(ours.dtype, jnp.inexact):
            np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(ours, theirs)


@functools.cache
def outcomes(group, transform):
    """What `transform` makes of every case of a group, compiled together: name -> arrays, and name -> exception."""
    cases, failures = GROUPS[group], {}

    def together(inputs):
        results = {}
        for name, (function, _, axes) in cases.items():
            try:
                results[name] = transform(function, axes)(*inputs[name])
            except Exception as failure:  # it belongs to that case alone
                failures[name] = failure
        return results

    return jax.jit(together)({name: args for name, (_, args, _) in cases.items()}), failures


def lanes_last(function, axes):
    return jax.vmap(function, axes, -1)


def outcome(case, transform):
    group, name = case.split(": ")
    function, args, axes = CASES[case]
    if group == "keys":  # hashes take XLA too long together
        return jax.jit(transform(function, axes))(*args)
    results, failures = outcomes(group, transform)
    if name in failures:
        raise failures[name]
    return results[name]


@pytest.mark.parametrize("name", CASES)
def test_widen_is_vmap_with_lanes_last(name):
    _, args, axes = CASES[name]
    wide = outcome(name, widen)
    compare(wide, outcome(name, lanes_last))
    assert all(leaf.shape[-1] == args[axes.index(EACH)].shape[-1] for leaf in jax.tree.leaves(wide))


FENCED = [
    "arguments: ties",
    "reductions: sums",
    "indexing: shared array",
    "indexing: row outside",
    "keys: split, vmapped",
]


@pytest.mark.parametrize("name", [*FENCED, "keys: carried", "control: loop of arms"])
def test_a_fence_changes_nothing(name):
    function, args, axes = CASES[name]
    both = jax.jit(lambda fence, *args: (widen(function, axes, fence=fence)(*args), widen(function, axes)(*args)))
    compare(*both(True, *args))


def test_what_is_marked_is_kept_behind_the_fence():
    """Its results are the same, and come from a branch exactly where there is a fence."""
    both = stored(lambda x, y: (jnp.sin(x) * y, jnp.cumsum(y)))
    function, args = lambda x, y: both(x, y)[0] - both(x, y)[1], (SCALAR, VECTOR)
    plain = widen(function, (EACH, EACH))
    fenced = jax.jit(lambda fence, *args: widen(function, (EACH, EACH), fence=fence)(*args))
    compare(fenced(True, *args), plain(*args))
    assert "cond" in primitives(jax.make_jaxpr(fenced)(True, *args).jaxpr)
    assert "cond" not in primitives(jax.make_jaxpr(plain)(*args).jaxpr)


def primitives(jaxpr):
    """Names of all primitives in a jaxpr and in those it calls."""
    names = set()
    for eqn in jaxpr.eqns:
        names.add(eqn.primitive.name)
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                names |= primitives(inner)
    return names


@pytest.mark.parametrize(
    "name",
    [f"indexing: {name}" for name in ("own index", "row of a matrix", "shared array", "add", "set", "multiply", "rows")],
)
def test_arms_are_picked_by_selection(name):
    function, args, axes = CASES[name]
    slow = {"gather", "scatter", "scatter-add", "scatter_add", "scatter-mul", "scatter_mul", "dynamic_slice"}
    assert slow & primitives(jax.make_jaxpr(jax.vmap(function, axes, -1))(*args).jaxpr)
    assert not slow & primitives(jax.make_jaxpr(widen(function, axes))(*args).jaxpr)


def test_a_shared_place_is_written_in_place():
    function, args, axes = CASES["indexing: shared place"]
    assert primitives(jax.make_jaxpr(widen(function, axes))(*args).jaxpr).isdisjoint({"scatter", "gather", "transpose"})


def test_loops_with_a_shared_stop_stay_loops_over_lanes():
    names = primitives(jax.make_jaxpr(widen(loop_shared_stop, (EACH,)))(SCALAR).jaxpr)
    assert names & {"while", "scan"} and "transpose" not in names


def test_arguments_may_be_trees():
    tree = {"a": SCALAR, "b": (VECTOR, INDEX)}
    function = lambda t, shared: {"sum": t["a"] + t["b"][0][t["b"][1]], "shared": shared["c"] * t["a"]}  # noqa: E731
    args, axes = (tree, {"c": np.float32(2)}), (EACH, ALL)
    compare(widen(function, axes)(*args), jax.vmap(function, axes, -1)(*args))


def test_one_lane_and_many():
    for lanes in (1, 33):
        x = floats(3, lanes)
        compare(widen(jnp.cumsum, (EACH,))(x), jnp.cumsum(x, 0))


def test_what_is_shared_comes_back_with_a_lane_axis():
    out = widen(lambda x, c: (c, 3, jnp.zeros((2, 2))), (EACH, ALL))(SCALAR, np.float32(4))
    assert [leaf.shape for leaf in out] == [(LANES,), (LANES,), (2, 2, LANES)]
    assert out[0].tolist() == [4.0] * LANES and out[1].tolist() == [3] * LANES


@pytest.mark.parametrize(
    ("axes", "args", "message"),
    [
        ((EACH,), (SCALAR, SCALAR), "in_axes names 1 arguments, but 2 were given"),
        ((EACH, EACH), (SCALAR,), "in_axes names 2 arguments, but 1 were given"),
        ((EACH, EACH), (SCALAR, floats(3)), r"lane axes of the arguments must agree, got lengths \[3, 5\]"),
        ((ALL, ALL), (SCALAR, SCALAR), "lane axes of the arguments must agree"),
    ],
)
def test_bad_axes_are_refused(axes, args, message):
    with pytest.raises(ValueError, match=message):
        widen(lambda *values: values[0], axes)(*args)


def test_a_scalar_has_no_lane_axis():
    with pytest.raises(ValueError, match="lane ax"):
        widen(lambda x: x, (EACH,))(np.float32(1))
