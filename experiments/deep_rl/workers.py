"""Cells of `deep_rl` in several processes, each on a core of its own.

A cell is mostly compilation, scans over small arrays and tracing, none of which uses two cores at once. So on CPUs each core
gets a process, which takes the next cell when it is done with one. The numbers of a cell depend on its seeds alone.
"""

import concurrent.futures
import functools
import multiprocessing
import os

import jaxprice
from experiments.frame import saved
from jaxprice import fingerprint

MOST = 8  # processes, of about 1.5 GB each


def computed(folder, jobs, processes):
    """Cells, loaded if they were saved by the same code, otherwise made and saved.

    Args:
      folder: folder of cells.
      jobs: title -> function without arguments that makes the cell; picklable if there are several processes. They start
        in this order.
      processes: number of processes; 1 means this one.

    Yields:
      `(title, (arrays, about))` of each cell as it is finished.
    """
    if processes == 1:
        for title, make in jobs.items():
            yield title, cell(folder, title, make)
        return
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for number in range(processes):
        numbers.put(number)
    pool = concurrent.futures.ProcessPoolExecutor(processes, context, _begin, (numbers,))
    try:
        running = {pool.submit(cell, folder, title, make): title for title, make in jobs.items()}
        for done in concurrent.futures.as_completed(running):
            yield running[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def cell(folder, title, make):
    """`saved.load_or_make`, with one walk over the code for all cells of a process."""
    return saved.load_or_make(folder, title, make, _walk())


@functools.cache
def _walk():
    return fingerprint.Walk(narrow=True)


def _begin(numbers):
    """Keep this process on one core, before JAX starts its threads."""
    number = numbers.get()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})
    jaxprice.use_cpu_cores(1)


def cores():
    """The number of cores that this process may use, at most `MOST`."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MOST)
