"""`graphflow demo`: reads documents, runs the workflow, asks the person, and can be killed.

The thread's name derives from the documents and the model, so the same command finds the same
thread again, whatever happened to the process before. Everything that is shown or asked here can
be shown and asked again; what must not be done twice is in the nodes, behind a commit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from graphflow import CheckpointConflict, Command, CompiledStateGraph, StateSnapshot, __version__
from graphflow.errors import CheckpointError
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_integrations.chat import ChatModel, ModelError
from graphflow_integrations.demo.documents import (
    Document,
    UnreadableDocumentError,
    project_paths,
    read_documents,
    split_sections,
)
from graphflow_integrations.demo.graph import Review, Surroundings, compiled, told
from graphflow_integrations.demo.journal import Journal, write_once
from graphflow_integrations.demo.progress import Progress, counted
from graphflow_integrations.demo.review import (
    Dialogue,
    answer_of,
    chosen_editor,
    prepared,
    read_answer,
)
from graphflow_integrations.demo.terminal import Screen, screen

DONE, FAILED, WRONG_CALL, WAITING, STOPPED = 0, 1, 2, 3, 130
FOLDER = Path("graphflow-demo")
ABOUT = """\
Summarises documents section by section, drafts a brief, asks you to review it, and writes it to a
file. Stop it whenever you like, even with kill -9: the same command goes on where it was."""
EXAMPLES = """\
examples:
  graphflow demo                                    graphflow's own documents
  graphflow demo notes.md report.txt                yours
  graphflow demo notes.md --model openai/gpt-4o     with a hosted model (reads OPENAI_API_KEY)
  graphflow demo --slow 1                           slow enough to kill it and watch it go on
  graphflow demo --answer reject:shorter --answer approve      without anybody at the terminal

exit status: 0 the brief is written, 1 something failed, 2 wrong arguments, 3 waits for an answer,
130 stopped with Ctrl-C"""


def add_to(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="documents in, a reviewed brief out",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="text or Markdown (default: our docs)")
    add("--model", default="local/summariser", type=_model, help="PROVIDER/MODEL (%(default)s)")
    add("--out", type=Path, default=FOLDER / "brief.md", help="the brief (%(default)s)")
    add("--state", type=Path, default=FOLDER / "state.db", help="the database (%(default)s)")
    add("--log", type=Path, default=FOLDER / "log.jsonl", help="what was done (%(default)s)")
    add("--fresh", action="store_true", help="start again, whatever was done before")
    add("--answer", action="append", type=_answer, default=[], metavar="ANSWER",
        help="approve, reject:FEEDBACK or edit:TEXT; repeat it for later drafts")  # fmt: skip
    add("--parallel", type=int, default=4, metavar="N", help="sections at once (%(default)s)")
    add("--slow", type=float, default=0.0, metavar="SECONDS", help="pause before each section")
    add("--durability", choices=("sync", "async", "exit"), default="sync",
        help="when steps are on disk: at once, soon after, in the end (%(default)s)")  # fmt: skip
    parser.set_defaults(run=run, parser=parser)


def _answer(text: str) -> Review:
    try:
        return read_answer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _model(text: str) -> str:
    if all(text.partition("/")):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} names no provider; write openai/gpt-4o, anthropic/..., ollama/... "
        "or local/summariser"
    )


def run(options: argparse.Namespace) -> int:
    """Carry the command out and return its exit status."""
    shown = screen()
    try:
        documents = _documents(options)
        options.state.parent.mkdir(parents=True, exist_ok=True)
        with closing(SqliteCheckpointer(options.state)) as store:
            return Demo(options, documents, store, shown).run()
    except UnreadableDocumentError as error:
        options.parser.error(str(error))
    except KeyboardInterrupt:
        shown.say(f"\nStopped. {_not_lost(options)}")
        return STOPPED
    except CheckpointConflict:
        shown.say("Another process is at this very brief. Let it end, then run the command again.")
    except BrokenPipeError:
        raise  # nobody reads what would be said
    except (CheckpointError, ModelError, OSError) as error:
        shown.say(f"{error}\n{_not_lost(options)}")
    return FAILED


def _not_lost(options: argparse.Namespace) -> str:
    but = ", without --fresh" if options.fresh else ""
    return f"Nothing is lost: the same command{but} goes on from here."


def _documents(options: argparse.Namespace) -> list[Document]:
    paths: Sequence[Path] = options.files or project_paths()
    documents = read_documents(paths)
    if options.out.resolve() in {path.resolve() for path in paths}:
        raise UnreadableDocumentError(f"--out {options.out} would overwrite what is to be read.")
    if not split_sections(documents):
        raise UnreadableDocumentError(f"There is no prose to summarise in {_names(documents)}.")
    return documents


def _names(documents: Sequence[Document]) -> str:
    return ", ".join(document.name for document in documents) or "no documents at all"


@dataclass(frozen=True, slots=True)
class Demo:
    """One call of the command."""

    options: argparse.Namespace
    documents: list[Document]
    store: SqliteCheckpointer
    screen: Screen

    def run(self) -> int:
        """Go on with the thread of these documents, or begin it."""
        app, config = compiled(self.store), self._config()
        snapshot = app.get_state(config)
        self._greet(snapshot, config)
        if snapshot.created_at and not snapshot.next:
            return self._show_finished(app, snapshot)
        around = Surroundings(
            ChatModel(self.options.model),
            self.options.out,
            Journal(self.options.log),
            self.options.slow,
        )
        return self._converse(app, config, around, snapshot)

    def _config(self) -> dict[str, Any]:
        told = [self.options.model, *((each.name, each.text) for each in self.documents)]
        stem = f"demo-{sha256(repr((__version__, told)).encode()).hexdigest()[:8]}"
        number = _newest(self.store.run(self.store.threads()), stem)
        if self.options.fresh:
            number += 1
        name = f"{stem}-{max(1, number)}"
        return {"configurable": {"thread_id": name}, "max_concurrency": self.options.parallel}

    def _converse(
        self, app: CompiledStateGraph, config: Any, around: Surroundings, snapshot: StateSnapshot
    ) -> int:
        given: Any = None if snapshot.created_at else {"documents": self.documents}
        while True:
            if not snapshot.interrupts or given is not None:
                snapshot = self._carry(app, config, around, snapshot, given)
            if not snapshot.interrupts:
                return self._end(app, config, snapshot)
            review = self._ask(snapshot.interrupts[0].value)
            if review is None:
                self.screen.say(f"The question stays open. {_not_lost(self.options)}")
                return WAITING
            given = Command(resume=answer_of(review))

    def _carry(
        self,
        app: CompiledStateGraph,
        config: Any,
        around: Surroundings,
        before: StateSnapshot,
        given: Any,
    ) -> StateSnapshot:
        """Run to the next question or to the end."""
        progress = Progress.of(before.values)
        chunks = app.stream(
            given,
            config,
            context=around,
            stream_mode=["updates", "custom", "messages"],
            durability=self.options.durability,
        )
        with self.screen.watch(progress):
            for mode, chunk in chunks:
                finished = progress.take(mode, chunk)
                self.screen.refresh(finished)
                if finished:
                    _note_kept(around.journal, chunk, progress)
        return app.get_state(config)

    def _ask(self, question: dict[str, Any]) -> Review | None:
        self.screen.show_draft(question)
        review = prepared(self.options.answer, question["number"])
        if review is not None:
            self.screen.say(f"answer given beforehand: {review.verdict} {review.feedback}".rstrip())
            return review
        editor = chosen_editor() if sys.stdin.isatty() else None
        dialogue = Dialogue(_typed(), self.screen.say, self.options.out, editor)
        return dialogue.ask(question)

    def _greet(self, snapshot: StateSnapshot, config: dict[str, Any]) -> None:
        sections = counted(len(split_sections(self.documents)), "section")
        name = config["configurable"]["thread_id"]
        self.screen.say(
            f"{counted(len(self.documents), 'document')}, {sections}, {self.options.model}. "
            f"State: {self.options.state}, thread {name}."
        )
        if not snapshot.created_at:
            self.screen.say("Stop whenever you like: the same command goes on where it was.")
        elif snapshot.interrupts:
            self.screen.say("Going on: a draft waits for your review.")
        elif snapshot.next:
            done = len(snapshot.values.get("summaries", ()))
            self.screen.say(f"Going on: {done} of {sections} were summarised before.")

    def _end(self, app: CompiledStateGraph, config: Any, snapshot: StateSnapshot) -> int:
        self.screen.say(f"The brief is in {self.options.out}")
        self._draw(app, config)
        return DONE

    def _show_finished(self, app: CompiledStateGraph, snapshot: StateSnapshot) -> int:
        text = snapshot.values["draft"].strip() + "\n"
        again = not self.options.out.exists() and write_once(self.options.out, text)
        where = f"{self.options.out} (written again from the saved state)" if again else ""
        self.screen.say(f"This brief is finished: {where or self.options.out}")
        self.screen.say("For a new one of the same documents, add --fresh.")
        self._draw(app, snapshot.config)
        return DONE

    def _draw(self, app: CompiledStateGraph, config: Any) -> None:
        picture = self.options.out.with_suffix(".svg")
        write_once(picture, app.draw_svg(config))
        self.screen.say(f"The way it took is drawn in {picture}")


def _newest(threads: Sequence[str], stem: str) -> int:
    numbers = [name.rpartition("-")[2] for name in threads if name.startswith(f"{stem}-")]
    return max(map(int, numbers), default=0)


def _note_kept(journal: Journal, chunk: dict[str, Any], progress: Progress) -> None:
    """Write down which model results are committed by now."""
    for summary in (chunk.get("summarise") or {}).get("summaries", ()):
        journal.note("kept", "summarise", told(summary))
    if "draft" in chunk:
        journal.note("kept", "draft", f"draft {progress.drafts}")


def _typed() -> Iterator[str]:
    """Yield the lines that are typed, with a prompt where somebody sees it."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.rstrip("\n")
