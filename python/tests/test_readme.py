"""The Python of the README and of docs/python.md, as a reader runs it, with the lecture's variables in NumPy."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lecture import ROOT, notebook, words

from gpu_makemore import Run, load

PAGES = ["README.md", "docs/python.md", "python/README.md"]


def blocks(page: str) -> list[str]:
    """The blocks of Python that use the package."""
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for block in found if "gpu_makemore" in block or "run." in block]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, trained: Run, folder: Path) -> None:
    shutil.copytree(trained.path, folder / "runs/first")
    model = load(trained.path)
    variables: dict[str, Any] = notebook(np) | {"words": words()}
    variables |= {"bnmean": model["bnmean"][:, :1].repeat(64, 1)}
    assert blocks(page)
    import gpu_makemore

    variables["gpu_makemore"] = gpu_makemore
    for block in blocks(page):
        exec(compile(block.replace("200_000", "200"), page, "exec"), variables)


def test_the_error_of_the_readme_is_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    import gpu_makemore

    text = (ROOT / "README.md").read_text("utf-8")
    (shown,) = re.findall(r"^```text\n(dbndiff .*?)^```$", text, re.DOTALL | re.MULTILINE)
    gpu_makemore.check(notebook(np, forgetful=True))
    printed = capsys.readouterr().out

    def words_of(line: str) -> str:
        """Numbers differ from notebook to notebook."""
        return re.sub(r"[\d.,e+-]*\d[\d.,e+-]*", "N", " ".join(line.split()))

    lines = [words_of(line) for line in printed.splitlines()]
    for line in shown.splitlines():
        assert line == "…" or words_of(line) in lines, line
