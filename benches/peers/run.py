"""Holds gpu-makemore against what a user would run instead, on this machine, in one run.

    cargo build --release && python3 benches/peers/run.py

The programs run one after another, and every peer's first steps are held against a reference in f64
before it is timed. What is not installed is named, with the command that installs it, and left out.

A machine with a GPU needs no Rust toolchain: copy benches/peers and data/names.txt there, in the same
folders, and the program.

    python3 benches/peers/run.py --binary ./gpu-makemore --adapters vulkan:nvidia --out FILE.md
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

from words import words

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ADAPTERS = {"Darwin": "metal", "Windows": "vulkan,dx12"}.get(platform.system(), "vulkan,gl")
SOFTWARE = re.compile("llvmpipe|lavapipe|SwiftShader|Microsoft Basic Render", re.IGNORECASE)
GPU_MODELS = 128  # at once, by `sweep` and by JAX's vmap
LARGE = {"hidden": 2048, "batch": 4096}
CHARACTERS = 5505  # those of a list of Chinese names
# The three products with each weight matrix, forward and twice backward; n_embd 10, block 3, vocab 27.
LARGE_FLOPS = 2 * 3 * LARGE["batch"] * LARGE["hidden"] * (30 + 27)
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

# Where the process may run; gpu-makemore's own count of cores is the same.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

notes = []  # what was left out, and why


def say(text):
    print(text, file=sys.stderr, flush=True)


def note(text):
    notes.append(text)
    say(text)


def output_of(command):
    """What a program prints, or nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def how(command, one_core=False):
    """How to start a program: on one core with one thread, or as it comes. The environment is passed
    on, since a GPU machine may need its VK_DRIVER_FILES."""
    pin = None
    if one_core and hasattr(os, "sched_setaffinity"):  # Linux; elsewhere one thread must do
        core = max(os.sched_getaffinity(0))
        pin = lambda: os.sched_setaffinity(0, {core})
    environment = os.environ | (ONE_THREAD if one_core else {})
    command = [str(part) for part in command]
    return {"args": command, "env": environment, "preexec_fn": pin, "text": True}


def row(name, rounds, **more):
    """Microseconds of some rounds, as a line of a table."""
    return {"name": name, "us": statistics.median(rounds), "rounds": rounds, **more}


def models_row(name, models, rounds, one):
    """Rounds of a step of `models` models, in microseconds, as a row of a model-step of theirs."""
    all_models, one = statistics.median(rounds), statistics.median(one)
    return row(name, [time / models for time in rounds], models=models, growth=all_models / one)


def first_step(name, commands, line):
    """Times from the start of a process until it prints a line that starts with `line`."""
    say(f"{name}, first step")
    rounds = []
    for command in commands:
        start = time.perf_counter()
        with subprocess.Popen(**how(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            if any(text.lstrip().startswith(line) for text in process.stdout):
                rounds.append((time.perf_counter() - start) * 1e6)
            process.kill()  # what comes after the first loss is not asked for
    if len(rounds) < len(commands):
        note(f"{name}: no first loss from {shlex.join(map(str, commands[0]))}")
        return []
    return [row(name, rounds)]


class Ours:
    """gpu-makemore on one device; `adapter` is a backend or `backend:part of the adapter's name`."""

    def __init__(self, args, adapter="cpu", schedule=""):
        backend, _, text = adapter.partition(":")
        self.binary, self.seconds = args.binary, args.seconds
        self.options = ["--backend", backend]
        self.options += ["--adapter", text] if text else []
        self.options += ["--schedule", schedule] if schedule else []
        self.name = f"gpu-makemore, {' '.join(filter(None, [backend, schedule]))}"
        self.adapter, self.timed = "", {}  # microseconds of a step, by models at once

    def train(self, steps, one_core, hidden=200, batch=32, characters=None):
        """`summary.json` of a run."""
        with tempfile.TemporaryDirectory() as folder:
            command = [self.binary, "train", *self.options, "--steps", steps, "--out", f"{folder}/run"]
            command += ["--n-hidden", hidden, "--batch-size", batch]
            if characters:
                made_up = pathlib.Path(folder, "words.txt")
                made_up.write_text("\n".join(words(characters)))
                command += ["--data", made_up]
            run = subprocess.run(**how(command, one_core), capture_output=True)
            if run.returncode != 0:
                raise ChildProcessError((run.stderr.strip().splitlines() or ["no message"])[-1])
            return json.loads(pathlib.Path(folder, "run", "summary.json").read_text())

    def time(self, one_core=False, **size):
        """A row of the training loop, data and all, as `summary.json` tells it; none if it fails."""
        say(self.name)
        try:
            # Long enough for the first launches, which some drivers compile for, to count for little.
            steps, seconds = 20, 0
            while seconds < 2 * self.seconds and steps < 100_000:
                pilot = self.train(steps, one_core, **size)
                seconds = pilot["seconds"]
                steps = min(round(steps * max(1, min(4 * self.seconds / seconds, 20))), 100_000)
            runs = [self.train(steps, one_core, **size) for _ in range(3)]
        except ChildProcessError as error:
            note(f"{self.name}: not timed: {error}")
            return []
        device = ", ".join(filter(None, [pilot["adapter"], pilot["driver"]]))
        self.name = self.name.split(":")[0] + f": {device}"
        return [row(self.name, [run["seconds"] / run["steps"] * 1e6 for run in runs])]

    def sweep(self, models, steps):
        """The adapter's name, and the seconds that all steps of so many models took together."""
        with tempfile.TemporaryDirectory() as folder:
            # A step takes as long with fewer words, and the evaluation of each model, which software
            # adapters are slow at and which is not timed, is soon done.
            few = pathlib.Path(folder, "few.txt")
            few.write_text("\n".join((ROOT / "data" / "names.txt").read_text().split()[::20]))
            command = [self.binary, "sweep", *self.options, "--data", few, "--seeds", models]
            command += ["--steps", steps, "--keep", "0", "--out", f"{folder}/sweep"]
            run = subprocess.run(**how(command), capture_output=True)
            if run.returncode != 0:
                raise ChildProcessError((run.stderr.strip().splitlines() or ["no message"])[-1])
            lines = pathlib.Path(folder, "sweep", "results.jsonl").read_text().splitlines()
        results = [json.loads(line) for line in lines]
        assert len(results) == models and all(r["status"] == "done" for r in results), "not all models ended"
        times = [r["seconds"] for r in results]
        # On the CPU a core does one model after another; models of one dispatch tell the time of it.
        seconds = sum(times) / min(models, CORES) if results[0]["backend"] == "cpu" else sum(set(times))
        return results[0]["adapter"], seconds

    def time_models(self, models):
        """A row of a step of `models` models at once, beside that of one; none if it fails."""
        say(f"{self.name}, {models} models")
        try:
            for count in {1, models} - self.timed.keys():
                steps, seconds = 20, 0
                while seconds < 2 * self.seconds and steps < 100_000:
                    self.adapter, seconds = self.sweep(count, steps)
                    steps = min(round(steps * max(1, min(4 * self.seconds / seconds, 20))), 100_000)
                self.timed[count] = [self.sweep(count, steps)[1] / steps * 1e6 for _ in range(3)]
        except ChildProcessError as error:
            note(f"{self.name}, {models} models: not timed: {error}")
            return []
        return [models_row(f"{self.name}: {self.adapter}", models, self.timed[models], self.timed[1])]

    def first(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [self.binary, "train", *self.options, "--steps", "1", "--out"]
            return first_step(self.name, [[*command, f"{folder}/{i}"] for i in range(5)], "0/")


class Peer:
    """A script beside this one; `missing` says how to install what it needs, if that is missing."""

    def __init__(self, script, package, install, args):
        self.script, self.seconds, self.there = HERE / script, args.seconds, True
        self.one = {}  # rows of a single model, by options
        if subprocess.run([sys.executable, "-c", f"import numpy, {package}"], capture_output=True).returncode:
            self.there = False
            note(f"{package} or numpy is not installed, its rows are left out: {install}")

    def time(self, *options, one_core=False, suffix=""):
        """The rows that the script prints."""
        if not self.there:
            return []
        command = [sys.executable, self.script, "--seconds", self.seconds, *options]
        say(f"{self.script.name} {shlex.join(map(str, options))}")
        run = subprocess.run(**how(command, one_core), capture_output=True)
        errors = run.stderr.strip().splitlines() or ["no message"]
        for error in errors[-1:] if run.returncode else [e for e in errors if "not timed" in e]:
            note(f"{self.script.name} {shlex.join(map(str, options))}: {error}")
        rows = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        return [r | {"name": r["name"] + suffix} for r in rows]

    def time_models(self, models, *options, suffix=""):
        """The row of the script with `--models`, beside the one of a single model."""
        self.one[options] = one = self.one.get(options) or self.time(*options)
        many = self.time("--models", models, *options)
        if not many or not one:
            return []
        name = many[0]["name"].split(", one step")[0] + suffix
        return [models_row(name, models, many[0]["rounds"], one[0]["rounds"])]

    def first(self, name, *options):
        command = [sys.executable, self.script, "--first", *options]
        return first_step(name, [command] * 5, "loss ") if self.there else []


def many_models(args, jax):
    """Tables of many models at once: a few and many on the cores, and on a GPU more than it has cores."""
    adapters = [Ours(args, adapter) for adapter in filter(None, args.adapters.split(","))]
    there = []
    for ours in adapters:
        try:
            ours.adapter = ours.sweep(1, 1)[0]
            there.append(ours)
        except ChildProcessError as error:
            note(f"{ours.name}: no sweep: {error}")
    software = [ours for ours in there if SOFTWARE.search(ours.adapter)]
    hardware = [ours for ours in there if ours not in software]
    cpu = Ours(args)
    text = (
        "Models of the lecture's size, trained by `sweep` and by JAX's `vmap` over its scan. The time is that "
        "of a step of all models, shared among them; the last column holds it, not shared, to the step of a "
        "single model. "
    )
    for models in (CORES, 8 * CORES):
        rows = [r for ours in [cpu, *software] for r in ours.time_models(models)]
        rows += jax.time_models(models, suffix=", its own threads")
        title = f"{models} models at once on {CORES} cores"
        yield title, text + f"Each program may use the same {CORES} cores.", rows
    if args.device == "cuda" or hardware:
        rows = [r for ours in hardware for r in ours.time_models(GPU_MODELS)]
        rows += jax.time_models(GPU_MODELS, "--device", "cuda") if args.device == "cuda" else []
        yield f"{GPU_MODELS} models at once on the GPU", text + "All on the GPU.", rows


def measure(args):
    """The tables: (title, what it says, rows). The first row of each is what the others are held to."""
    cuda = args.device == "cuda"
    extra = "[cuda13]" if cuda else ""
    jax = Peer("jax_peer.py", "jax", f'pip install numpy "jax{extra}"', args)
    if args.only_models:
        return [table for table in many_models(args, jax) if table[-1]]
    torch = Peer("torch_peers.py", "torch", "pip install numpy torch", args)

    cpu = Ours(args)
    cpu_rows = cpu.time(one_core=True)
    if not cpu_rows:
        sys.exit(1)
    tables = [(
        "One core",
        "One step of the lecture (batch 32, hidden 200); each program has the same core and one thread.",
        cpu_rows + jax.time(one_core=True) + torch.time(one_core=True),
    )]

    size = ("--characters", CHARACTERS)
    peers = jax.time(*size, one_core=True) + torch.time(*size, "--only", "manual", "autograd", "compile", one_core=True)
    tables.append((
        f"{CHARACTERS:,} characters",
        "The same step on one core, with a vocabulary of that size and made-up words.",
        cpu.time(one_core=True, characters=CHARACTERS) + peers,
    ))

    schedules = args.schedules.split(",")
    adapters = filter(None, args.adapters.split(","))
    timed = [(ours, ours.time()) for a in adapters for ours in [Ours(args, a, s) for s in schedules]]
    timed = [(ours, rows) for ours, rows in timed if rows]
    software = [rows[0] for ours, rows in timed if SOFTWARE.search(ours.name)]
    hardware = [(ours, rows[0]) for ours, rows in timed if not SOFTWARE.search(ours.name)]

    threads = ("--threads", str(CORES), "--only", "manual", "autograd")
    many = jax.time(suffix=", its own threads") + torch.time(*threads, suffix=f", {CORES} threads")
    tables.append((
        f"All {CORES} cores",
        "The same step; GPU drivers in software use all cores, JAX the threads that it chooses, PyTorch "
        "as many as there are cores. The CPU backend has one thread, as above.",
        software + cpu_rows + many if software or many else [],
    ))
    if cuda or hardware:
        tables.append((
            "The GPU",
            "The same step on the GPU.",
            [r for _, r in hardware]
            + (jax.time("--device", "cuda") + torch.time("--device", "cuda") if cuda else []),
        ))
    tables += many_models(args, jax)
    if cuda or args.large:
        size = [part for key, value in LARGE.items() for part in (f"--{key}", value)]
        size += ["--device", args.device]
        ways = ("--only", "manual", "autograd", "compile", "graph")
        large = [] if cuda else cpu.time(one_core=True, **LARGE)
        large += [r for ours, _ in hardware for r in ours.time(**LARGE)]
        large += jax.time(*size) + torch.time(*size, *ways, *([] if cuda else ["--threads", str(CORES)]))
        ceiling = torch.time("--ceiling", "--device", args.device, *([] if cuda else ["--threads", str(CORES)]))
        most = ceiling[0]["gflops"] if ceiling else None
        for r in large:
            r["gflops"] = LARGE_FLOPS / r["us"] / 1e3
        for r in large + ceiling:
            r["share"] = r["gflops"] / most if most else None
        tables.append((
            f"Batch {LARGE['batch']:,}, hidden {LARGE['hidden']:,}",
            f"One step is {LARGE_FLOPS / 1e9:.2f} GFLOP in its six products over all examples; everything else "
            "counts for nothing. gpu-makemore computes equal contexts once and does less, a third or so of "
            "it: its GFLOP/s tell how fast the formulas are done, and `train --profile` what the kernels "
            "really do. The share is of what PyTorch reaches in one large product of f32 matrices (no TF32).",
            large + ceiling,
        ))

    first = cpu.first() + [r for ours, _ in timed for r in ours.first()]
    device = ("--device", args.device)
    first += jax.first("JAX, jit(lax.scan(step))", *device)
    first += torch.first("PyTorch, manual backward", *device)
    tables.append((
        "Time to the first loss",
        "From the start of the process until it prints the loss of its first step: reading the data, "
        "opening the device, compiling, one step. Median of five, so what drivers cache on disk is there.",
        first,
    ))
    return [table for table in tables if table[-1]]


def markdown(title, text, rows):
    """A table, as lines."""
    base, large, models = rows[0], "gflops" in rows[0], "models" in rows[0]
    scale, unit = (1e3, "ms") if large or "first" in title else (1, "µs")
    yield from ("", f"## {title}", "", text, "")
    unit += " a model and step" * models
    head = f"| program | {unit} | times `{base['name'].split(':')[0]}` |"
    yield head + " GFLOP/s | share |" * large + " all, times one model |" * models
    yield "|---|--:|--:|" + "--:|--:|" * large + "--:|" * models
    for r in rows:
        # The large product is no training step: it has no ratio to one.
        ratio = "" if "product of" in r["name"] else f"{r['us'] / base['us']:.2f}"
        line = f"| {r['name']} | {r['us'] / scale:,.{2 if large else 1}f} | {ratio} |"
        if large:
            line += f" {r['gflops']:,.0f} | " + ("|" if r["share"] is None else f"{r['share']:.1%} |")
        yield line + (f" {r['growth']:.2f} |" if models else "")


def machine():
    """What the times were taken on, in words."""
    cpu = platform.processor() or platform.machine()
    if pathlib.Path("/proc/cpuinfo").exists():
        models = re.findall(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        cpu = models[0] if models else cpu
    gpu = output_of(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    gpu = [line.replace(", ", ", driver ") for line in gpu.splitlines()]
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:  # not Linux
        system = f"{platform.system()} {platform.release()}"
    return "; ".join([f"{cpu}, {os.cpu_count()} logical cores", *gpu, system])


def versions(binary):
    """Of all programs that take part."""
    found = {"gpu-makemore": output_of([binary, "--version"]).split(" ")[-1], "Python": platform.python_version()}
    for package in ("torch", "jax", "numpy"):
        version = output_of([sys.executable, "-c", f"import {package}; print({package}.__version__)"])
        found[package] = version or "missing"
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "gpu-makemore", type=pathlib.Path)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the peers")
    parser.add_argument(
        "--adapters", default=ADAPTERS, metavar="LIST",
        help=f"of gpu-makemore, beside its CPU backend: backend or backend:adapter [default: {ADAPTERS}]",
    )
    parser.add_argument("--schedules", default="", metavar="LIST", help="such as staged,resident")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE}, as always on CUDA")
    parser.add_argument("--only-models", action="store_true", help="only the tables of many models at once")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round of timed steps")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the raw numbers")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE.md", help="write the tables")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    if not args.binary.exists():
        sys.exit(f"{args.binary} does not exist: cargo build --release, or --binary")
    if args.device == "auto":
        args.device = "cuda" if output_of(["nvidia-smi", "-L"]) else "cpu"

    about = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(args.binary),
        "command": shlex.join(["python3", *sys.argv]),
    }
    tables = measure(args)
    lines = ["# gpu-makemore and its peers", "", f"{about['date']}; {about['machine']}.", ""]
    lines += [", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".", ""]
    lines += ["```sh", about["command"], "```", "", "Medians; the ratios are of one run."]
    for table in tables:
        lines += markdown(*table)
    if notes:
        lines += ["", "## Left out", "", *(f"- {text}" for text in notes)]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)
    if args.json:
        tables = [{"title": title, "text": text, "rows": rows} for title, text, rows in tables]
        args.json.write_text(json.dumps(about | {"tables": tables, "left_out": notes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
