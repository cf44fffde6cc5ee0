"""CPU cores as devices.

By default, XLA shows the whole CPU as one device. `make` and `simulate` ask for one device a core, so that lanes are spread
over the cores. They change nothing if the program has already started the backend, or has chosen a number itself
(`jax_num_cpu_devices`, or `--xla_force_host_platform_device_count` in `XLA_FLAGS`).
"""

import contextlib
import os

import jax
import numpy as np
from jax.sharding import Mesh

from jaxprice import checks, exact_sums

AXIS = "lanes"


def use_cpu_cores(count=None):
    """Ask for one CPU device a core, unless the backend has started or the program has chosen a number.

    Args:
      count: number of CPU devices; by default the cores this process may use.

    Raises:
      ValueError: `count` is not an integer of at least one.
    """
    count = None if count is None else checks.positive_int("count", count)
    exact_sums.ensure()
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or (count is None and checks.setting("jax_num_cpu_devices") not in (-1, None)):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(RuntimeError):  # the backend has started, so its devices are fixed
        jax.config.update("jax_num_cpu_devices", count or cores)


def compile_quickly():
    """Compile with few optimisations from now on, for short runs whose time is mostly compilation.

    Before the backend starts, this also turns off the MLIR emitters of fusions, if jaxlib still has the older ones: a sample
    of the tests then took 21 CPU seconds instead of 34. `jax_disable_most_optimizations` can be reset to False at any time.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    exact_sums.ensure()
    flags = os.environ.get("XLA_FLAGS", "")
    if exact_sums.version() < (0, 11) and "xla_cpu_use_fusion_emitters" not in flags:  # 0.12 aborts on the flag
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false".strip()


def mesh(devices=None):
    """A one-axis mesh over devices.

    Args:
      devices: a list of JAX devices, or how many of the local ones; by default all local devices.

    Returns:
      `jax.sharding.Mesh` with the axis "lanes".

    Raises:
      ValueError: there are fewer devices than asked for, the number is zero, or the value is neither a number nor devices.
    """
    use_cpu_cores()
    if exact_sums.version() > exact_sums.LAST:
        exact_sums.warn_if_wrong()
    if devices is None:
        devices = jax.local_devices()
    elif isinstance(devices, list | tuple) or (isinstance(devices, np.ndarray) and devices.ndim == 1):
        if len(devices) == 0:
            raise ValueError("devices must name at least one device, got none")
        if not all(isinstance(device, jax.Device) for device in devices) or len(set(devices)) < len(devices):
            raise ValueError(f"devices must be JAX devices, each once, or how many of the local ones, got {devices!r}")
        if len({device.platform for device in devices}) > 1:
            raise ValueError(f"devices must be of one platform, got {devices!r}")
    else:
        available = jax.local_devices()
        try:
            count = checks.whole("devices", devices, 1, len(available))
        except ValueError:
            allowed = f"between 1 and the {len(available)} local devices, or a list of JAX devices"
            raise ValueError(f"devices must be {allowed}, got {checks.shown(devices)}") from None
        devices = available[:count]
    return Mesh(np.asarray(devices), (AXIS,))


def on_cpu(mesh):
    """Whether the devices of a mesh are CPUs."""
    return mesh.devices.flat[0].platform == "cpu"


def compiler_options(mesh):
    """On CPUs, full-width vectors, as XLA's default is half of an AVX-512 register; and exact sums."""
    return {"xla_cpu_prefer_vector_width": 512} | exact_sums.options() if on_cpu(mesh) else {}
