"""Checks of arguments: accepted values, their normal form, and refused values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxprice import checks

WHOLE = [3, *(kind(3) for kind in (np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64)), np.array(3), jnp.int32(3)]
NOT_WHOLE = [True, np.True_, 3.0, np.float32(3), "3", None, [3], (3,), np.array([3]), np.array([[3]]), [], 3 + 0j, b"3", {}]
NOT_NUMBERS = ["1", b"1", True, np.True_, jnp.bool_(True), 1j, np.complex64(1), None, {}, int, np.datetime64(1, "Y")]


@pytest.mark.parametrize("value", WHOLE, ids=repr)
def test_integers_of_every_width_are_python_ints(value):
    whole = checks.whole("n", value, 1, 5)
    assert whole == 3 and type(whole) is int
    with pytest.raises(ValueError, match=r"n must be an integer in \[4, 5\], got"):
        checks.whole("n", value, 4, 5)
    with pytest.raises(ValueError, match="n must be an integer of at least 4, got"):
        checks.whole("n", value, 4)


@pytest.mark.parametrize("value", NOT_WHOLE, ids=repr)
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(ValueError, match="n must be an integer, got"):
        checks.whole("n", value)
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got"):
        checks.positive_int("n", value)


def test_integers_that_a_type_would_wrap():
    assert checks.whole("n", np.array(2**32 + 1)) == 2**32 + 1
    assert checks.whole("n", 10**30) == 10**30
    assert checks.positive_int("n", 2**31 - 1) == 2**31 - 1
    for value in (2**31, np.uint32(2**31), np.int64(2**40)):
        with pytest.raises(ValueError, match=r"n must be an integer in \[1, 2147483647\], got"):
            checks.positive_int("n", value)
    with pytest.raises(ValueError, match="n must be known before tracing"):
        jax.jit(lambda n: checks.positive_int("n", n))(3)


def test_booleans():
    assert checks.boolean("b", True) is True and checks.boolean("b", np.False_) is False
    for value in ("false", 0, 1, 1.0, None, [], [True], np.array(True), np.array([True])):
        with pytest.raises(ValueError, match="b must be True or False, got"):
            checks.boolean("b", value)


@pytest.mark.parametrize("value", [1, 1.5, np.float32(1), np.int8(1), np.array(1.0), jnp.bfloat16(1)], ids=repr)
@pytest.mark.parametrize("scalar", [True, False])
def test_numbers(value, scalar):
    assert checks.number("x", value, low=0, high=2, scalar=scalar) is value
    with pytest.raises(ValueError, match=r"x must be in \[-2, 0\], got"):
        checks.number("x", value, low=-2, high=0, scalar=scalar)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
@pytest.mark.parametrize("scalar", [True, False])
def test_what_is_no_number_is_refused(value, scalar):
    for wrong in (value, [value], [], np.zeros((0, 3))):
        with pytest.raises(ValueError, match=r"x must be (a|one) number, got"):
            checks.number("x", wrong, scalar=scalar)


def test_arrays_where_one_number_is_wanted():
    for value in ([1.0], (1, 2), np.ones((2, 2)), jnp.ones(3), [[1]]):
        assert checks.number("x", value) is value
        with pytest.raises(ValueError, match="x must be one number, got"):
            checks.number("x", value, scalar=True)
    with pytest.raises(ValueError, match="x must be a number, got"):
        checks.number("x", [[1, 2], [3]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, 1e-3], ids=str)
def test_numbers_out_of_range(value):
    with pytest.raises(ValueError, match=r"x must be in \[1, inf\], got"):
        checks.number("x", value, low=1, scalar=True)


def test_large_integers_are_written_as_floats():
    """JAX holds an integer in 32 bits and wraps NumPy's."""
    assert checks.number("x", 1e10) == 1e10
    for value in (10**10, -(10**10), np.int64(10**10), [1, 10**10]):
        with pytest.raises(ValueError, match="x must be a float where it is beyond 2147483647, as in 1e10, got"):
            checks.number("x", value)
    assert checks.array("x", [1, 10**10], (2,)).dtype == np.float32
    for value in (10**400, 10**30):
        with pytest.raises(ValueError, match="x must be"):
            checks.number("x", value)


def test_traced_numbers_pass():
    assert jax.jit(lambda x: checks.number("x", x, low=5, scalar=True))(1.0) == 1
    with pytest.raises(ValueError, match="x must be one number, got"):
        jax.jit(lambda x: checks.number("x", x, scalar=True))(jnp.ones(2))
    with pytest.raises(ValueError, match="x must be a number, got"):
        jax.jit(lambda x: checks.number("x", x))(True)


def test_choices():
    assert checks.choice("colour", np.str_("red"), {"red": 1, "blue": 2}) == "red"
    for value in (None, 1, ["red"], np.array(["red", "blue"]), {"red"}, b"red"):
        with pytest.raises(ValueError, match="unknown colour"):
            checks.choice("colour", value, ("red", "blue"))
    with pytest.raises(ValueError, match=r"unknown colour 'bleu'; did you mean 'blue'\? \(allowed: blue, red\)"):
        checks.choice("colour", "bleu", ("red", "blue"))


def test_price_grids():
    assert checks.price_grid([1, 2, 3]).dtype == np.float32
    for value in ("12", [True, False], [1, 2j], None, [[1, 2]], [], 3.0, [1, np.nan], [2, 1], [-1, 1], [1, 1], [1, 1e300]):
        with pytest.raises(ValueError, match="prices must be"):
            checks.price_grid(value)


def test_long_values_are_cut():
    with pytest.raises(ValueError) as error:
        checks.positive_int("n", list(range(100_000)))
    assert len(str(error.value)) < 400
