"""One measurement in a process of its own: `python -m tests.benchmarks.worker CASE SIZE CONTENDER`.

Prints the figures as JSON.
"""

import json
import sys

from .case import PLAIN, Case, Figures
from .library import library
from .servers import served
from .suite import find


def measured(case: Case, size: int, contender: str) -> Figures:
    """Runs a case once."""
    if contender != PLAIN:
        return case.run(library(contender), size)
    assert case.floor is not None
    return case.floor(size)


if __name__ == "__main__":
    name, size, contender = sys.argv[1:]
    with served(find(name)):
        print(json.dumps(measured(find(name), int(size), contender)))
