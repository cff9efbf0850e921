"""The program that the package runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from ._errors import ProgramFailed, ProgramNotFound

NAME = "gpu-makemore"

#: A variable with the path of a program to use in place of the installed one.
VARIABLE = "GPU_MAKEMORE_PROGRAM"


def program() -> str:
    """The path of the program ``gpu-makemore``.

    It is looked for in the variable ``GPU_MAKEMORE_PROGRAM``, then beside this package, where pip has put
    both, then in the folders of ``PATH``.

    Raises:
        ProgramNotFound: it is in none of these places.
    """
    named = os.environ.get(VARIABLE)
    if named:
        # It was asked for by name, so no other one will do.
        if os.access(named, os.X_OK) and Path(named).is_file():
            return named
        raise ProgramNotFound([f"{VARIABLE}={named}"])
    file = NAME + (sysconfig.get_config_var("EXE") or "")
    folders = _script_folders()
    for folder in folders:
        path = folder / file
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    found = shutil.which(NAME)
    if found:
        return found
    raise ProgramNotFound([*dict.fromkeys(map(str, folders)), "PATH"])


def _script_folders() -> list[Path]:
    """Where pip puts programs: for the interpreter, for the user, and with ``--prefix`` or ``--target``."""
    package = Path(__file__).resolve().parent
    folders = [sysconfig.get_path("scripts")]
    user = f"{os.name}_user"
    if user in sysconfig.get_scheme_names():
        folders.append(sysconfig.get_path("scripts", user))
    bin = "Scripts" if os.name == "nt" else "bin"
    site = package.parent
    beside = [site / bin]  # --target
    if site.name in ("site-packages", "dist-packages") and len(site.parents) > 2:
        beside.append(site.parents[2] / bin)  # --prefix: PREFIX/lib/python3.12/site-packages
    return [Path(folder) for folder in folders] + beside


def completed(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end, whatever that is."""
    return subprocess.run(
        [program(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def output(arguments: Sequence[str]) -> str:
    """What the program prints.

    Raises:
        ProgramFailed: it ended with an error.
    """
    ended = completed(arguments)
    if ended.returncode != 0:
        raise failure(ended.returncode, ended.stderr)
    return ended.stdout


def failure(code: int, stderr: str) -> ProgramFailed:
    """The error of a program that ended with `code`."""
    return ProgramFailed(error_line(stderr) or f"{NAME} ended with the exit code {code}", code)


def error_line(stderr: str) -> str:
    """The program's own line, and what stands below it."""
    return stderr.strip().removeprefix("error: ")


def main() -> int:
    """Runs the program in place of this interpreter: ``python -m gpu_makemore``."""
    try:
        path = program()
    except ProgramNotFound as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arguments = [path, *sys.argv[1:]]
    if os.name == "nt":
        return subprocess.run(arguments, check=False).returncode
    os.execv(path, arguments)
