"""graphflow against LangGraph and against plain Python: `python -m tests.benchmarks`.

Run it from the top of the repository, with the `benchmark` extra installed. Without LangGraph the
tables have no figures for it and say so. Nothing here is a test: no figure makes it fail, only a
case that does not run.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .case import Case, Group
from .library import installed
from .measure import Measurement, measure, sizes
from .servers import served
from .suite import GROUPS
from .table import HEADINGS, Row, all_rows, conditions, lined_up, markdown, text


def arguments() -> Namespace:
    """What was asked for on the command line."""
    parser = ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAME", help="cases with this in the name")
    parser.add_argument("--quick", action="store_true", help="sizes up to 100, three repeats")
    parser.add_argument("--repeats", type=int, help="processes per figure (default: 5)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write this page")
    return parser.parse_args()


def main() -> int:
    """Measures, prints, writes; 1 if a case did not run."""
    asked = arguments()
    repeats = asked.repeats or (3 if asked.quick else 5)
    print(conditions(repeats), lined_up(HEADINGS), sep="\n\n")
    tables, failures = [], []
    for group in chosen(asked.only):
        found: list[Row] = []
        for case in group.cases:
            measurements = run(case, repeats, asked.quick)
            found += report(measurements)
            failures += [failure for each in measurements for failure in told(each)]
        tables.append((group, found))
    if asked.markdown:
        asked.markdown.write_text(markdown(tables, repeats))
    print(*failures, sep="\n", file=sys.stderr)
    return 1 if failures else 0


def chosen(part: str) -> list[Group]:
    """The groups, with only the cases asked for."""
    named = ((g.title, tuple(case for case in g.cases if part in case.name)) for g in GROUPS)
    return [Group(title, cases) for title, cases in named if cases]


def run(case: Case, repeats: int, quick: bool) -> list[Measurement]:
    """One case at all its sizes."""
    takes_part = {size: case.contenders(installed(), size) for size in sizes(case, quick)}
    if not any(takes_part.values()):
        return []
    with served(case):
        return [
            measure(case, size, contenders, repeats, whisper)
            for size, contenders in takes_part.items()
        ]


def report(measurements: list[Measurement]) -> list[Row]:
    """Prints the rows of a case as soon as they are known."""
    found = all_rows(measurements)
    whisper("")
    print(text(found), flush=True)
    return found


def told(measurement: Measurement) -> list[str]:
    """What went wrong, if anything, and how to see it."""
    case, size = measurement.case.name, measurement.size
    return [
        f"failed: python -m tests.benchmarks.worker {case} {size} '{name}': {why}"
        for name, why in measurement.failures.items()
    ]


def whisper(line: str) -> None:
    """Shows progress on one line, if someone watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
