"""Addressed keys: the generator, the address, the distributions, and choice by inversion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import random as extend_random
from scipy import stats

from jaxprice import random

KNOWN_ANSWERS = [  # Random123's kat_vectors: counter, key, result of Threefry-2x32 with 20 rounds
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
PASS = 1e-4  # smallest p-value that counts as agreement; seeds are fixed


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_threefry_gives_the_known_answers(counter, key, result):
    words = [jnp.uint32(x) for x in (*key, *counter)]
    assert tuple(int(x) for x in random.threefry(*words)) == result


MASK = 2**32 - 1
GOLDEN = int((5**0.5 - 1) / 2 * 2**32)  # sets the keys of children apart


def block(key, counter):
    """Threefry-2x32-20 in plain integers, after the text of the paper: Skein's rotations, a key word every four rounds."""
    rotations = [13, 15, 26, 6, 17, 29, 16, 24] * 3
    schedule = [*key, 0x1BD11BDA ^ key[0] ^ key[1]]
    x, y = ((word + k) & MASK for word, k in zip(counter, key, strict=True))
    for number in range(20):
        x = (x + y) & MASK
        y = ((y << rotations[number]) & MASK | y >> 32 - rotations[number]) ^ x
        if number % 4 == 3:
            turn = number // 4 + 1
            x, y = (x + schedule[turn % 3]) & MASK, (y + schedule[(turn + 1) % 3] + turn) & MASK
    return x, y


def words_of(seed, role, time, lane):
    """The three words of an address."""
    s0, s1 = block((seed & MASK, seed >> 32), (random.ROLES.index(role), 0))
    return s0, (s1 + time) & MASK, lane


def child(words, data, kind):
    """The words of a derived key: the `data`-th of a split (kind 1), or folded in (kind 0)."""
    return *block((words[0] ^ GOLDEN, words[1]), (data, kind)), words[2]


def draw(words, number):
    """Both words of a block; the first is the random word."""
    return block(words[:2], (words[2], number))


ADDRESSES = [
    (0, "market", 0, 0),
    (5, "act", 11, 3),
    (2**32 + 1, "demand", 2**31 - 1, 2**32 - 1),
    (2**64 - 1, "update", 7, 12),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_the_reference_gives_the_known_answers(counter, key, result):
    assert block(key, counter) == result


@pytest.mark.parametrize("where", ADDRESSES)
def test_keys_are_those_of_the_reference(where):
    """`stream`, `address`, `split`, `fold_in` and both again."""

    def same(key, words):
        assert tuple(int(x) for x in jax.random.key_data(key)) == tuple(words)

    seed, role, time, lane = where
    words = words_of(*where)
    counter = random.ROLES.index(role), 0
    assert tuple(int(x) for x in random.stream(seed, role)) == block((seed & MASK, seed >> 32), counter)
    key = random.address(random.stream(seed, role), np.uint32(time), np.uint32(lane))
    same(key, words)
    for count in (2, 5):
        for number, one in enumerate(jax.random.split(key, count)):
            same(one, child(words, number, 1))
    rows = jax.random.split(key, (2, 3)).ravel()
    same(rows[4], child(words, 4, 1))
    for data in (0, 1, 77, 2**32 - 1):
        same(jax.random.fold_in(key, np.uint32(data)), child(words, data, 0))
    grandchild = child(child(words, 1, 1), 6, 0)
    same(jax.random.fold_in(jax.random.split(key)[1], 6), grandchild)
    same(jax.random.split(jax.random.fold_in(key, 6), 3)[2], child(child(words, 6, 0), 2, 1))
    same(jax.random.split(jax.random.split(key)[0])[1], child(child(words, 0, 1), 1, 1))
    same(jax.random.fold_in(jax.random.fold_in(key, 3), 4), child(child(words, 3, 0), 4, 0))


@pytest.mark.parametrize("where", ADDRESSES)
def test_bits_are_those_of_the_reference(where):
    """8, 16, 32 and 64 bits of a key and of a child of it, alone and with lanes last."""
    seed, role, time, lane = where
    key, words = random.address(random.stream(seed, role), np.uint32(time), np.uint32(lane)), words_of(*where)
    for one, mine in ((key, words), (jax.random.fold_in(jax.random.split(key, 3)[1], 9), child(child(words, 1, 1), 9, 0))):
        blocks = [draw(mine, number) for number in range(6)]
        for width in (8, 16, 32):
            bits = jax.random.bits(one, (2, 3), f"uint{width}")
            assert np.ravel(bits).tolist() == [first >> 32 - width for first, _ in blocks]
        with jax.enable_x64(True):
            assert np.ravel(jax.random.bits(one, (6,), "uint64")).tolist() == [x << 32 | y for x, y in blocks]
        wide = [jnp.full(4, word, jnp.uint32) for word in mine]
        assert random.bits(wide, 32, (6,), lanes_last=True)[:, 2].tolist() == [first for first, _ in blocks]


def test_keys_of_a_seed_are_those_of_the_reference():
    for seed in (0, 1, 2**31 - 1):
        data = jax.random.key_data(jax.random.key(seed, impl=random.implementation()))
        assert tuple(int(x) for x in data) == (*block((seed, 0), (0, 1)), 0)


def test_words_of_children_are_not_those_of_other_lanes_or_times():
    """Without a key space of its own, the key of a child would be the random words of another lane."""
    stream, lanes, times, few = random.stream(3, "act"), np.arange(64, dtype=np.uint32), np.arange(8, dtype=np.uint32), 6

    @functools.partial(jax.vmap, in_axes=(None, 0))
    @functools.partial(jax.vmap, in_axes=(0, None))
    def own(time, lane):
        return jnp.stack(random.threefry(stream[0], stream[1] + time, lane, jnp.arange(few, dtype=jnp.uint32)))

    @functools.partial(jax.vmap, in_axes=(None, 0))
    @functools.partial(jax.vmap, in_axes=(0, None))
    def derived(time, lane):
        key = random.address(stream, time, lane)
        folded = jax.vmap(lambda data: jax.random.fold_in(key, data))(lanes)
        keys = jnp.concatenate([jax.random.key_data(one)[:, :2] for one in (folded, jax.random.split(key, 64))])
        children = jnp.stack([folded[0], folded[7], jax.random.split(key)[1]])
        return keys, jax.vmap(lambda one: jax.random.bits(one, (few,)))(children)

    words = {*np.ravel(jax.jit(own)(times, lanes)).tolist()}
    keys, drawn = jax.jit(derived)(times, lanes[:1])
    chance = len(words) * (np.unique(keys).size + drawn.size) / 2**32
    assert chance < 0.01
    assert words.isdisjoint(np.ravel(keys).tolist()) and words.isdisjoint(np.ravel(drawn).tolist())


def test_threefry_is_that_of_jax():
    rng = np.random.default_rng(0)
    for _ in range(3):
        key, counters = rng.integers(0, 2**32, 2, dtype=np.uint32), rng.integers(0, 2**32, (2, 50), dtype=np.uint32)
        ours = np.concatenate(random.threefry(jnp.uint32(key[0]), jnp.uint32(key[1]), *map(jnp.asarray, counters)))
        np.testing.assert_array_equal(ours, extend_random.threefry_2x32(key, counters.ravel()))


def test_random_bits_are_the_documented_blocks():
    """Word i of a key is the first word of the block of counter (lane, i) under the key (s0, s1 + time)."""
    s0, s1 = random.stream(5, "act")
    bits = jax.random.bits(random.address((s0, s1), 11, 3), (4,), jnp.uint32)
    blocks = random.threefry(s0, s1 + jnp.uint32(11), jnp.uint32(3), jnp.arange(4, dtype=jnp.uint32))
    np.testing.assert_array_equal(bits, blocks[0])


def test_bits_of_every_width():
    key = random.address(random.stream(0, "act"), 0, 0)
    full = np.asarray(jax.random.bits(key, (6, 5), jnp.uint32))
    for width in (8, 16):
        narrow = np.asarray(jax.random.bits(key, (6, 5), f"uint{width}"))
        assert narrow.dtype == f"uint{width}" and narrow.shape == (6, 5)
        assert stats.kstest(np.ravel(jax.random.bits(key, (2000,), f"uint{width}")) / 2.0**width, "uniform").pvalue > PASS
    assert len(np.unique(full)) == 30
    with jax.enable_x64(True):
        wide = np.asarray(jax.random.bits(key, (1000,), jnp.uint64))
    assert wide.dtype == np.uint64 and len(np.unique(wide)) == 1000
    for half in (wide >> np.uint64(32), wide & np.uint64(0xFFFFFFFF)):
        assert stats.kstest(half / 2.0**32, "uniform").pvalue > PASS


@functools.cache
def table_of_words():
    """64 bits of many addresses, uint64 `[seeds, roles, times, lanes]`."""
    streams = jnp.stack([jnp.stack([random.stream(s, r) for r in random.ROLES]) for s in (0, 1, 2, 2**32, 2**63 + 1)])
    times, lanes = jnp.arange(64, dtype=jnp.int32), jnp.arange(64, dtype=jnp.int32)

    def word(stream, time, lane):
        return jax.random.bits(random.address(stream, time, lane), (2,), jnp.uint32)

    draw = word
    for axes in ((None, None, 0), (None, 0, None), (0, None, None), (0, None, None)):
        draw = jax.vmap(draw, axes)
    pairs = np.asarray(jax.jit(draw)(streams, times, lanes)).astype(np.uint64)
    return pairs[..., 0] << np.uint64(32) | pairs[..., 1]


def test_addresses_do_not_collide():
    words = table_of_words()
    assert words.size == 5 * 6 * 64 * 64
    assert len(np.unique(words)) == words.size


def test_far_addresses_do_not_collide():
    """Times and lanes at the ends of their ranges, and negative ones, which wrap around."""
    ends = np.array([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)
    stream = random.stream(0, "demand")
    draw = jax.vmap(
        jax.vmap(lambda t, n: jax.random.bits(random.address(stream, t, n), (2,), jnp.uint32), (None, 0)), (0, None)
    )
    words = np.asarray(jax.jit(draw)(ends, ends)).reshape(-1, 2)
    assert len(np.unique(words, axis=0)) == ends.size**2
    same = [jax.random.bits(random.address(stream, t, 5)) for t in (jnp.int32(7), jnp.uint32(7), 7)]
    assert len({int(x) for x in same}) == 1


def test_words_are_uniform():
    words = table_of_words().ravel()
    for shift in range(0, 64, 8):
        counts = np.bincount(((words >> np.uint64(shift)) & np.uint64(255)).astype(int), minlength=256)
        assert stats.chisquare(counts).pvalue > PASS, shift
    ones = np.array([((words >> np.uint64(k)) & np.uint64(1)).mean() for k in range(64)])
    assert np.abs(ones - 0.5).max() < 4.5 * 0.5 / np.sqrt(words.size)


@pytest.mark.parametrize(("axis", "name"), list(enumerate(["seeds", "roles", "times", "lanes"])))
def test_neighbours_are_independent(axis, name):
    """Words that differ in one coordinate: no correlation, and a uniform joint law of the highest bits."""
    words = np.moveaxis(table_of_words(), axis, 0)
    u = words / 2.0**64
    for lag in (1, 2, 3):
        a, b = u[:-lag].ravel(), u[lag:].ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(a.size)
        counts = np.histogram2d(a, b, bins=16, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(counts.ravel()).pvalue > PASS
    flips = np.bitwise_count(words[:-1] ^ words[1:])
    assert abs(flips.mean() - 32) < 4.5 * 4 / np.sqrt(flips.size)


def test_words_of_one_key_are_independent():
    words = np.asarray(jax.random.bits(random.address(random.stream(1, "market"), 2, 3), (200_000,), jnp.uint32))
    u = words / 2.0**32
    assert stats.kstest(u, "uniform").pvalue > PASS
    for lag in (1, 2, 64):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4.5 / np.sqrt(u.size)
        assert stats.chisquare(np.histogram2d(u[:-lag], u[lag:], bins=16)[0].ravel()).pvalue > PASS


def test_a_longer_draw_starts_with_the_shorter():
    key = random.address(random.stream(1, "market"), 2, 3)
    np.testing.assert_array_equal(jax.random.bits(key, (3,)), jax.random.bits(key, (9,))[:3])


KEY = functools.partial(random.address, time=4, lane=9)


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        (lambda key, n: jax.random.uniform(key, (n,)), stats.uniform()),
        (lambda key, n: jax.random.uniform(key, (n,), minval=-1, maxval=3), stats.uniform(-1, 4)),
        (lambda key, n: jax.random.normal(key, (n,)), stats.norm()),
        (lambda key, n: jax.random.exponential(key, (n,)), stats.expon()),
        (lambda key, n: jax.random.gamma(key, 2.5, (n,)), stats.gamma(2.5)),
        (lambda key, n: jax.random.beta(key, 2.0, 3.0, (n,)), stats.beta(2, 3)),
        (lambda key, n: jax.vmap(jax.random.uniform)(jax.random.split(key, n)), stats.uniform()),
        (lambda key, n: jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(jnp.arange(n)), stats.uniform()),
        (lambda key, n: jax.vmap(jax.random.normal)(jax.random.split(key, (n // 4, 4)).ravel()), stats.norm()),
    ],
    ids=["uniform", "interval", "normal", "exponential", "gamma", "beta", "split", "fold in", "split in two axes"],
)
def test_distributions_of_jax_work_on_an_address(draw, law):
    values = np.asarray(jax.jit(draw, static_argnums=1)(KEY(random.stream(8, "act")), 4000))
    assert stats.kstest(values, law.cdf).pvalue > PASS


def test_discrete_distributions_of_jax_work_on_an_address():
    key = KEY(random.stream(8, "act"))
    faces = np.bincount(jax.random.randint(key, (6000,), 0, 6), minlength=6)
    assert stats.chisquare(faces).pvalue > PASS
    law = np.array([0.1, 0.2, 0.7])
    drawn = np.bincount(jax.random.categorical(key, jnp.log(jnp.asarray(law, jnp.float32)), shape=(6000,)), minlength=3)
    assert stats.chisquare(drawn, 6000 * law).pvalue > PASS
    assert sorted(np.asarray(jax.random.permutation(key, 20))) == list(range(20))
    assert jax.random.bernoulli(key, 0.3, (5,)).dtype == bool


def test_derived_keys_differ_from_each_other_and_from_their_parents():
    parents = [random.address(random.stream(0, "act"), t, n) for t in range(3) for n in range(3)]
    keys = []
    for parent in parents:
        keys += [parent, *jax.random.split(parent, 5), *(jax.random.fold_in(parent, i) for i in range(5))]
        keys += [*jax.random.split(jax.random.split(parent)[0], 3), jax.random.fold_in(jax.random.fold_in(parent, 1), 2)]
    words = np.stack([jax.random.bits(key, (2,)) for key in keys])
    assert len(np.unique(words, axis=0)) == len(keys)
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}) == len(keys)


def test_derived_keys_are_independent_of_each_other():
    stream = random.stream(2, "init")

    def draw(lane):
        key = random.address(stream, 0, lane)
        first, second = jax.random.split(key)
        folded = [jax.random.fold_in(key, i) for i in range(2)]
        return jnp.stack([jax.random.uniform(k) for k in (key, first, second, *folded, jax.random.split(first)[0])])

    u = np.asarray(jax.jit(jax.vmap(draw))(jnp.arange(20_000)))
    assert np.abs(np.corrcoef(u.T) - np.eye(u.shape[1])).max() < 4.5 / np.sqrt(len(u))
    for k in range(u.shape[1]):
        assert stats.kstest(u[:, k], "uniform").pvalue > PASS
        assert abs(np.corrcoef(u[:-1, k], u[1:, k])[0, 1]) < 4.5 / np.sqrt(len(u))


def test_derived_keys_keep_their_lane():
    for lane in (0, 17):
        key = random.address(random.stream(0, "act"), 3, lane)
        derived = [key, *jax.random.split(key, 3), jax.random.fold_in(key, 5)]
        assert {int(jax.random.key_data(k)[2]) for k in derived} == {lane}
        assert all(random.is_addressed(k.dtype) for k in derived)
    assert not random.is_addressed(jax.random.key(0).dtype)


def test_keys_of_a_seed():
    keys = [jax.random.key(seed, impl=random.implementation()) for seed in (0, 1, 2)]
    words = {int(jax.random.bits(key)) for key in keys}
    assert len(words) == 3
    data = jax.random.key_data(keys[0])
    assert data.shape == (random.WORDS,) and data.dtype == jnp.uint32
    again = random.from_words(random.to_words(keys[1]))
    assert jax.random.bits(again) == jax.random.bits(keys[1])


@pytest.mark.parametrize("size", [1, 2, 7, 32, 33, 100])
def test_choose_is_inversion(size):
    rng = np.random.default_rng(size)
    law = rng.dirichlet(np.ones(size)).astype(np.float32)
    sums = np.cumsum(law.astype(float))
    u = rng.uniform(size=5000).astype(np.float32)
    clear = np.abs(u[:, None] - sums[None, :-1]).min(1, initial=1) > 1e-5  # not within rounding of a boundary
    exact = np.minimum(np.searchsorted(sums, u, side="right"), size - 1)
    chosen = np.asarray(jax.jit(random.choose)(u, law))
    assert chosen.dtype == np.int32 and clear.mean() > 0.99
    np.testing.assert_array_equal(chosen[clear], exact[clear])
    scalar = random.choose(u[0], law)
    assert scalar.shape == () and int(scalar) == chosen[0]


@pytest.mark.parametrize("size", [4, 16, 64, 256])
def test_choose_has_exact_frequencies(size):
    """Probabilities and uniforms in binary fractions: each category is chosen as often as its probability says."""
    rng = np.random.default_rng(size)
    counts = rng.multinomial(4096, rng.dirichlet(np.ones(size)))
    counts[rng.integers(size - 1)] = 0
    counts[-1] += 4096 - counts.sum()
    u = (np.arange(4096, dtype=np.float32)) / 4096
    chosen = random.choose(u, (counts / 4096).astype(np.float32))
    np.testing.assert_array_equal(np.bincount(chosen, minlength=size), counts)


@pytest.mark.parametrize("size", [8, 40])
def test_choose_stays_in_range_when_the_sum_is_rounded(size):
    law = np.full(size, np.float32((1 - 1e-6) / size))
    assert int(random.choose(np.float32(1 - 2**-24), law)) == size - 1
    assert int(random.choose(np.float32(0), law)) == 0


def test_streams_depend_on_all_64_bits_of_the_seed():
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    streams = [tuple(np.asarray(random.stream(seed, role)).tolist()) for seed in seeds for role in random.ROLES]
    assert len(set(streams)) == len(seeds) * len(random.ROLES)


def test_a_seed_may_be_any_integer_or_an_array():
    for seed in (np.int64(7), np.uint8(7), jnp.uint32(7)):
        np.testing.assert_array_equal(random.stream(seed, "act"), random.stream(7, "act"))
    mapped = jax.vmap(lambda seed: random.stream(seed, "act"))(jnp.arange(3, dtype=jnp.uint32))
    np.testing.assert_array_equal(mapped, [random.stream(seed, "act") for seed in range(3)])


@pytest.mark.parametrize("seed", [-1, 2**64, -(2**70), np.int64(-5)])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=r"seed must be an integer in \[0, 2\*\*64\), got"):
        random.stream(seed, "act")


@pytest.mark.parametrize("seed", [1.5, -1.0, np.float32(2.5)])
def test_seeds_that_are_no_integers_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        random.stream(seed, "act")


def test_unknown_roles_are_refused():
    with pytest.raises(ValueError, match=r"role must be one of .* got 'seller'"):
        random.stream(0, "seller")
