"""The commands on the storage page print what the page says."""

import re
import shlex
from pathlib import Path

from graphflow_integrations.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def test_the_commands_print_what_the_page_says(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "storage"}
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 14
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, "storage.md", "exec"), namespace)
            continue
        for part in block.split("$ graphflow ")[1:]:
            command, _, expected = part.partition("\n")
            capfd.readouterr()
            assert main(shlex.split(command)) == 0
            assert TIME.sub("TIME", capfd.readouterr().out) == TIME.sub("TIME", expected)
