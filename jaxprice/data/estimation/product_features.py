"""Numbers that describe products, for a demand prior: labels, sizes, and if you like an embedding of a text.

| block | columns |
|---|---|
| a label (brand, category, type) | one per level with at least `at_least` products; other levels are zeros |
| a number (ounces, count in the pack) | its logarithm, standardised, and a flag for a missing one |
| text | the first `components` principal components of its embedding |

Every block is scaled to a mean row norm of 1 over the products it was made from, so that one ridge penalty fits all. Sizes
enter as numbers: one-hot sizes make of each product its own group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxprice import checks


@dataclass(frozen=True, eq=False)
class ProductFeatures:
    """Features of products, and the rule that gives those of others.

    Attributes:
        matrix: features of the products that it was made from, `[N, D]`.
        levels: label -> its levels, in the order of the columns.
        sizes: number -> mean and standard deviation of its logarithm.
        text_mean: mean embedding `[E]`, or None.
        components: principal axes `[E, C]`, or None.
        scales: block -> factor that gives it a mean row norm of 1.
    """

    matrix: Float64[np.ndarray, "n d"]
    levels: dict[str, list]
    sizes: dict[str, tuple[float, float]]
    text_mean: Float64[np.ndarray, " e"] | None
    components: Float64[np.ndarray, "e c"] | None
    scales: dict[str, float]

    def of(
        self,
        labels: Mapping[str, Sequence] | None = None,
        numbers: Mapping[str, ArrayLike] | None = None,
        text: ArrayLike | None = None,
    ) -> Float64[np.ndarray, "m d"]:
        """Features of other products: the same labels, numbers and text.

        Raises:
            ValueError: one is missing or unknown, or the lengths differ.
        """
        labels, numbers = labels or {}, numbers or {}
        for argument, given, wanted in (("labels", labels, self.levels), ("numbers", numbers, self.sizes)):
            if set(given) != set(wanted):
                raise ValueError(f"{argument}: expected {sorted(wanted)}, got {sorted(given)}")
        if (text is None) != (self.components is None):
            raise ValueError(
                f"text: expected {'none' if self.components is None else 'embeddings'}, as for the first products"
            )
        blocks = _blocks(labels, numbers, text, self.levels, self.sizes, self.text_mean, self.components)
        return np.concatenate([self.scales[name] * block for name, block in blocks.items()], axis=1)


def product_features(
    labels: Mapping[str, Sequence] | None = None,
    numbers: Mapping[str, ArrayLike] | None = None,
    text: ArrayLike | None = None,
    *,
    components: int = 128,
    at_least: int = 3,
) -> ProductFeatures:
    """Features of `N` products.

    Args:
        labels: name -> `[N]` labels.
        numbers: name -> `[N]` numbers above 0; NaN for a missing one.
        text: `[N, E]` embeddings.
        components: principal components of the text.
        at_least: products that a level of a label needs for a column of its own.

    Raises:
        ValueError: nothing is given, the lengths differ, or a number is not above 0.
    """
    labels, numbers = dict(labels or {}), dict(numbers or {})
    if not labels and not numbers and text is None:
        raise ValueError("labels, numbers, text: at least one block is needed")
    levels = {}
    for name, values in labels.items():
        found, counts = np.unique(np.asarray(values, str), return_counts=True)
        levels[name] = found[counts >= checks.positive_int("at_least", at_least)].tolist()
    sizes = {}
    for name, values in numbers.items():
        values = np.asarray(values, np.float64)
        known = values[np.isfinite(values)]
        if not len(known) or (known <= 0).any():
            raise ValueError(f"numbers[{name!r}]: expected numbers above 0, or NaN, got {checks.shown(values[:5].tolist())}")
        sizes[name] = (float(np.log(known).mean()), float(np.log(known).std() or 1.0))
    mean = axes = None
    if text is not None:
        text = np.asarray(text, np.float64)
        mean = text.mean(0)
        axes = np.linalg.svd(text - mean, full_matrices=False)[2][: checks.positive_int("components", components)].T
    blocks = _blocks(labels, numbers, text, levels, sizes, mean, axes)
    scales = {name: float(1 / max(np.linalg.norm(block, axis=1).mean(), 1e-12)) for name, block in blocks.items()}
    matrix = np.concatenate([scales[name] * block for name, block in blocks.items()], axis=1)
    return ProductFeatures(matrix, levels, sizes, mean, axes, scales)


def _blocks(labels, numbers, text, levels, sizes, text_mean, components):
    """Name -> block `[N, d]`, before scaling."""
    blocks = {}
    for name in levels:
        values = np.asarray(labels[name], str)
        blocks[f"label {name}"] = (values[:, None] == np.asarray(levels[name], str)[None, :]).astype(float)
    for name, (mean, sd) in sizes.items():
        values = np.asarray(numbers[name], np.float64)
        missing = ~np.isfinite(values)
        logs = (np.log(np.where(missing, 1.0, values)) - mean) / sd
        blocks[f"number {name}"] = np.stack([np.where(missing, 0.0, logs), missing.astype(float)], 1)
    if components is not None:
        blocks["text"] = (np.asarray(text, np.float64) - text_mean) @ components
    lengths = {name: len(block) for name, block in blocks.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"labels, numbers, text: expected as many products in each, got {lengths}")
    return blocks
