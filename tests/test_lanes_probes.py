"""`widen` against `jax.vmap`: a wide table of operations that policies may contain, most of them without their own rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_lanes import (
    ALL,
    EACH,
    FLAG,
    INDEX,
    LANE_KEYS,
    LANES,
    MATRIX,
    ODD_INDEX,
    OTHER,
    SCALAR,
    SHARED,
    TABLE,
    VECTOR,
    compare,
    floats,
    ints,
    lane_key,
    lanes_last,
    positive,
)

from jaxprice.lanes import widen

CUBE = floats(2, 3, 4, LANES)
COUNTS = ints(0, 5, 4, LANES)
BYTES, WORDS = COUNTS.astype(np.uint8), COUNTS.astype(np.uint32)
HALF = VECTOR.astype(np.float16)
NOTHING = np.zeros((0, LANES), np.float32)
HOLES = np.array([[1, np.nan, 2, np.nan, 0], [3, 1, np.nan, np.nan, 0], [2, 5, np.nan, 1, 0]], np.float32)
LONG_HOLES = np.tile(HOLES, (14, 1))
MODES = ("clip", "drop", "fill", "promise_in_bounds", "wrap")
PLACES = {"inside": INDEX, "odd": ODD_INDEX, "far": np.array([-100, 100, 4, -5, 2**31 - 1], np.int32)}


def positive_definite(m):
    return m @ m.T + jnp.eye(m.shape[0])


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (2 * x, x), lambda x, g: (3 * g,))


@jax.custom_batching.custom_vmap
def own_vmap(x):
    return x + 1


@own_vmap.def_vmap
def _own_vmap_rule(size, batched, x):
    return x + 100, True  # other than the function of one lane, so that it shows which of the two ran


def on_host(x):
    return jax.pure_callback(
        lambda x: np.sin(x).astype(np.float32), jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims"
    )


def on_host_each(x):
    return jax.pure_callback(
        lambda x: np.float32(np.sum(x)), jax.ShapeDtypeStruct((), jnp.float32), x, vmap_method="sequential"
    )


def odd_even(i, x):
    return lax.switch(i % 2, [lambda x: lax.cond(x > 0, jnp.sqrt, jnp.abs, x), lambda x: lax.fori_loop(0, i, halve, x)], x)


def halve(i, x):
    return 0.5 * x + i


def nested_scans(x, v):
    def outer(carry, row):
        inner, rows = lax.scan(lambda c, r: (c + r * row, c * x), carry, v)
        return inner, rows.sum()

    return lax.scan(outer, x, v)


def while_in_scan(x, v):
    def step(carry, row):
        return lax.while_loop(lambda c: c < 2, lambda c: c + jnp.abs(row) + 0.3, carry), carry

    return lax.scan(step, x, v)


def mutable(x, i):
    ref = jax.new_ref(jnp.zeros(4))
    ref[i] = x
    ref[1] += 2.0
    return ref[...]


def written(v):
    ref = jax.new_ref(jnp.zeros(()))

    def add(k, _):
        ref[...] += v[k]
        return k

    lax.fori_loop(0, 4, add, 0)
    return ref[...] * 2


def at_modes(where):
    def results(v, i, x):
        at = v.at[i]
        return [getattr(at, name)(x, mode=mode) for name in ("set", "add", "multiply", "min", "max") for mode in where]

    return results


UPDATES = {
    "set, add, multiply, min, max": (at_modes(MODES[:2]), (VECTOR, INDEX, SCALAR)),
    "the same of places outside": (at_modes(("clip", "drop")), (VECTOR, PLACES["far"], SCALAR)),
    "the same of places counted from the end": (at_modes(("clip", "drop")), (VECTOR, ODD_INDEX, SCALAR)),
    "apply": (lambda v, i: v.at[i].apply(jnp.exp), (VECTOR, INDEX)),
    "apply outside": (lambda v, i: v.at[i].apply(jnp.exp), (VECTOR, PLACES["far"])),
    "apply to a row": (lambda m, i: m.at[i].apply(lambda x: x**2 + 1), (TABLE, INDEX)),
    "apply to several": (lambda v, i: v.at[jnp.stack([i, (i + 1) % 4])].apply(jnp.square), (VECTOR, INDEX)),
    "apply to what all share": (lambda x, v, i: x + v.at[i].apply(jnp.sin), (SCALAR, SHARED, INDEX), (EACH, ALL, EACH)),
    "subtract, divide, power": (
        lambda v, i, x: (v.at[i].subtract(x), v.at[i].divide(x), jnp.abs(v).at[i].power(x)),
        (VECTOR, INDEX, positive(LANES)),
    ),
    "set by a mask": (lambda v, x: v.at[np.array([True, False, True, True])].set(x), (VECTOR, SCALAR)),
    "set a slice": (lambda m, x: m.at[1, ::2].set(x), (MATRIX, SCALAR)),
    "set the diagonal": (lambda m, v: m.at[jnp.arange(3), jnp.arange(3)].add(v[:3]), (MATRIX, VECTOR)),
    "set pairs": (lambda m, i, x: m.at[(i % 3, i)].max(x), (MATRIX, INDEX, SCALAR)),
    "add twice to one place": (lambda v, i, x: v.at[jnp.stack([i, i, i])].add(x), (VECTOR, INDEX, SCALAR)),
    "multiply twice": (lambda v, i, x: v.at[jnp.stack([i, i])].multiply(x), (VECTOR, INDEX, SCALAR)),
    "last of several wins": (lambda v, i: v.at[jnp.stack([i, i])].set(jnp.array([1.0, 2.0])), (VECTOR, INDEX)),
    "a column": (lambda m, i, w: m.at[:, i].set(w[:3]), (MATRIX, INDEX, SHARED), (EACH, EACH, ALL)),
    "rank three": (lambda c, i, x: c.at[0, i % 3].set(x), (CUBE, INDEX, SCALAR)),
    "integers": (lambda n, i: (n.at[i].add(3), n.at[i].multiply(2), n.at[i].set(7), n.at[i].max(2)), (COUNTS, INDEX)),
    "bytes": (lambda n, i: (n.at[i].add(250), n.at[i].min(1), n.at[i].apply(lambda x: x + 1)), (BYTES, INDEX)),
    "flags": (lambda v, i: ((v > 0).at[i].set(True), (v > 0).at[i].apply(jnp.logical_not)), (VECTOR, INDEX)),
    "half precision": (lambda v, i: (v.at[i].add(0.5), v.at[i].multiply(3)), (HALF, INDEX)),
    "by an unsigned index": (lambda v, i: (v.at[i].add(1.0), v[i]), (VECTOR, INDEX.astype(np.uint8))),
    "by a raw index": (
        lambda v, i, x: (v.at[i].set(x, mode="drop", wrap_negative_indices=False), v.at[i].add(x, mode="clip")),
        (VECTOR, PLACES["far"], SCALAR),
    ),
    "segments": (lambda v, i: jax.ops.segment_sum(v, jnp.stack([i, 0 * i, i, 0 * i + 1]), 4), (VECTOR, INDEX)),
    "bincount": (lambda n: jnp.bincount(n, length=5), (COUNTS,)),
    "gradient of a pick": (lambda v, i: jax.grad(lambda v: v[i] ** 2 + v[0])(v), (VECTOR, INDEX)),
    "gradient of a write": (lambda v, i, x: jax.grad(lambda x: (v.at[i].set(x) ** 2).sum())(x), (VECTOR, INDEX, SCALAR)),
}
PICKS = {
    **{
        f"take, {mode}, {name}": (lambda v, i, mode=mode: v.at[i].get(mode=mode), (VECTOR, where))
        for mode in MODES[:3]
        for name, where in PLACES.items()
    },
    "take with a fill": (lambda v, i: v.at[i].get(mode="fill", fill_value=9.0), (VECTOR, PLACES["far"])),
    "take in bounds": (lambda v, i: v.at[i].get(mode="promise_in_bounds"), (VECTOR, INDEX)),
    "take along": (lambda m, i: jnp.take_along_axis(m, jnp.stack([i, i, 0 * i])[:, None], 1), (MATRIX, INDEX)),
    "take several": (lambda c, i: (c[:, i % 3], c[1, :, i], c[..., jnp.stack([i, i])]), (CUBE, INDEX)),
    "of integers": (lambda n, i: (n[i], n.at[i].get(mode="fill")), (COUNTS, PLACES["odd"])),
    "of flags": (lambda v, i: (v > 0)[i], (VECTOR, INDEX)),
    "of half precision": (lambda v, i: v[i], (HALF, INDEX)),
    "dynamic slices": (
        lambda m, i: (lax.dynamic_slice(m, (i, i), (2, 3)), lax.dynamic_slice_in_dim(m, i, 2, 1)),
        (MATRIX, PLACES["far"]),
    ),
    "a slice of one row": (lambda c, i: lax.dynamic_slice(c, (i, 0, 0), (1, 3, 4)), (CUBE, PLACES["odd"])),
    "dynamic updates": (lambda m, i, v: lax.dynamic_update_slice(m, v[None, :2], (i, i)), (MATRIX, PLACES["far"], VECTOR)),
    "nonzero": (lambda v: jnp.nonzero(v > 0, size=4, fill_value=-1)[0], (VECTOR,)),
    "argwhere, unique": (lambda n: jnp.unique(n, size=4, fill_value=-1), (COUNTS,)),
    "pick in an inner vmap": (lambda m, i: jax.vmap(lambda r, k: r[k])(m, jnp.stack([i, 0 * i, i])), (MATRIX, INDEX)),
    "write in an inner vmap": (
        lambda m, i, x: jax.vmap(lambda r, k: r.at[k].add(x))(m, jnp.stack([i, 0 * i, i])),
        (MATRIX, INDEX, SCALAR),
    ),
    "apply in an inner vmap": (lambda m, i: jax.vmap(lambda r: r.at[i].apply(jnp.cos))(m), (MATRIX, INDEX)),
    "select, choose, piecewise": (
        lambda x, i: (
            jnp.select([x < -1, x < 1], [x, x**2], 0.0),
            jnp.choose(i, [x, x + 1, x + 2, x + 3], mode="clip"),
            jnp.piecewise(x, [x < 0, x >= 0], [jnp.abs, jnp.sin]),
        ),
        (SCALAR, INDEX),
    ),
}
ORDER = {
    "argmax of NaN": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (HOLES,)),
    "argmax of NaN, long": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (LONG_HOLES,)),
    "argmax of NaN alone": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (np.full((3, LANES), np.nan, np.float32),)),
    "nanargmax": (lambda v: (jnp.nanargmax(v), jnp.nanmax(v), jnp.nansum(v)), (HOLES,)),
    "argmax of flags and bytes": (lambda n: (jnp.argmax(n > 2), jnp.argmax(n), jnp.argmin(n)), (BYTES,)),
    "argmax along axes": (lambda c: (jnp.argmax(c, 0), jnp.argmax(c, 1), jnp.argmin(c, 2), jnp.argmax(c)), (CUBE,)),
    "argmax of zeros": (lambda v: (jnp.argmax(v), jnp.argmin(v)), (np.array([[0.0, -0.0]] * 3, np.float32),)),
    "sorts": (lambda m: (jnp.sort(m, 0), jnp.sort(m, 1), jnp.argsort(m, 1), jnp.argsort(-m, 0)), (MATRIX,)),
    "sort of ties": (lambda n: (jnp.argsort(n), jnp.argsort(n, descending=True), jnp.lexsort((n, -n))), (COUNTS,)),
    "sort with NaN": (lambda v: (jnp.sort(v), jnp.argsort(v), jnp.median(v), jnp.nanmedian(v)), (HOLES,)),
    "sort two together": (lambda v, n: lax.sort((n, v), num_keys=1), (VECTOR, COUNTS)),
    "top k": (lambda m: (lax.top_k(m, 2), lax.top_k(m[0], 4)), (MATRIX,)),
    "quantiles": (lambda v: (jnp.quantile(v, 0.3), jnp.percentile(v, jnp.array([10.0, 90.0]))), (VECTOR,)),
    "searchsorted": (lambda v, x: (jnp.searchsorted(jnp.sort(v), x), jnp.searchsorted(SHARED, v)), (VECTOR, SCALAR)),
    "interpolation": (lambda v, x: jnp.interp(x, jnp.arange(4.0), v), (VECTOR, SCALAR)),
    "histogram": (lambda v: jnp.histogram(v, bins=4, range=(-2, 2))[0], (VECTOR,)),
    "digitize": (lambda v: jnp.digitize(v, jnp.array([-1.0, 0.0, 1.0])), (VECTOR,)),
    "running maximum": (lambda v: (lax.cummax(v), lax.associative_scan(jnp.maximum, v, reverse=True)), (VECTOR,)),
}
OWN_REDUCTIONS = {
    "reduce": (lambda v: lax.reduce(v, np.float32(0), lambda a, b: a + 2 * b, (0,)), (VECTOR,)),
    "reduce, an operator of its own": (
        lambda m: lax.reduce(m, np.float32(1), lambda a, b: jnp.where(a > b, a, a * 0.5 + b), (1,)),
        (MATRIX,),
    ),
    "reduce two": (
        lambda v, n: lax.reduce(
            (v, n), (np.float32(-9), np.int32(0)), lambda a, b: (jnp.maximum(a[0], b[0]), a[1] + b[1]), (0,)
        ),
        (VECTOR, COUNTS),
    ),
    "reduce all axes": (lambda c: lax.reduce(c, np.float32(0), lax.add, (0, 1, 2)), (CUBE,)),
    "reduce bits": (lambda n: (jnp.bitwise_xor.reduce(n), jnp.bitwise_or.reduce(n)), (COUNTS,)),
    "windows": (lambda v: lax.reduce_window(v, np.float32(0), lax.add, (2,), (1,), "VALID"), (VECTOR,)),
    "windows, an operator of their own": (
        lambda v: lax.reduce_window(v, np.float32(0), lambda a, b: a + b * b, (2,), (1,), "SAME"),
        (VECTOR,),
    ),
    "windows of a matrix": (lambda m: lax.reduce_window(m, -np.inf, lax.max, (2, 2), (1, 2), "VALID"), (MATRIX,)),
    "ufuncs": (lambda v: (jnp.add.accumulate(v), jnp.multiply.outer(v, v), jnp.maximum.reduce(v)), (VECTOR,)),
    "associative scan": (lambda v: lax.associative_scan(lambda a, b: a * b + b, v), (VECTOR,)),
}
LOOPS = {
    "loops nested": (lambda i, x: lax.fori_loop(0, 3, lambda k, v: lax.fori_loop(0, i, halve, v) + k, x), (INDEX, SCALAR)),
    "scans nested": (nested_scans, (SCALAR, VECTOR)),
    "while in scan": (while_in_scan, (SCALAR, VECTOR)),
    "switch of conds and loops": (odd_even, (INDEX, SCALAR)),
    "switch outside": (lambda i, x: lax.switch(i, [jnp.sin, jnp.cos], x), (PLACES["far"], SCALAR)),
    "scan without carry": (lambda v: lax.map(lambda r: lax.cond(r > 0, jnp.log, jnp.exp, r), v), (VECTOR,)),
    "map in batches": (lambda m: lax.map(lambda r: r.sum(), m, batch_size=2), (MATRIX,)),
    "scan unrolled": (lambda x, v: lax.scan(lambda c, r: (c * r + x, c), x, v, unroll=2), (SCALAR, VECTOR)),
    "scan of no rows": (lambda x, v: lax.scan(lambda c, r: (c + r, c), x, v), (SCALAR, NOTHING)),
    "loop of no rounds": (lambda x: lax.fori_loop(3, 3, halve, x), (SCALAR,)),
    "while, several carried": (
        lambda x, n: lax.while_loop(lambda c: c[1].sum() < 40, lambda c: (c[0] * 1.1, c[1] + 1), (x, n)),
        (SCALAR, COUNTS),
    ),
    "while over an index": (
        lambda v: lax.while_loop(lambda i: (i < 3) & (v[i] < 0), lambda i: i + 1, jnp.int32(0)),
        (VECTOR,),
    ),
    "cond with no operand": (lambda c: lax.cond(c, lambda: 1.0, lambda: 2.0), (FLAG,)),
    "cond of trees": (
        lambda c, v, n: lax.cond(c, lambda t: t, lambda t: {"a": -t["a"], "b": t["b"] + 1}, {"a": v, "b": n}),
        (FLAG, VECTOR, COUNTS),
    ),
    "reverse mode of a scan": (
        lambda x, v: jax.grad(lambda x: lax.scan(lambda c, r: (c * r, c), x, v)[0])(x),
        (SCALAR, VECTOR),
    ),
    "reverse mode of a cond": (lambda c, x: jax.grad(lambda x: lax.cond(c, jnp.sin, jnp.exp, x))(x), (FLAG, SCALAR)),
    "mutable arrays": (mutable, (SCALAR, INDEX)),
    "mutable arrays in a loop": (
        lambda x, i: lax.fori_loop(0, 2, lambda k, v: mutable(v.sum() + x, i), jnp.zeros(4)),
        (SCALAR, INDEX),
    ),
    "a mutable array written by a loop": (written, (VECTOR,)),
}
TRANSFORMS = {
    "grad, value and hessian": (
        lambda v: (jax.value_and_grad(lambda v: jnp.sum(jnp.sin(v) * v[0]))(v), jax.hessian(lambda v: jnp.prod(v))(v)),
        (VECTOR,),
    ),
    "jvp": (lambda x, y: jax.jvp(lambda a: jnp.tanh(a) * a, (x,), (y,)), (SCALAR, OTHER)),
    "vjp": (lambda x, y: jax.vjp(lambda a: jnp.tanh(a) * a, x)[1](y), (SCALAR, OTHER)),
    "jacobians": (lambda v: (jax.jacfwd(jnp.cumprod)(v), jax.jacrev(jnp.sort)(v)), (VECTOR,)),
    "custom vjp": (lambda x: (doubled(x), jax.grad(doubled)(x)), (SCALAR,)),
    "custom vmap": (lambda x: own_vmap(x), (SCALAR,)),
    "checkpoint": (lambda x: jax.grad(jax.checkpoint(lambda a: jnp.sin(jnp.sin(a))))(x), (SCALAR,)),
    "stop gradient": (lambda x: jax.grad(lambda a: a * lax.stop_gradient(a))(x), (SCALAR,)),
    "jit in jit": (lambda x, v: jax.jit(lambda a, b: jax.jit(jnp.dot)(b, b) + a)(x, v), (SCALAR, VECTOR)),
    "vmap in vmap": (lambda m: jax.vmap(jax.vmap(lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x)))(m), (MATRIX,)),
    "vmap of writes by a shared scalar": (lambda v, x: jax.vmap(lambda k: v.at[k].set(x))(jnp.arange(4)), (VECTOR, SCALAR)),
    "collectives of an inner vmap": (
        lambda v: jax.vmap(lambda x: x - lax.pmean(x, "arms") + lax.axis_index("arms"), axis_name="arms")(v),
        (VECTOR,),
    ),
    "Newton's method": (lambda x: lax.fori_loop(0, 3, lambda k, z: z - jnp.tan(z) / 2 + x * 1e-3, x), (SCALAR,)),
    "root of a function": (
        lambda x: lax.custom_root(
            lambda z: z**3 - x,
            jnp.float32(1),
            lambda f, z: lax.fori_loop(0, 30, lambda k, z: z - f(z) / (3 * z**2), z),
            lambda g, y: y / g(1.0),
        ),
        (positive(LANES),),
    ),
    "callback, all at once": (on_host, (VECTOR,)),
    "callback, one by one": (on_host_each, (VECTOR,)),
    "callback in a loop": (lambda x: lax.fori_loop(0, 2, lambda k, v: on_host(v) + k, x), (SCALAR,)),
    "callback in a cond": (lambda c, x: lax.cond(c, on_host, jnp.cos, x), (FLAG, SCALAR)),
}
ALGEBRA = {
    "products": (lambda m, v, w: (m @ v, m.T @ m, v @ w, jnp.outer(v, w)), (MATRIX, VECTOR, SHARED), (EACH, EACH, ALL)),
    "einsum": (lambda c, v: (jnp.einsum("ijk,k->ji", c, v), jnp.einsum("ijk,ijl->kl", c, c)), (CUBE, VECTOR)),
    "shared matrix": (lambda m, v: (m @ v, v @ m), (floats(4, 4), VECTOR), (ALL, EACH)),
    "integers and half precision": (lambda n, h: (n @ n, jnp.sum(h * h), h @ h), (COUNTS, HALF)),
    "inverse": (lambda m: jnp.linalg.inv(positive_definite(m)), (MATRIX,)),
    "determinant": (lambda m: (jnp.linalg.det(m[:, :3]), jnp.linalg.slogdet(positive_definite(m))), (MATRIX,)),
    "Cholesky": (lambda m: jnp.linalg.cholesky(positive_definite(m)), (MATRIX,)),
    "triangular": (
        lambda m, v: jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(positive_definite(m)), v[:3], lower=True),
        (MATRIX, VECTOR),
    ),
    "Cholesky solve": (
        lambda m, v: jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(positive_definite(m)), True), v[:3]),
        (MATRIX, VECTOR),
    ),
    "eigenvalues": (lambda m: jnp.linalg.eigvalsh(positive_definite(m)), (MATRIX,)),
    "singular values": (lambda m: jnp.linalg.svd(m, compute_uv=False), (MATRIX,)),
    "QR": (lambda m: jnp.abs(jnp.linalg.qr(m)[1]), (MATRIX,)),
    "least squares": (lambda m, v: jnp.linalg.lstsq(m.T, v)[0], (MATRIX, VECTOR)),
    "norms": (lambda m: (jnp.linalg.norm(m), jnp.linalg.norm(m, axis=1), jnp.trace(m)), (MATRIX,)),
    "exponential": (lambda m: jax.scipy.linalg.expm(m[:, :3] * 0.1), (MATRIX,)),
    "power, kron, triangles": (lambda m: (jnp.linalg.matrix_power(m[:, :3], 3), jnp.kron(m, m), jnp.tril(m)), (MATRIX,)),
    "Fourier": (lambda v: (jnp.abs(jnp.fft.fft(v)), jnp.fft.irfft(jnp.fft.rfft(v))), (VECTOR,)),
    "convolution": (lambda v, w: (jnp.convolve(v, w), jnp.convolve(v, w, mode="same")), (VECTOR, SHARED), (EACH, ALL)),
    "convolution of an image": (
        lambda m: lax.conv_general_dilated(m[None, None], jnp.ones((1, 1, 2, 2)), (1, 1), "SAME"),
        (MATRIX,),
    ),
    "polynomials": (lambda v, x: (jnp.polyval(v, x), jnp.cross(v[:3], v[1:])), (VECTOR, SCALAR)),
    "special functions": (
        lambda x, y: (
            [f(x, y) for f in (jax.scipy.special.betaln, jax.scipy.special.gammainc, jax.scipy.special.xlogy, jnp.logaddexp)]
            + [jax.scipy.special.betainc(x, y, 0.3), jax.scipy.special.i0e(x), jax.scipy.special.ndtri(0.3 + 0 * x)]
        ),
        (positive(LANES), positive(LANES)),
    ),
}
TYPES = {
    "bytes": (
        lambda n: (n + 250, n // 2, n << 3, ~n, lax.population_count(n), lax.clz(n), n.astype(jnp.int8) - 3),
        (BYTES,),
    ),
    "unsigned": (lambda n: (n - 3, n * n, n >> 1, n.sum(), n.max(), -n), (WORDS,)),
    "half precision": (lambda h: (h.sum(), h.mean(), jnp.exp(h), h.max(), jnp.argmax(h), jnp.sort(h), h.std()), (HALF,)),
    "brain floats": (lambda v: (v.astype(jnp.bfloat16).sum(), jnp.argmin(v.astype(jnp.bfloat16))), (VECTOR,)),
    "flags": (lambda v: ((v > 0).sum(), (v > 0).argmax(), jnp.cumsum(v > 0), ~(v > 0), (v > 0) ^ (v > 1)), (VECTOR,)),
    "complex": (
        lambda x, y: (jnp.imag(lax.complex(x, y) ** 2), jnp.abs(lax.complex(x, y)), jnp.angle(lax.complex(x, y))),
        (SCALAR, OTHER),
    ),
    "nothing": (lambda v: (v.sum(), v.prod(), jnp.concatenate([v, v]), v[:, None] + v, jnp.cumsum(v)), (NOTHING,)),
    "nothing of a matrix": (lambda m: (m[:0].sum(0), m[:, :0].sum(1), m[:0].T, m[:, 2:2].max(1, initial=3)), (MATRIX,)),
    "nothing picked": (lambda v, i: (v[jnp.stack([i, i])[:0]], v.at[jnp.stack([i])[:0]].set(3.0)), (VECTOR, INDEX)),
    "rank three": (
        lambda c: (c.sum((0, 2)), c.max(1), c.reshape(6, 4), c.transpose(2, 0, 1), c[::-1, 1:, ::2], c.mean(), c.prod(0)),
        (CUBE,),
    ),
    "rank zero": (lambda x: (x[None], x.reshape(1, 1, 1), jnp.full((2, 2), x), jnp.stack([x] * 3), x.ravel()), (SCALAR,)),
    "pads, tiles, repeats": (
        lambda m: (
            jnp.pad(m, 1, mode="edge"),
            jnp.pad(m, ((0, 1), (2, 0))),
            jnp.tile(m, 2),
            jnp.repeat(m, 2, 0),
            lax.pad(m, 0.0, ((1, -1, 1), (0, 0, 2))),
        ),
        (MATRIX,),
    ),
    "splits and moves": (
        lambda m: (jnp.split(m, 2, 1), jnp.moveaxis(m, 0, 1), jnp.rot90(m), jnp.roll(m, 1, 1), jnp.flip(m)),
        (MATRIX,),
    ),
    "rounding": (
        lambda v: (jnp.round(v, 1), jnp.trunc(v), jnp.ceil(v), v.astype(jnp.int32), lax.reduce_precision(v, 5, 10)),
        (VECTOR,),
    ),
    "remainders and powers": (
        lambda n, v: (n % 3, jnp.divmod(n, 2), v**2, v**-1, jnp.float_power(2.0, n), lax.integer_pow(v, 3)),
        (COUNTS, VECTOR),
    ),
    "one hot": (
        lambda i, v: (jax.nn.one_hot(i, 4), jax.nn.log_softmax(v), jax.nn.gelu(v), jax.nn.relu6(v)),
        (INDEX, VECTOR),
    ),
    "infinities": (lambda v: (v / 0, jnp.isnan(v * jnp.inf * 0), jnp.nan_to_num(v / 0), jnp.isfinite(v)), (VECTOR,)),
}
LAWS = {
    "uniform": lambda key: jax.random.uniform(key, (3,), minval=-1, maxval=2),
    "normal": lambda key: jax.random.normal(key, (2, 2)),
    "truncated normal": lambda key: jax.random.truncated_normal(key, -1, 2, (3,)),
    "bits": lambda key: jax.random.bits(key, (3,), jnp.uint8),
    "randint": lambda key: (jax.random.randint(key, (3,), -5, 6), jax.random.randint(key, (), 0, 200, jnp.uint8)),
    "bernoulli": lambda key: jax.random.bernoulli(key, 0.3, (4,)),
    "categorical": lambda key: jax.random.categorical(key, jnp.arange(4.0), shape=(2,)),
    "choice": lambda key: (jax.random.choice(key, 7), jax.random.choice(key, 7, (3,), replace=False)),
    "choice with weights": lambda key: jax.random.choice(key, 4, (2,), p=jnp.array([0.1, 0.2, 0.3, 0.4])),
    "permutation": lambda key: jax.random.permutation(key, jnp.arange(6.0)),
    "exponential": lambda key: jax.random.exponential(key, (3,)),
    "gamma": lambda key: jax.random.gamma(key, 2.5, (2,)),
    "loggamma": lambda key: jax.random.loggamma(key, 0.3),
    "beta": lambda key: jax.random.beta(key, 2.0, 0.5),
    "dirichlet": lambda key: jax.random.dirichlet(key, jnp.array([1.0, 2.0, 0.5])),
    "chisquare": lambda key: jax.random.chisquare(key, 3.0),
    "f": lambda key: jax.random.f(key, 3.0, 5.0),
    "t": lambda key: jax.random.t(key, 3.0),
    "cauchy": lambda key: jax.random.cauchy(key, (2,)),
    "laplace": lambda key: jax.random.laplace(key, (2,)),
    "logistic": lambda key: jax.random.logistic(key, (2,)),
    "gumbel": lambda key: jax.random.gumbel(key, (2,)),
    "lognormal": lambda key: jax.random.lognormal(key, 0.5),
    "pareto": lambda key: jax.random.pareto(key, 2.0),
    "rayleigh": lambda key: jax.random.rayleigh(key, 2.0),
    "wald": lambda key: jax.random.wald(key, 1.5),
    "weibull": lambda key: jax.random.weibull_min(key, 1.0, 2.0),
    "triangular": lambda key: jax.random.triangular(key, 0.0, 0.3, 1.0),
    "maxwell": lambda key: jax.random.maxwell(key, (2,)),
    "double sided Maxwell": lambda key: jax.random.double_sided_maxwell(key, 0.0, 1.0, (2,)),
    "generalized normal": lambda key: jax.random.generalized_normal(key, 1.5),
    "rademacher": lambda key: jax.random.rademacher(key, (4,)),
    "geometric": lambda key: jax.random.geometric(key, 0.2),
    "binomial": lambda key: jax.random.binomial(key, 20.0, 0.3),
    "multinomial": lambda key: jax.random.multinomial(key, 5.0, jnp.array([0.2, 0.3, 0.5])),
    "ball": lambda key: jax.random.ball(key, 3),
    "orthogonal": lambda key: jnp.abs(jax.random.orthogonal(key, 2)),
    "multivariate normal": lambda key: jax.random.multivariate_normal(key, jnp.zeros(2), jnp.eye(2) + 0.5),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (2, 2))),
    "splits of many keys": lambda key: jax.random.key_data(jax.vmap(jax.random.split)(jax.random.split(key, 3))),
    "fold in": lambda key: [jax.random.bits(jax.random.fold_in(key, k)) for k in (0, 1, 2**32 - 1)],
    "clone": lambda key: jax.random.uniform(jax.random.clone(key)),
    "wrapped again": lambda key: jax.random.uniform(jax.random.wrap_key_data(jax.random.key_data(key), impl=key.dtype)),
    "keys in a scan": lambda key: lax.map(jax.random.uniform, jax.random.split(key, 3)),
    "threefry of its words": lambda key: jax.random.poisson(jax.random.key(jax.random.bits(key)), 3.0, (2,)),
}
GROUPS = {
    "updates": UPDATES,
    "picks": PICKS,
    "order": ORDER,
    "reductions of one's own": OWN_REDUCTIONS,
    "loops": LOOPS,
    "transforms": TRANSFORMS,
    "algebra": ALGEBRA,
    "types": TYPES,
    "laws": {name: (lambda lane, law=law: law(lane_key(lane)), (LANE_KEYS,)) for name, law in LAWS.items()},
}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


@pytest.mark.parametrize("name", CASES)
def test_widen_is_vmap(name):
    function, args, *axes = CASES[name]
    axes = axes[0] if axes else (EACH,) * len(args)
    both = jax.jit(lambda *args: [transform(function, axes)(*args) for transform in (widen, lanes_last)])
    compare(*both(*args))
