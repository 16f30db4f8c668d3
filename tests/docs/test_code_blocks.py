"""Every Python block of README and docs runs, and the README's commands are what CI runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page.name}[{number}]", "exec"), namespace)


def test_the_readme_example_answers_what_its_comment_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    exec(blocks(ROOT / "README.md")[0], namespace)
    values = namespace["app"].get_state(namespace["thread"]).values
    assert values == {"topic": "bees", "draft": "Bees dance."}


def test_relative_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_commands_of_the_readme_are_those_of_ci():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for extra, command in ((".[demo]", "graphflow demo"), (".[test]", "pytest")):
        assert f'pip install -q "{extra}"' in readme or f'pip install -q -e "{extra}"' in readme
        assert f'"{extra}"' in ci
        assert command in readme
        assert command in ci
