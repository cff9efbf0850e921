#!/usr/bin/env python3
"""Compares the speed of two builds of the program, run by run in turn, and prints a Markdown table.

    python3 benches/pairs.py BEFORE AFTER [--pairs 9] [--adapter llvmpipe]

BEFORE and AFTER are paths of gpu-makemore. Steps per second are those of summary.json, which leaves the set-up
out. Which of the two begins alternates, because a machine's speed drifts.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

LECTURE = ["--steps"]
LARGE = ["--n-hidden", "1024", "--batch-size", "1024", "--steps"]


def settings(adapter):
    """What is trained, by its name in the table."""
    vulkan = ["--backend", "vulkan", "--adapter", adapter, "--schedule"]
    return {
        "cpu": ["--backend", "cpu", *LECTURE, "200000"],
        "resident": [*vulkan, "resident", *LECTURE, "6000"],
        "staged": [*vulkan, "staged", *LECTURE, "3000"],
        "staged, hidden 1,024, batch 1,024": [*vulkan, "staged", *LARGE, "24"],
    }


def train(program, options):
    """Steps per second and seconds of set-up of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [program, "train", "--out", out, *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        summary = json.loads((out / "summary.json").read_text())
    return summary["steps_per_second"], summary["setup_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--adapter", default="llvmpipe")
    args = parser.parse_args()
    programs = [args.before.resolve(), args.after.resolve()]
    print("| | steps/s before | after | ratio of medians | pairs, median | set-up before | after |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, options in settings(args.adapter).items():
        runs = ([], [])
        for pair in range(args.pairs):
            for which in (0, 1) if pair % 2 == 0 else (1, 0):
                runs[which].append(train(programs[which], options))
        speeds = [[speed for speed, _ in of] for of in runs]
        before, after = (statistics.median(speed) for speed in speeds)
        ratios = [b / a for a, b in zip(*speeds, strict=True)]
        pairs = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        setups = [f"{1e3 * statistics.median(setup for _, setup in of):.0f} ms" for of in runs]
        print(f"| {name} | {before:,.1f} | {after:,.1f} | {after / before:.3f} | {pairs} | {setups[0]} | {setups[1]} |", flush=True)


if __name__ == "__main__":
    main()
