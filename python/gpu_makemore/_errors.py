"""What can go wrong, one class for each kind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._run import Run


class MakemoreError(Exception):
    """The base of all errors of this package."""


class ProgramNotFound(MakemoreError):
    """The program ``gpu-makemore`` is in none of the places where it is looked for."""

    def __init__(self, places: list[str]) -> None:
        self.places = places
        super().__init__(
            f"the program gpu-makemore is missing; looked for in {', '.join(places)}; "
            "`pip install gpu-makemore` brings it, and the variable GPU_MAKEMORE_PROGRAM may hold its path"
        )


class ProgramFailed(MakemoreError):
    """The program ended with an error. The message is the program's own line."""

    def __init__(self, line: str, exit_code: int) -> None:
        self.line = line
        self.exit_code = exit_code
        super().__init__(line)


class BadVariable(MakemoreError, ValueError):
    """A variable cannot be what its name says."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


class BadModel(MakemoreError, ValueError):
    """A file is no model, or is damaged."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path)
        super().__init__(f"cannot load {self.path}: {reason}")


class Interrupted(KeyboardInterrupt):
    """A training was interrupted. ``run`` is what was saved of it, or ``None`` if nothing was."""

    def __init__(self, line: str, run: Run | None) -> None:
        self.run = run
        super().__init__(line)
