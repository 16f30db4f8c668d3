"""All cases, in the order of the tables."""

from .case import Case
from .cases_fan_out import WIDE
from .cases_history import HISTORY
from .cases_import import IMPORT
from .cases_long import LONG
from .cases_messages import MESSAGES
from .cases_savers import SAVERS
from .cases_sqlite import SQLITE
from .cases_start import STARTS
from .cases_supersteps import SUPERSTEPS

GROUPS = (SUPERSTEPS, STARTS, WIDE, MESSAGES, SQLITE, HISTORY, SAVERS, LONG, IMPORT)


def find(name: str) -> Case:
    """The case of this name.

    Raises:
        StopIteration: there is none.
    """
    return next(case for group in GROUPS for case in group.cases if case.name == name)
