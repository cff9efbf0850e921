"""`train`, `sample` and `Run`: the files of a run as arrays, errors, and what an interruption leaves."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gpu_makemore
from gpu_makemore import MakemoreError, ProgramFailed, Run, train

PACKAGE = Path(gpu_makemore.__file__).resolve().parents[1]


def test_a_run_has_losses_results_names_and_a_plot(trained: Run) -> None:
    assert trained.finished
    rows = [json.loads(line) for line in (trained.path / "metrics.jsonl").read_text().splitlines()]
    training = [row for row in rows if "loss" in row]
    assert trained.steps.tolist() == [row["step"] for row in training] == list(range(0, 2000, 100))
    assert trained.losses.tolist() == [row["loss"] for row in training]
    assert trained.mean_losses.tolist() == [row["loss_mean"] for row in training]
    validation = [row for row in rows if "val_loss" in row]
    assert trained.val_steps.tolist() == [row["step"] for row in validation] == list(range(200, 2001, 200))
    assert trained.val_losses.tolist() == [row["val_loss"] for row in validation]
    summary = json.loads((trained.path / "summary.json").read_text())
    assert (trained.train_loss, trained.val_loss, trained.test_loss) == (
        summary["train_loss"], summary["val_loss"], summary["test_loss"],
    )  # fmt: skip
    assert trained.summary["n_hidden"] == 24
    assert trained.model().n_hidden == 24
    picture = trained.plot()
    assert picture._repr_png_() == (trained.path / "loss.png").read_bytes()
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert (
        repr(trained) == f"<Run {trained.path}: train {trained.train_loss:.4f}, val {trained.val_loss:.4f}>"
    )
    assert repr(Run(trained.path)) == repr(trained)


def test_names_are_those_of_the_program(trained: Run) -> None:
    assert len(trained.sample()) == 20
    names = trained.sample(5, prefix="mar", seed=1, temperature=0.7, unique=True)
    assert len(set(names)) == 5 and all(name.startswith("mar") for name in names)
    assert trained.sample(5, prefix="mar", seed=1, temperature=0.7, unique=True) == names
    assert trained.sample(5, seed=2) != trained.sample(5, seed=1)
    with pytest.raises(ProgramFailed, match="--prefix: the model knows no '1'; its characters are"):
        trained.sample(prefix="1")
    with pytest.raises(ProgramFailed, match="--prefix: the model knows no '-'"):
        trained.sample(prefix="-")
    with pytest.raises(ProgramFailed, match=r"cannot load .*none: there is no such file"):
        gpu_makemore.sample("none")


def test_what_the_program_prints_appears(capsys: pytest.CaptureFixture[str]) -> None:
    run = train(steps=20, n_hidden=8)
    printed = capsys.readouterr().out
    assert re.search(r"^output +runs/\d{4}-", printed, re.MULTILINE)
    assert "\n     19/     20: " in printed and f"the model is in {run.path}/model.safetensors" in printed
    assert run.path.parent == Path("runs")
    train(steps=20, n_hidden=8, show=False)
    assert capsys.readouterr() == ("", "")
    assert len(list(Path("runs").iterdir())) == 2


def test_every_option_is_an_argument() -> None:
    text = subprocess.run([gpu_makemore.program(), "train", "--help"], capture_output=True, text=True).stdout
    options = {name.replace("-", "_") for name in re.findall(r"^ +(?:-\w, )?--([a-z-]+)", text, re.MULTILINE)}
    assert len(options) > 20
    assert set(inspect.signature(train).parameters) - {"show"} == options - {"help"}


def test_options_reach_the_program(folder: Path) -> None:
    (folder / "towns.csv").write_text("id;name\n" + "".join(f"{i};Town{i % 7}\n" for i in range(50)))
    run = train(
        "towns.csv", column="name", delimiter=";", lowercase=True, steps=30, batch_size=4, block_size=2, n_embd=3,
        n_hidden=5, lr=0.2, lr_final=0.05, lr_decay_at=10, seed=7, log_every=10, checkpoint_every=15, eval_every=5,
        ratios_every=15, tensorboard=True, out="towns", show=False,
    )  # fmt: skip
    summary = run.summary
    for name, value in {
        "data": "towns.csv", "column": "name", "lowercase": True, "steps": 30, "batch_size": 4, "block_size": 2,
        "n_embd": 3, "n_hidden": 5, "lr": 0.2, "lr_final": 0.05, "lr_decay_at": 10, "seed": 7,
    }.items():  # fmt: skip
        assert summary[name] == value, name
    assert run.steps.tolist() == [0, 10, 20] and run.val_steps.tolist() == [5, 10, 15, 20, 25, 30]
    assert any(path.name.startswith("events.out") for path in run.path.iterdir())


def test_a_model_is_a_start(trained: Run) -> None:
    run = train(steps=1, lr=0, init_from=trained.path, show=False)
    assert (run.model()["C"] == trained.model()["C"]).all()


def test_paths_may_have_spaces_and_any_letters(folder: Path) -> None:
    run = train(steps=20, n_hidden=8, out=folder / "läufe 1" / "-ß", show=False)
    assert len(run.sample(2)) == 2 and run.plot()._repr_png_()
    assert train(resume=run.path, steps=30, show=False).summary["steps"] == 30
    os.chdir(folder / "läufe 1")
    assert len(gpu_makemore.sample("-ß", 2)) == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"lr": -1.0}, r"invalid value '-1\.0' for '--lr <RATE>': must be a number from 0 to 3e38"),
        ({"data": "none.txt"}, r"none\.txt"),
        ({"data": ""}, "no such file; give the path of a text file"),
        ({"resume": "none"}, r"none has no run to continue"),
        ({"resume": "none", "out": "other"}, r"'--resume <PATH>' cannot be used with '--out <DIR>'"),
        (
            {"out": "/proc/none"},
            r"cannot create the folder /proc/none: .*; choose a folder that you can write to",
        ),
        ({"backend": "cpu", "profile": True}, r"--profile"),
    ],
)
def test_an_error_is_the_programs_own_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(ProgramFailed, match=line) as raised:
        train(show=False, **options)  # type: ignore[arg-type]
    assert raised.value.exit_code in (1, 2)
    assert not raised.value.line.startswith("error")
    assert not list(Path().glob("runs/*"))


def test_a_folder_that_holds_a_run_is_not_overwritten(trained: Run) -> None:
    with pytest.raises(ProgramFailed, match="already holds a run"):
        train(out=trained.path, show=False)


def test_a_run_that_diverges_is_an_error_with_what_was_kept(folder: Path) -> None:
    with pytest.raises(ProgramFailed, match="learning rate") as raised:
        train(steps=200, lr=1e30, out=folder / "far", show=False)
    assert raised.value.exit_code == 1
    run = Run(folder / "far")
    assert not run.finished
    for wanted in (lambda: run.summary, run.plot):
        with pytest.raises(MakemoreError, match="the run is not finished; "):
            wanted()


def test_a_folder_without_a_run_is_told(folder: Path) -> None:
    with pytest.raises(MakemoreError, match="is no folder of a run: it has no metrics.jsonl"):
        Run(folder)


def test_a_loss_that_is_not_finite_is_nan_and_half_a_line_is_not_read(folder: Path) -> None:
    lines = '{"step":0,"lr":1,"loss":null,"loss_mean":null}\n{"step":1,"val_loss":2.5}\n{"step":2,"lo'
    (folder / "metrics.jsonl").write_text(lines)
    run = Run(folder)
    assert run.steps.tolist() == [0] and np.isnan(run.losses).all() and run.val_losses.tolist() == [2.5]


# ------------------------------------------------------------------------------------------ interruptions

SCRIPT = """
import gpu_makemore
try:
    gpu_makemore.train(steps={steps}, n_hidden=8, log_every=1000, out="run with ß")
except KeyboardInterrupt as interrupted:
    print(type(interrupted).__name__, interrupted, interrupted.run, sep="|", flush=True)
"""


def start(steps: int) -> subprocess.Popen[str]:
    """A training in a session of its own, which a notebook's kernel has."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(steps=steps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
    )


def test_an_interruption_saves_the_run_which_then_ends_with_the_same_bits(folder: Path) -> None:
    process = start(4_000_000)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("   5000/"):
            break
    # To the whole group, as Jupyter does it: a second signal would end the program before it has saved.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert err == ""
    kind, message, run = out.strip().splitlines()[-1].split("|")
    assert kind == "Interrupted"
    done = re.match(r"interrupted after (\d+) of 4000000 steps; continue with: gpu-makemore train", message)
    assert done and int(done[1]) >= 5000
    assert message.endswith("; or gpu_makemore.train(resume='run with ß')")
    assert run == "<Run run with ß: not finished>"
    with pytest.raises(MakemoreError, match=r"gpu_makemore\.train\(resume='run with ß'\) continues it"):
        Run("run with ß").plot()

    # Not to its end, which takes a while.
    steps = int(done[1]) + 20_000
    resumed = train(resume="run with ß", steps=steps, show=False)
    assert resumed.path == Path("run with ß") and resumed.finished
    whole = train(
        steps=steps, n_hidden=8, log_every=1000, checkpoint_every=400_000, lr_decay_at=2_000_000, out="whole", show=False
    )  # fmt: skip
    assert (resumed.path / "model.safetensors").read_bytes() == (
        whole.path / "model.safetensors"
    ).read_bytes()


def test_a_second_interruption_ends_the_program_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A program that does not end when it is asked to.
    program = folder / "deaf"
    program.write_text(
        "#!/bin/sh\ntrap 'echo saving' INT\necho $$ >pid\necho begun\nwhile :; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("GPU_MAKEMORE_PROGRAM", str(program))
    process = start(1)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    # The program is gone, or a zombie of whoever adopted it.
    status = Path("/proc", (folder / "pid").read_text().strip(), "status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_an_interruption_before_the_training_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "slow"
    program.write_text("#!/bin/sh\necho begun\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("GPU_MAKEMORE_PROGRAM", str(program))
    process = start(1)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out.strip(), err) == ("Interrupted|interrupted before the training began|None", "")


# -------------------------------------------------------------------------------------------- the program


def test_the_package_runs_as_the_program(folder: Path) -> None:
    command = [sys.executable, "-m", "gpu_makemore", "--version"]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0 and ended.stdout.startswith("gpu-makemore ")
    ended = subprocess.run([*command[:-1], "nope"], capture_output=True, text=True, env=environment)
    assert ended.returncode == 2 and ended.stderr.startswith("error: ")
    missing = environment | {"GPU_MAKEMORE_PROGRAM": str(folder / "none")}
    ended = subprocess.run(command, capture_output=True, text=True, env=missing)
    assert ended.returncode == 1 and ended.stderr.startswith("error: the program gpu-makemore is missing; ")
    assert ended.stderr.count("\n") == 1
