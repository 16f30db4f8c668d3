"""The commands' arguments, and what is done about errors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from graphflow.checkpoint.codec_errors import CodecError
from graphflow.errors import CheckpointError
from graphflow_integrations.stores import looking, moving, tags, tidying, upgrades
from graphflow_integrations.stores.opening import opened
from graphflow_integrations.stores.printing import complain

Action = Callable[[Any, argparse.Namespace], int]
STOPPED = 130
ABOUT_URLS = """\
URL is sqlite:///FILE or the FILE itself, postgresql://USER@HOST/NAME, redis://HOST:6379/0.
exit status: 0 done, 1 refused or something is wrong, 2 wrong arguments"""


class Command(NamedTuple):
    """One command."""

    name: str
    help: str
    action: Action
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    makes: bool = False
    """Whether a file that is not there is made."""


def add_to(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    for command in COMMANDS:
        parser: argparse.ArgumentParser = commands.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=ABOUT_URLS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("url", metavar="URL", help="the store")
        command.arguments(parser)
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.set_defaults(run=run, action=command.action, makes=command.makes)


def run(options: argparse.Namespace) -> int:
    """Carry a command out and return its exit status."""
    try:
        with closing(opened(options.url, makes=options.makes)) as store:
            return int(options.action(store, options))
    except BrokenPipeError:
        raise  # nobody reads what would be said
    except (CheckpointError, CodecError, ValueError, ImportError, OSError) as error:
        complain(str(error))
    except KeyboardInterrupt:
        complain("\nStopped. Threads are taken over or removed whole, or not at all.")
        return STOPPED
    return moving.FAILED


def _thread(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("thread", metavar="THREAD", help="its id")


def _threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("threads", metavar="THREAD", nargs="*", help="its id (default: all)")


def _tagged(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE",
                        help="only those with this tag; KEY:=7 is a number")  # fmt: skip


def _keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("keys", metavar="KEY", nargs="+", help="a key of the runs' metadata")


def _scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scope", default="", metavar="SCOPE", help="a graph inside the graph")


def _history(parser: argparse.ArgumentParser) -> None:
    _thread(parser)
    _scope(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="the newest N only")


def _show(parser: argparse.ArgumentParser) -> None:
    _thread(parser)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", nargs="?", help="default: the newest")
    _scope(parser)
    parser.add_argument("--branch", metavar="NAME", help="the newest of this branch")


def _export(parser: argparse.ArgumentParser) -> None:
    _threads(parser)
    parser.add_argument("-o", "--out", default=moving.THE_PIPE, metavar="FILE",
                        help="the file (default: standard output)")  # fmt: skip


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what `export` wrote; - for standard input")
    parser.add_argument(
        "--as", dest="name", metavar="THREAD", help="what a single thread is called"
    )


def _copy(parser: argparse.ArgumentParser) -> None:
    _thread(parser)
    parser.add_argument("new", metavar="NEW", help="the id of the copy")
    parser.add_argument("--to", metavar="URL", help="the copy's store (default: the same)")


def _delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("threads", metavar="THREAD", nargs="+", help="its id")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--erase", action="store_true", help="leave no bytes of them in its files")


def _check_upgrade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", metavar="MODULE:NAME", help="the new version's compiled graph")
    _threads(parser)
    parser.add_argument("--all", action="store_true", help="also what is no problem")


def _prune(parser: argparse.ArgumentParser) -> None:
    _threads(parser)
    parser.add_argument("--last", type=int, metavar="N", help="keep the newest N of each branch")
    parser.add_argument("--days", type=float, metavar="D", help="keep what is not older than that")
    parser.add_argument("--interrupts", type=int, metavar="N",
                        help="keep the newest N at which a person was asked")  # fmt: skip
    parser.add_argument("--threads-days", type=float, metavar="D",
                        help="remove threads in which nothing happened for so long")  # fmt: skip


COMMANDS: Sequence[Command] = (
    Command("threads", "list the threads of a store", looking.threads, _tagged),
    Command("history", "list a thread's checkpoints, newest first", looking.history, _history),
    Command("show", "show the state at a checkpoint", looking.show, _show),
    Command("index", "have older threads found by tags", tags.index, _keys),
    Command("report", "tell how much threads take up", looking.report, _threads),
    Command("check", "read everything and tell what is wrong", looking.check, _threads),
    Command(
        "check-upgrade",
        "tell which threads could not go on with a new version of their graph",
        upgrades.check_upgrade,
        _check_upgrade,
    ),
    Command("export", "write threads to a file", moving.export, _export),
    Command("import", "put the threads of a file into a store", moving.import_, _import, True),
    Command("copy", "copy a thread, also into another store", moving.copy, _copy),
    Command("prune", "remove checkpoints that nobody wants", tidying.prune_, _prune),
    Command("delete", "remove threads", moving.delete, _delete),
)
