"""What the tests share. They run the program that GPU_MAKEMORE_PROGRAM names (see python/test)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpu_makemore
from gpu_makemore import Run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in a folder of its own, as on a machine without any GPU driver."""
    monkeypatch.chdir(tmp_path)
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"):
        monkeypatch.setenv(name, "/none")
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A small model, trained once."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield gpu_makemore.train(steps=2000, n_hidden=24, out=folder / "run", backend="cpu", show=False)
    finally:
        os.chdir(before)
