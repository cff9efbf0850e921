#!/usr/bin/env python3
"""Long runs: does memory stay flat, does any step get lost, does it stay fast?

    python3 tests/soak.py [--binary target/release/gpu-makemore] [--out docs/soak.md]

It trains 2,000,000 steps on the CPU backend and 200,000 on lavapipe (Linux only: it reads /proc), and
looks at the process at each hundredth of the run. A run fails if its memory at the end of the training
is more than 5 % above that at the first hundredth, if a row of metrics or a step is missing, or if the
last tenth is slower than the first by more than 10 %. Nothing else should run beside it.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

RUNS = [("cpu", ["--backend", "cpu"], 2_000_000), ("lavapipe", ["--backend", "vulkan", "--adapter", "llvmpipe"], 200_000)]
MEMORY, SPEED = 1.05, 1.10


def peak(pid):
    """Peak of the resident memory so far, in KiB; None when the process has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), None)


def soak(binary, name, options, steps, folder):
    """Runs one; returns the row of the table and what was wrong."""
    out = folder / name
    every = steps // 100
    command = [binary, "train", *options, "--steps", str(steps), "--log-every", str(every), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = out / "metrics.jsonl"
    seen = []  # (time, peak) when each row was there
    whole = 0
    while process.poll() is None:
        rows = metrics.read_bytes().count(b'"loss_mean"') if metrics.exists() else 0
        now = peak(process.pid)
        if now is not None:
            seen.extend([(time.monotonic(), now)] * (rows - len(seen)))
            whole = now
        time.sleep(0.002)
    _, errors = process.communicate()
    wrong = [f"exit code {process.returncode}: {errors.strip()}"] if process.returncode else []
    if wrong or len(seen) < 100:
        return None, wrong or [f"{len(seen)} rows were seen, not 100"]

    summary = json.loads((out / "summary.json").read_text())
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    rows = [row for row in rows if "loss" in row]  # the others have validation losses
    if [row["step"] for row in rows] != list(range(0, steps, every)):
        wrong.append("rows of metrics are missing")
    if summary["steps"] != steps:
        wrong.append(f"{summary['steps']} steps were done, not {steps}")
    if not all(0 < row["loss_mean"] < 4 for row in rows):
        wrong.append("a mean loss is out of range")
    # Row i is there after step i * every.
    first, last = seen[1][1], seen[-1][1]
    if last > first * MEMORY:
        wrong.append(f"memory grew from {first} to {last} KiB")
    tenth = lambda i: seen[i + 9][0] - seen[i][0]
    begin, end = tenth(1), tenth(90)
    if end > begin * SPEED:
        wrong.append(f"the last tenth took {end:.2f} s, the first {begin:.2f} s")
    per_step = lambda seconds: seconds / (9 * every) * 1e6
    row = [
        name, f"{steps:,}", f"{summary['seconds']:.1f} s", f"{first / 1024:.1f} MiB",
        f"{last / 1024:.1f} MiB ({(last / first - 1) * 100:+.1f} %)",
        f"{whole / 1024:.1f} MiB",
        f"{per_step(begin):.1f} µs", f"{per_step(end):.1f} µs ({(end / begin - 1) * 100:+.1f} %)",
        f"{summary['val_loss']:.4f}",
    ]
    return row, wrong


def machine():
    cpu = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gpu-makemore")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE.md")
    args = parser.parse_args()
    lines = [
        "# Long runs",
        "",
        f"`python3 tests/soak.py --out docs/soak.md`, {datetime.date.today()}; {machine()}.",
        "",
        "Memory is the peak of the process so far: after the first hundredth of the steps, and after the last",
        "row of metrics. What comes then, evaluation and above all the picture of the loss, takes more for a",
        "moment: the next column. Times of a step are over nine hundredths of the run, checkpoints included.",
        "",
        "| run | steps | time | memory, 1 % | memory, 99 % | in the end | a step, first tenth | a step, last tenth "
        "| val loss |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, options, steps in RUNS:
            row, wrong = soak(args.binary, name, options, steps, pathlib.Path(folder))
            if row:
                lines.append("| " + " | ".join(row) + " |")
                print(lines[-1])
            for text in wrong:
                print(f"error: {name}: {text}", file=sys.stderr)
                failed = True
    if args.out and not failed:
        args.out.write_text("\n".join(lines) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
