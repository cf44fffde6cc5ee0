"""Rules of the primitives that compute elementwise, rearrange values, or reduce leading axes; and of keys.

An addressed key (`jaxprice.random`) that differs between lanes is a tuple of words, `[..., lanes]` each.
"""

import functools

import jax.numpy as jnp
from jax import lax

from jaxprice import random
from jaxprice.lanes.interpret import SHORT, bind, broadcast, once, rule

_ELEMENTWISE = """abs acos acosh add and asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil clamp
    convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow
    is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or population_count pow reduce_precision
    rem round rsqrt shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square
    stop_gradient sub tan tanh xor"""
_LEADING_AXES = """cummax cummin cumprod cumsum cumlogsumexp reduce_and reduce_max reduce_min reduce_or reduce_prod
    reduce_sum rev concatenate squeeze"""


def per_word(move):
    """Apply a rule that only rearranges values to each word of a wide key."""

    def apply(eqn, args, size):
        if not any(isinstance(value, tuple) for value, _ in args):
            return move(eqn, args, size)
        outs = [
            move(eqn, [(value[i], flag) if isinstance(value, tuple) else (value, flag) for value, flag in args], size)
            for i in range(random.WORDS)
        ]
        if outs[0] is None:
            return None
        return [(tuple(word for word, _ in words), True) for words in zip(*outs, strict=True)]

    return apply


@rule(_ELEMENTWISE)
def _elementwise(eqn, args, size):
    shape = eqn.outvars[0].aval.shape
    if eqn.primitive.name == "bitcast_convert_type" and eqn.invars[0].aval.shape != shape:
        return None
    values = [
        broadcast(jnp.asarray(value, atom.aval.dtype) if not flag else value, flag, shape, size)
        for (value, flag), atom in zip(args, eqn.invars, strict=True)
    ]
    return [(bind(eqn, values)[0], True)]


@rule(_LEADING_AXES)
@per_word
def leading_axes(eqn, args, size):
    values = [broadcast(v, flag, atom.aval.shape, size) for (v, flag), atom in zip(args, eqn.invars, strict=True)]
    return [(bind(eqn, values)[0], True)]


@rule("stack")
@per_word
def _stack(eqn, args, size):
    values = [broadcast(v, flag, atom.aval.shape, size) for (v, flag), atom in zip(args, eqn.invars, strict=True)]
    return [(jnp.stack(values, eqn.params["axis"]), True)]


@rule("unstack")
@per_word
def _unstack(eqn, args, size):
    axis = eqn.params["axis"]
    return [(lax.index_in_dim(args[0][0], k, axis, keepdims=False), True) for k in range(len(eqn.outvars))]


@rule("broadcast_in_dim")
@per_word
def _broadcast_in_dim(eqn, args, size):
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    return [(lax.broadcast_in_dim(args[0][0], (*shape, size), (*dims, len(shape))), True)]


@rule("reshape")
@per_word
def _reshape(eqn, args, size):
    return [(args[0][0].reshape((*eqn.params["new_sizes"], size)), True)]


@rule("slice")
@per_word
def _slice(eqn, args, size):
    params = eqn.params
    strides = params["strides"] and (*params["strides"], 1)
    return [(lax.slice(args[0][0], (*params["start_indices"], 0), (*params["limit_indices"], size), strides), True)]


@rule("transpose")
@per_word
def _transpose(eqn, args, size):
    permutation = eqn.params["permutation"]
    return [(args[0][0].transpose((*permutation, len(permutation))), True)]


@rule("reduce_sum reduce_max reduce_min")
def _reduce(eqn, args, size):
    x = args[0][0]
    if eqn.params["axes"] != (0,) or not 0 < x.shape[0] <= SHORT:
        return leading_axes(eqn, args, size)
    combine = {"reduce_sum": jnp.add, "reduce_max": jnp.maximum, "reduce_min": jnp.minimum}[eqn.primitive.name]
    return [(once(lambda x: functools.reduce(combine, [x[k] for k in range(x.shape[0])]), x), True)]


@rule("random_wrap")
def _random_wrap(eqn, args, size):
    if not random.is_addressed(eqn.outvars[0].aval.dtype):
        return None
    data = args[0][0]
    return [(tuple(data[..., i, :] for i in range(random.WORDS)), True)]


def _on_words(function):
    """A rule for an operation on a key: `function(words, eqn, other operands)`, where the words are wide."""

    def rule(eqn, args, size):
        (key, wide), *rest = args
        if not random.is_addressed(eqn.invars[0].aval.dtype):
            return None
        if not isinstance(key, tuple):
            key = tuple(broadcast(word, wide, eqn.invars[0].aval.shape, size) for word in random.to_words(key))
        others = [broadcast(v, flag, atom.aval.shape, size) for (v, flag), atom in zip(rest, eqn.invars[1:], strict=True)]
        return [(function(key, eqn.params, *others), True)]

    return rule


def _random_bits(words, params):
    draw = functools.partial(random.bits, bit_width=params["bit_width"], shape=params["shape"], lanes_last=True)
    return once(lambda *words: draw(words), *words)


rule("select_n")(per_word(_elementwise))
rule("random_bits")(_on_words(_random_bits))
rule("random_unwrap")(_on_words(lambda words, p: jnp.stack(words, -2)))
rule("random_split")(_on_words(lambda words, p: random.split(words, p["shape"], lanes_last=True)))
rule("random_fold_in")(_on_words(lambda words, p, data: random.fold_in(words, data, lanes_last=True)))
