"""The package in a real kernel: docs/notebook.ipynb from top to bottom, and Jupyter's interruption."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import gpu_makemore
from gpu_makemore import Run, train

PACKAGE = Path(gpu_makemore.__file__).resolve().parents[1]
NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/notebook.ipynb"

# Of the tools: their sockets, their events, and that a kernel of this machine is reached without encryption.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel imports the package that is tested."""
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))


def outputs(notebook: Any, source: str) -> list[Any]:
    """The outputs of the one cell that has this line."""
    (cell,) = [cell for cell in notebook.cells if source in cell.source.splitlines()]
    found: list[Any] = cell.outputs
    return found


def texts(notebook: Any) -> list[str]:
    """What the cells with a check say in the end."""
    checks = [cell for cell in notebook.cells if cell.source.endswith("gpu_makemore.check(globals())")]
    return [cell.outputs[-1].data["text/plain"] for cell in checks]


def test_the_notebook_runs_from_top_to_bottom(folder: Path) -> None:
    committed = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(committed)
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()

    said = ["<Check: 27 of 27 tensors agree>", "<Check: 6 of 45 tensors are wrong; the first is dbndiff>"]
    # What a reader of the repository sees is what comes of it.
    assert texts(notebook) == texts(committed) == said
    for cell in notebook.cells:
        shown = [output for output in cell.get("outputs", []) if output.output_type == "display_data"]
        if cell.source.endswith("gpu_makemore.check(globals())"):
            (table,) = shown
            assert table.data["text/html"].startswith('<div class="gpu-makemore-check">')
            assert table.data["text/plain"].startswith("tensor ")
    bar = next(
        o
        for o in outputs(notebook, "run = gpu_makemore.train(steps=20_000)")
        if o.output_type == "display_data"
    )
    assert bar.data["text/plain"].startswith("20,000 of 20,000 steps, loss ")
    assert '<progress max="20000" value="20000"></progress>' in bar.data["text/html"]
    assert "image/png" in outputs(notebook, "run.plot()")[0].data
    assert (folder / "mine.safetensors").is_file()


class Kernel:
    """A kernel, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def messages(self, code: str) -> Iterator[tuple[str, Any]]:
        """The kind and the content of each message about a cell, until it has ended."""
        id = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            yield kind, content


@pytest.fixture
def kernel(folder: Path) -> Iterator[Kernel]:
    found = Kernel(folder)
    yield found
    found.client.stop_channels()
    found.manager.shutdown_kernel(now=True)


def test_interrupting_the_kernel_saves_the_run(kernel: Kernel, folder: Path) -> None:
    code = 'import gpu_makemore\ngpu_makemore.train(steps=3_000_000, n_hidden=8, log_every=1000, out="run")'
    interrupted, error, bars = False, None, []
    for kind, content in kernel.messages(code):
        if kind in ("display_data", "update_display_data"):
            bars.append(content["data"]["text/plain"])
        if kind == "stream" and "   9000/3000000" in content["text"] and not interrupted:
            interrupted = True
            time.sleep(0.5)  # for the bar
            kernel.manager.interrupt_kernel()
        if kind == "error":
            error = content
    assert error is not None and error["ename"] == "Interrupted"
    assert error["evalue"].startswith("interrupted after ")
    assert error["evalue"].endswith("; or gpu_makemore.train(resume='run')")
    assert bars[0] == "the training begins" and any(" of 3,000,000 steps, loss " in bar for bar in bars)
    assert any(bar.endswith(" s left") for bar in bars)
    # The kernel lives on, and so does the run.
    said = [content for kind, content in kernel.messages("print(6 * 7)") if kind == "stream"]
    assert said[0]["text"] == "42\n"
    run = Run(folder / "run")
    assert not run.finished and run.steps[-1] >= 9000
    # To end it, a little later than it stands.
    steps = int(run.val_steps[-1] if len(run.val_steps) else 0) + 200_000
    assert train(resume=run.path, steps=steps, show=False).finished
    assert os.listdir(folder) == ["run"]
