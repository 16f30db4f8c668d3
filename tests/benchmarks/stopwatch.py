"""How a case measures itself: process CPU time, wall time where waiting is the point, and memory.

CPU time counts every thread of the process and hardly moves when the machine is busy with
something else, which wall time does. Garbage is collected before every measurement, and the
collector stays on during it, as it is for users.
"""

import gc
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import process_time

MICRO = 1e6
MILLI = 1e3
Clock = Callable[[], float]


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU that one call takes."""
    gc.collect()
    return _timed(work)


def typical_cpu(work: Callable[[], object], times: int = 50) -> float:
    """Median seconds of CPU of a short call, after three calls to warm up."""
    for _ in range(3):
        work()
    gc.collect()
    return median(_timed(work) for _ in range(times))


def _timed(work: Callable[[], object]) -> float:
    start = process_time()
    result = work()  # kept until the clock is read: dropping it may cost, too
    seconds = process_time() - start
    del result
    return seconds


async def async_cpu(work: Callable[[], Awaitable[object]], clock: Clock = process_time) -> float:
    """Seconds of CPU, or of another clock, that one awaitable takes on the running loop."""
    gc.collect()
    start = clock()
    await work()
    return clock() - start


async def typical_async_cpu(work: Callable[[], Awaitable[object]], times: int = 50) -> float:
    """Median seconds of CPU of a short awaitable, after three to warm up."""
    for _ in range(3):
        await work()
    gc.collect()
    return median([await _async_timed(work) for _ in range(times)])


async def _async_timed(work: Callable[[], Awaitable[object]]) -> float:
    start = process_time()
    await work()
    return process_time() - start


def resident_kilobytes(peak: bool = False) -> float:
    """Memory of this process that is in RAM: now, or the most it ever was.

    The kernel's own account where there is one: `ru_maxrss` of a fresh process starts at the
    size its parent had.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    field = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return float(line.split()[1])
