"""Holds gpu-makemore against what a user would run instead, on this machine, in one run.

    cargo build --release && python3 benches/peers/run.py [--binary PATH] [--adapters vulkan,gl]

Prints a table of the time of one step of the lecture's training and the ratio to gpu-makemore's CPU
backend. Each program runs by itself, one after another, on one thread; JAX also with the threads that
it chooses by itself, and software GPU drivers use all cores. What is not installed is named, with the command that installs it, and left out.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def ours(binary, backend, steps):
    """Median over three runs, as `summary.json` tells it: the training loop, data and all."""
    times = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "run"
            command = [binary, "train", "--backend", backend, "--steps", str(steps), "--out", out]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode != 0:
                print(f"{backend}: not timed: {run.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                return None
            summary = json.loads((out / "summary.json").read_text())
            times.append(summary["seconds"] / summary["steps"] * 1e6)
    return f"gpu-makemore, {backend}: {summary['adapter']}, {summary['driver']}", statistics.median(times)


def peer(script, package, environment=ONE_THREAD, note=""):
    """The lines that a peer's script prints, as (name, us)."""
    if subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True).returncode:
        print(f"{package} is not installed: pip install {package}", file=sys.stderr)
        return []
    run = subprocess.run(
        [sys.executable, HERE / script], capture_output=True, text=True, env=os.environ | environment
    )
    if run.returncode != 0:
        print(f"{script}: {run.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    lines = [line.split("\t") for line in run.stdout.splitlines() if "\t" in line]
    return [(name + note, float(time)) for name, time in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "gpu-makemore")
    parser.add_argument("--adapters", default="", help="backends to time beside cpu, such as vulkan,gl")
    args = parser.parse_args()
    if not pathlib.Path(args.binary).exists():
        sys.exit(f"{args.binary} does not exist: cargo build --release")
    rows = [ours(args.binary, "cpu", 50_000)]
    if rows[0] is None:
        sys.exit(1)
    base = rows[0][1]
    rows += [ours(args.binary, backend, 2000) for backend in filter(None, args.adapters.split(","))]
    rows += peer("jax_peer.py", "jax") + peer("jax_peer.py", "jax", {}, ", its own threads")
    rows += peer("torch_peers.py", "torch")
    print(f"{platform.machine()}, {os.cpu_count()} cores; one step of the lecture, batch 32\n")
    print("| program | µs a step | times gpu-makemore's CPU backend |\n|---|--:|--:|")
    for name, time in filter(None, rows):
        print(f"| {name} | {time:,.1f} | {time / base:.2f} |")


if __name__ == "__main__":
    main()
