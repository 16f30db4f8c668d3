"""Programs as a LangGraph user writes them, run with both libraries and compared.

They need LangGraph (`pip install graphflow[benchmark]`), which is no dependency of the tests; where
it is missing, the folder is skipped as a whole.
"""

from importlib import util
from pathlib import Path

import pytest

_MARKS = [
    pytest.mark.skipif(not util.find_spec("langgraph"), reason="LangGraph is not installed"),
    # The programs' graphs may be odd: lint's advice has tests of its own.
    pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            for mark in _MARKS:
                item.add_marker(mark)
