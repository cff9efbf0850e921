#!/usr/bin/env python3
"""Makes benches/results/tuning.md: on software drivers that can be installed anywhere, the fastest of all layouts of a
step, the usual one, and what searches choose.

    cargo build --release --example tune
    python3 benches/tunings.py

All layouts are timed first, in turn. Then the searches are made twice: with the driver's cache of compiled kernels
turned off, as if the device met the program for the first time, and with it. SwiftShader is taken from Debian's package
of Chromium, as in docs/drivers.py. Nothing else should run meanwhile.
"""

import argparse
import datetime
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import drivers  # noqa: E402

SIZES = {
    "the lecture's": [],
    "batch 4": ["--batch-size", "4"],
    "batch 1,024, hidden 1,024": ["--batch-size", "1024", "--n-hidden", "1024"],
    "vocabulary 255": ["--vocab-size", "255"],
    "block 16": ["--block-size", "16"],
}
NO_CACHE = {"MESA_SHADER_CACHE_DISABLE": "true"}
SEARCH = re.compile(r"search \d+: (\S+), .*; (\d+) of (\d+) timed in ([\d.]+) s")


def tune(arguments, environment, shown):
    """What the example prints, by adapter's API and schedule: the usual layout, the times of all, and what the searches
    chose."""
    command = [ROOT / "target/release/examples/tune", *arguments]
    output = subprocess.run(
        command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, stderr=shown, text=True
    ).stdout
    found, here = {}, None
    for line in output.splitlines():
        if heading := re.match(r"'.*' \((\w+), \w+\), (\w+), models at once", line):
            here = found.setdefault(heading.groups(), ["", {}, []])
        elif usual := re.match(r"the usual layout is (\S+)", line):
            here[0] = usual[1]
        elif search := SEARCH.match(line):
            here[2].append((search[1], int(search[2]), int(search[3]), float(search[4])))
        elif row := re.match(r" *((?:resident|staged):\S+) +[\d.]+ +([\d.]+) ", line):
            here[1][row[1]] = float(row[2])
    return found


def chosen(times, usual, searches):
    """What searches chose, in four cells."""
    if not searches:
        return ["-"] * 4
    best = min(times.values())
    # A layout that the table lacks could not be timed.
    took = [times.get(name, float("inf")) for name, *_ in searches]
    good = sum(time <= 1.05 * best for time in took)
    tried, seconds = [sorted(column)[len(searches) // 2] for column in list(zip(*searches))[1::2]]
    return [f"{good} of {len(searches)}", f"{max(took) / times[usual]:.2f}", f"{tried} of {searches[0][2]}", f"{seconds:.2f}"]


def write(rows, version, args):
    """The table as far as it goes."""
    header = ["size", "driver", "schedule", "usual us", "fastest us", "fastest"]
    header += ["within 5 %", "worst / usual", "tried", "s"] * 2
    command = f"python3 benches/tunings.py --searches {args.searches} --first-searches {args.first_searches}"
    lines = [
        "# What a search for a layout takes, beside all layouts",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} cores; SwiftShader of Debian's chromium-common {version}, the others "
        "Mesa's;",
        f"`{command} --milliseconds {args.milliseconds} --budget {args.budget}`.",
        "",
        "The times are those of a step: the first quartile of rounds in which all layouts take turns. *within 5 %*: how",
        "many searches chose a layout that is at most 5 % slower than the fastest of all. *worst / usual*: the slowest",
        "layout that a search chose, in times of the usual one's. *tried* and *s*: how many layouts a search timed, and",
        "for how long it did, in the median. These four stand there twice: for searches with the driver's cache of",
        "compiled kernels turned off, as where a device meets the program for the first time, and for searches that found",
        "all kernels in it. (SwiftShader has no such cache.)",
        "",
        "| " + " | ".join(header) + " |",
        "|---|---|---|--:|--:|---|" + "--:|" * 8,
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    (ROOT / "benches" / "results" / "tuning.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", default="10")
    parser.add_argument("--first-searches", default="3", help="searches without compiled kernels, which take longer")
    parser.add_argument("--milliseconds", default="500", help="how long each layout is timed")
    parser.add_argument("--budget", default="0.3", help="seconds of a search")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        version, environment = drivers.swiftshader(folder)
        adapters = {
            "lavapipe": ("(vulkan,", {}),
            "llvmpipe": ("(gl,", {}),
            "SwiftShader": ("(vulkan,", environment),
        }
        for size, arguments in SIZES.items():
            for driver, (api, its) in adapters.items():
                these = [*arguments, "--gpu", api]
                everything = tune([*these, "--searches", "0", "--milliseconds", args.milliseconds], its, sys.stderr)
                only = [*these, "--first", "0", "--budget", args.budget, "--searches"]
                first_time = tune([*only, args.first_searches], its | NO_CACHE, sys.stderr)
                again = tune([*only, args.searches], its, sys.stderr)
                for key, (usual, times, _) in everything.items():
                    if usual not in times:
                        continue
                    best = min(times, key=times.get)
                    row = [
                        size, driver, key[1], f"{times[usual]:,.0f}", f"{times[best]:,.0f}", f"`{best}`",
                        *chosen(times, usual, first_time[key][2]), *chosen(times, usual, again[key][2]),
                    ]
                    print(" | ".join(row), flush=True)
                    rows.append(row)
                write(rows, version, args)


if __name__ == "__main__":
    main()
