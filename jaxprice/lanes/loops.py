"""Rules of the loops: their bodies are interpreted, and a carry that is the same in all lanes stays without a lane axis."""

import jax
from jax import lax

from jaxprice.lanes.interpret import as_carry, interpret, join, rule


@rule("scan")
def _scan(eqn, args, size):
    p = eqn.params
    args = [(join(value), flag) for value, flag in args]
    if "ft_in" in p:  # jax 0.12 and later
        consts, carry, xs = map(list, p["ft_in"].update(args).unpack())
    else:
        first, last = p["num_consts"], p["num_consts"] + p["num_carry"]
        consts, carry, xs = args[:first], args[first:last], args[last:]
    body, avals = p["jaxpr"], p["jaxpr"].in_avals
    carry_avals = avals[len(consts) : len(consts) + len(carry)]
    flags = _carried(lambda f: _flags(body, consts, f, [flag for _, flag in xs], avals, size), [f for _, f in carry])

    def step(values, x):
        x = [(row, flag) for row, (_, flag) in zip(x, xs, strict=True)]
        outs = interpret(body, [*consts, *zip(values, flags, strict=True), *x], size)
        ys = [as_carry(*out, True, aval, size) for out, aval in zip(outs, body.out_avals, strict=True)][len(flags) :]
        return carried(outs[: len(flags)]), tuple(ys)

    def carried(pairs):
        wanted = zip(pairs, flags, carry_avals, strict=True)
        return tuple(as_carry(value, flag, wide, aval, size) for (value, flag), wide, aval in wanted)

    rows = tuple(value for value, _ in xs)
    after, ys = lax.scan(step, carried(carry), rows, p["length"], p["reverse"], p["unroll"])
    return [*zip(after, flags, strict=True), *[(y, True) for y in ys]]


@rule("while")
def _while(eqn, args, size):
    p = eqn.params
    args = [(join(value), flag) for value, flag in args]
    split = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    cond_consts, body_consts, carry = args[: split[0]], args[split[0] : split[1]], args[split[1] :]
    body, cond = p["body_jaxpr"], p["cond_jaxpr"]
    avals = body.in_avals[len(body_consts) :]
    flags = _carried(lambda f: _flags(body, body_consts, f, [], body.in_avals, size), [f for _, f in carry])
    if _flags(cond, cond_consts, flags, [], cond.in_avals, size)[0]:
        return None  # lanes stop at different times: `vmap` handles that

    def keep_going(values):
        return interpret(cond, [*cond_consts, *zip(values, flags, strict=True)], size)[0][0]

    def step(values):
        return carried(interpret(body, [*body_consts, *zip(values, flags, strict=True)], size))

    def carried(pairs):
        wanted = zip(pairs, flags, avals, strict=True)
        return tuple(as_carry(value, flag, wide, aval, size) for (value, flag), wide, aval in wanted)

    return list(zip(lax.while_loop(keep_going, step, carried(carry)), flags, strict=True))


def _flags(closed, consts, carry, xs, avals, size):
    """Which outputs of a loop body are wide, for the given wide inputs."""
    flags = [*[flag for _, flag in consts], *carry, *xs]
    seen = []

    def run(*values):
        seen[:] = [flag for _, flag in interpret(closed, zip(values, flags, strict=True), size)]
        return ()

    jax.eval_shape(run, *[jax.ShapeDtypeStruct(a.shape + (size,) * f, a.dtype) for a, f in zip(avals, flags, strict=True)])
    return seen


def _carried(propagate, flags):
    """The smallest set of wide carries that the loop body maps into itself."""
    while True:
        after = [a or b for a, b in zip(flags, propagate(flags), strict=False)]
        if after == flags:
            return flags
        flags = after
