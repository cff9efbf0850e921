#!/usr/bin/env python3
"""Makes benches/results/phases.md: what each phase of the resident kernel costs in a step of the lecture, and each
barrier between phases.

    cargo build --release
    python3 benches/phases.py --backend vulkan

A driver times a launch, and the whole training is one. So the program trains with the kernel in which a phase is done
twice (`--shaders`), in turn with its own: the difference is the phase. What it trains then is no longer the lecture's
model, but takes the same time. Of several runs the fastest counts, for what disturbs one makes it slower. Nothing else
should run meanwhile.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "gpu-makemore"
KERNEL = Path("resident") / "train.wgsl"
BARRIER = "phase_ends"


def phases(text):
    """The calls in a step of training, in their order."""
    body = text[text.index("let lr = ") : text.index("done += 1u;")]
    return list(dict.fromkeys(re.findall(r"^ +((\w+)\(.*\);)$", body, re.MULTILINE)))


def twice(text, call):
    """The kernel with a call made twice, wherever a step makes it; and how often that is."""
    start, end = text.index("let lr = "), text.index("done += 1u;")
    body, times = re.subn(rf"\b{re.escape(call)}", f"{call} {call}", text[start:end])
    return text[:start] + body + text[end:], times


def step(folder, shaders, args):
    """Microseconds per step, and the layout."""
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    command = [PROGRAM, "train", "--backend", args.backend, "--schedule", "resident", "--shaders", shaders, "--out", out]
    command += ["--steps", str(args.steps), "--tuning" if args.tuning else "--tune", args.tuning or "off"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    summary = json.loads((out / "summary.json").read_text())
    return 1e6 / summary["steps_per_second"], summary


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="vulkan")
    parser.add_argument("--tuning", help="a layout; by default the usual one")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=6)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        own = folder / "own"
        subprocess.run([PROGRAM, "shaders", own], check=True, stdout=subprocess.DEVNULL)
        # The file is changed in both, or the program's own kernel would be taken and its layout searched for.
        text = (own / KERNEL).read_text()
        (own / KERNEL).write_text(text + "// as it is\n")
        rows, wholes = [], []
        for call, name in phases(text):
            changed = folder / name
            shutil.copytree(own, changed)
            doubled, times = twice(text, call)
            (changed / KERNEL).write_text(doubled)
            step(folder, changed, args)  # compiles it
            longer = []
            for _ in range(args.runs):
                whole, summary = step(folder, own, args)
                wholes.append(whole)
                longer.append(step(folder, changed, args)[0])
            rows.append([name, times, min(longer)])
            print(f"{name}: {rows[-1][2]:.1f} us, and {min(wholes):.1f} without it", flush=True)
    whole = min(wholes)
    rows = [[name, times, longer - whole] for name, times, longer in rows]
    lines = [
        "# What the phases of the resident kernel cost",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} cores; {summary['adapter']}, {summary['driver']}, `{summary['tuning']}`;",
        f"`python3 benches/phases.py --backend {args.backend} --steps {args.steps} --runs {args.runs}`.",
        "",
        f"A step of the lecture took {whole:.0f} us. Each phase: how much longer it took with that phase done twice. The",
        "barriers are all of a step together.",
        "",
        "| phase | us | of a step |",
        "|---|--:|--:|",
    ]
    for name, times, cost in rows:
        name = f"{times} barriers" if name == BARRIER else f"`{name}`"
        lines.append(f"| {name} | {cost:.1f} | {100 * cost / whole:.0f} % |")
    lines.append(f"| together | {sum(cost for *_, cost in rows):.1f} | {100 * sum(c for *_, c in rows) / whole:.0f} % |")
    (ROOT / "benches" / "results" / "phases.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
