"""Trainings, and what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from ._errors import Interrupted, MakemoreError
from ._model import Model, load
from ._notebook import Live
from ._program import failure, output, program

AnyPath = str | os.PathLike[str]

#: How often the progress is looked at, in seconds.
_INTERVAL = 0.2


@dataclass(frozen=True)
class Picture:
    """A picture that a notebook shows."""

    #: The file.
    path: Path

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


class Run:
    """A training run: the files in its folder. ``Run("runs/first")`` opens one that was made earlier."""

    def __init__(self, path: AnyPath) -> None:
        #: The folder.
        self.path = Path(path)
        if not (self.path / "metrics.jsonl").is_file():
            raise MakemoreError(f"{self.path} is no folder of a run: it has no metrics.jsonl")

    @property
    def finished(self) -> bool:
        """Whether it came to its end. If not, ``train(resume=run.path)`` continues it."""
        return (self.path / "summary.json").is_file()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``summary.json``: what the run was and how it ended; docs/run.md has the fields.

        Raises:
            MakemoreError: the run is not finished.
        """
        self._needs("summary.json")
        found: dict[str, Any] = json.loads((self.path / "summary.json").read_text("utf-8"))
        return found

    @property
    def train_loss(self) -> float:
        """Mean loss over the training set in the end."""
        return float(self.summary["train_loss"])

    @property
    def val_loss(self) -> float:
        """Mean loss over the validation set in the end."""
        return float(self.summary["val_loss"])

    @property
    def test_loss(self) -> float:
        """Mean loss over the test set in the end."""
        return float(self.summary["test_loss"])

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return list(_rows((self.path / "metrics.jsonl").read_text("utf-8")))

    def _column(self, key: str, of: str) -> npt.NDArray[np.float64]:
        values = [row[key] for row in self._rows if of in row]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """The steps whose loss was recorded, ``(records)``."""
        return self._column("step", "loss").astype(np.int64)

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """The losses of the minibatches of these steps, ``(records)``; NaN if one was not finite."""
        return self._column("loss", "loss")

    @property
    def mean_losses(self) -> npt.NDArray[np.float64]:
        """The mean losses of all steps since the record before, ``(records)``: a smoother curve."""
        return self._column("loss_mean", "loss")

    @property
    def val_steps(self) -> npt.NDArray[np.int64]:
        """The steps before which the validation loss was measured, ``(measurements)``."""
        return self._column("step", "val_loss").astype(np.int64)

    @property
    def val_losses(self) -> npt.NDArray[np.float64]:
        """These validation losses, ``(measurements)``."""
        return self._column("val_loss", "val_loss")

    def model(self) -> Model:
        """The trained model.

        Raises:
            BadModel: the run is not finished, or the file is damaged.
        """
        return load(self.path)

    def sample(
        self,
        n: int = 20,
        *,
        prefix: str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        new: bool = False,
        unique: bool = False,
    ) -> list[str]:
        """Names that the model invents; see :func:`sample`."""
        return sample(self.path, n, prefix=prefix, temperature=temperature, seed=seed, new=new, unique=unique)

    def plot(self) -> Picture:
        """The lecture's plot of the loss, with the validation losses: ``loss.png``.

        Raises:
            MakemoreError: the run is not finished.
        """
        return Picture(self._needs("loss.png"))

    def _needs(self, file: str) -> Path:
        path = self.path / file
        if not path.is_file():
            raise MakemoreError(
                f"{path} is missing: the run is not finished; "
                f"gpu_makemore.train(resume={str(self.path)!r}) continues it"
            )
        return path

    def __repr__(self) -> str:
        if not self.finished:
            return f"<Run {self.path}: not finished>"
        return f"<Run {self.path}: train {self.train_loss:.4f}, val {self.val_loss:.4f}>"


def sample(
    path: AnyPath,
    n: int = 20,
    *,
    prefix: str | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    new: bool = False,
    unique: bool = False,
) -> list[str]:
    """Names that a model invents.

    Args:
        path: the model's file, or the folder of a run.
        n: how many.
        prefix: what they begin with.
        temperature: below 1 the likely characters become likelier, above 1 the others do.
        seed: another seed gives other names.
        new: leave out words of the training.
        unique: leave out names that were given before.

    Raises:
        ProgramFailed: there is no such model, it does not know a character of `prefix`, or the names run out.
    """
    options = {"prefix": prefix, "temperature": temperature, "seed": seed, "new": new, "unique": unique}
    arguments = ["sample", f"--checkpoint={os.fspath(path)}", f"-n={n}", "--json", *_options(options)]
    return [json.loads(line)["name"] for line in output(arguments).splitlines()]


def train(
    data: AnyPath | None = None,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    block_size: int | None = None,
    n_embd: int | None = None,
    n_hidden: int | None = None,
    lr: float | None = None,
    lr_final: float | None = None,
    lr_decay_at: int | None = None,
    seed: int | None = None,
    out: AnyPath | None = None,
    resume: AnyPath | None = None,
    init_from: AnyPath | None = None,
    backend: str | None = None,
    adapter: int | str | None = None,
    schedule: str | None = None,
    tune: str | None = None,
    tune_budget: float | None = None,
    tuning: str | None = None,
    shaders: AnyPath | None = None,
    log_every: int | None = None,
    checkpoint_every: int | None = None,
    eval_every: int | None = None,
    ratios_every: int | None = None,
    tensorboard: bool = False,
    profile: bool = False,
    column: int | str | None = None,
    delimiter: str | None = None,
    no_header: bool = False,
    as_text: bool = False,
    encoding: str | None = None,
    skip_bad_lines: bool = False,
    lowercase: bool = False,
    clean: bool = False,
    show: bool = True,
) -> Run:
    """Trains a model: ``train(steps=20_000)``. What the program prints appears at once, with a bar in a notebook.

    Every argument is the option of the same name of ``gpu-makemore train``, whose ``--help`` tells the values and
    defaults: ``n_hidden=64`` is ``--n-hidden 64``.

    Args:
        data: ``names`` (the default), ``municipalities``, or a file with words.
        out: the folder of the run; without it, a new one in ``runs``, named after date and time.
        resume: the folder of a run that was interrupted; it is continued.
        show: whether to show what the program prints.

    Returns:
        The run.

    Raises:
        Interrupted: the kernel was interrupted, or Ctrl-C was pressed. It is a KeyboardInterrupt. The run is saved,
            and its ``run`` holds it.
        ProgramFailed: the program ended with an error: its own line.
        ProgramNotFound: the program is missing.
    """
    options = {
        "data": data, "steps": steps, "batch_size": batch_size, "block_size": block_size, "n_embd": n_embd,
        "n_hidden": n_hidden, "lr": lr, "lr_final": lr_final, "lr_decay_at": lr_decay_at, "seed": seed,
        "resume": resume, "init_from": init_from, "backend": backend, "adapter": adapter, "schedule": schedule,
        "tune": tune, "tune_budget": tune_budget, "tuning": tuning, "shaders": shaders, "log_every": log_every, "checkpoint_every": checkpoint_every,
        "eval_every": eval_every, "ratios_every": ratios_every, "tensorboard": tensorboard, "profile": profile,
        "column": column, "delimiter": delimiter, "no_header": no_header, "as_text": as_text,
        "encoding": encoding, "skip_bad_lines": skip_bad_lines, "lowercase": lowercase, "clean": clean,
    }  # fmt: skip
    arguments = [program(), "train", *_options(options)]
    made = None
    if resume is not None:
        given = Path(resume)
        folder = given.parent if given.is_file() else given
        if out is not None:
            arguments += _options({"out": out})  # the program says why not
    elif out is not None:
        folder = Path(out)
        arguments += _options({"out": out})
    else:
        folder = made = _dated_folder()
        arguments += _options({"out": folder})
    try:
        _watch(arguments, folder, show)
    finally:
        if made is not None:
            # A run that fails before its first file leaves no folder.
            with contextlib.suppress(OSError):
                made.rmdir()
    return Run(folder)


def _options(options: dict[str, Any]) -> list[str]:
    """Options of the command line. The value is joined to the name: it may begin with a hyphen."""
    arguments = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif value is not None and value is not False:
            text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
            arguments.append(f"{option}={text}")
    return arguments


def _dated_folder() -> Path:
    """A new folder in `runs`, named as the program does it."""
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    Path("runs").mkdir(exist_ok=True)
    for number in range(1, 1000):
        folder = Path("runs", name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise MakemoreError(f"a thousand runs have begun at {name}")


def _watch(arguments: Sequence[str], folder: Path, show: bool) -> None:
    """Runs the training and shows how far it is."""
    lines: queue.Queue[str | None] = queue.Queue()
    stderr: list[str | None] = []
    progress = _Progress(folder) if show else None
    # In a session of its own: a notebook interrupts all processes of the kernel's group, and a second signal
    # would end the program before it has saved the run.
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        readers: list[threading.Thread] = []
        try:
            for stream, put in ((process.stdout, lines.put), (process.stderr, stderr.append)):
                readers.append(threading.Thread(target=_read_lines, args=(stream, put), daemon=True))
                readers[-1].start()
            _show_lines(lines, progress)
            process.wait()
        except KeyboardInterrupt:
            _interrupt(process, readers, stderr, folder)
        except BaseException:
            process.kill()
            raise
        for reader in readers:
            reader.join()
    if progress is not None:
        progress.show(last=True)
    if process.returncode != 0:
        if process.returncode in (130, 143):
            _raise_interrupted(process.returncode, stderr, folder)  # somebody else has sent the signal
        raise failure(process.returncode, _text(stderr))


def _read_lines(stream: IO[str], put: Callable[[str | None], object]) -> None:
    """Hands on the lines, and `None` behind the last."""
    for line in stream:
        put(line.rstrip("\n"))
    put(None)


def _text(lines: list[str | None]) -> str:
    return "\n".join(line for line in lines if line is not None)


def _show_lines(lines: queue.Queue[str | None], progress: _Progress | None) -> None:
    """Shows lines as they come, until there is none left."""
    while True:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=_INTERVAL)
            if line is None:
                return
            if progress is not None:
                print(line, flush=True)
        if progress is not None:
            progress.show()


def _interrupt(
    process: subprocess.Popen[str], readers: list[threading.Thread], stderr: list[str | None], folder: Path
) -> NoReturn:
    """Has the program save the run. A second interruption ends it at once."""
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait()
        for reader in readers:
            reader.join()
    except KeyboardInterrupt:
        process.kill()
        raise
    _raise_interrupted(code, stderr, folder)


def _raise_interrupted(code: int, stderr: list[str | None], folder: Path) -> NoReturn:
    run = None
    with contextlib.suppress(MakemoreError):
        run = Run(folder)
    if code == 0:
        line = "interrupted, but the run had come to its end"
    elif run is None:
        line = _text(stderr) or "interrupted before the training began"
    else:
        line = f"{_text(stderr)}; or gpu_makemore.train(resume={str(folder)!r})"
    raise Interrupted(line, run) from None


def _rows(text: str) -> Iterator[dict[str, Any]]:
    """The records of `metrics.jsonl`. The last line may be one that is being written."""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


class _Progress:
    """The bar in a notebook, from the files in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live = Live()
        self._started = time.monotonic()
        self._first: int | None = None
        self._shown: tuple[int, float] | None = None
        self._total: int | None = None
        # So that it stands above the lines.
        self._live.update("the training begins", "<progress></progress> the training begins")

    def show(self, last: bool = False) -> None:
        """Shows how far the run is, if that has changed."""
        try:
            text = (self._folder / "metrics.jsonl").read_text("utf-8")
        except OSError:
            return  # it has not begun yet
        rows = [row for row in _rows(text) if row.get("loss") is not None]
        if self._total is None:
            self._total = _total_steps(self._folder / "last.safetensors")
        if not rows or self._total is None:
            return
        step, loss = rows[-1]["step"], rows[-1]["loss"]
        if last and (self._folder / "summary.json").is_file():
            step = self._total
        if self._first is None:
            self._first, self._started = step, time.monotonic()
        if self._shown == (step, loss):
            return
        self._shown = (step, loss)
        words = f"{step:,} of {self._total:,} steps, loss {loss:.4f}"
        seconds = time.monotonic() - self._started
        if step > self._first and seconds > 0 and step < self._total:
            left = (self._total - step) * seconds / (step - self._first)
            words += f", {left:.0f} s left"
        bar = f'<progress max="{self._total}" value="{step}"></progress> {escape(words)}'
        self._live.update(words, bar)


def _total_steps(last: Path) -> int | None:
    """How many steps the run will have, from its last checkpoint."""
    try:
        with safe_open(last, framework="numpy") as opened:
            text = (opened.metadata() or {}).get("gpu-makemore", "{}")
        steps: int | None = json.loads(text).get("training", {}).get("steps")
        return steps
    except (OSError, SafetensorError, ValueError):
        return None  # it is not there yet
