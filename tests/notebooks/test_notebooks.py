"""Every notebook runs from its first cell to its last, and is shipped with what it showed."""

from __future__ import annotations

from pathlib import Path
from shutil import copy

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/*.ipynb"))


def test_there_are_notebooks_to_run() -> None:
    assert [path.name for path in NOTEBOOKS][:1] == ["01-quickstart.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = _read(Path(copy(path, tmp_path)))
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert _shown(notebook) == _shown(_read(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_says_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [trace for trace in ("/home/", "/root/", "/tmp/", "Traceback") if trace in text] == []


def _read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def _shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each cell printed or returned, as text."""
    return [["".join(_texts(cell)).strip()] for cell in notebook.cells if cell.cell_type == "code"]


def _texts(cell: nbformat.NotebookNode) -> list[str]:
    return [
        output.text if output.output_type == "stream" else output.data["text/plain"]
        for output in cell.outputs
    ]
