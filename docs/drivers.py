#!/usr/bin/env python3
"""Makes docs/drivers.md: how far each software driver's gradients are from the f64 reference, and
what `gpu-makemore adapters --probe` finds out about it.

    cargo build --release
    python3 docs/drivers.py

It runs `gpu-makemore gradcheck --json` and the probe on lavapipe (Vulkan) and llvmpipe (OpenGL),
which `tests/run` installs, and on SwiftShader (Vulkan), which Debian packs with Chromium: the
package is downloaded to a temporary folder and nothing is installed. A driver that is not there is
an error, so that the table is never half of one by accident.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PROGRAM = DOCS.parent / "target" / "release" / "gpu-makemore"


def swiftshader(folder):
    """Downloads SwiftShader into `folder`: its version, and what makes Vulkan use it alone."""
    run = lambda *command: subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    run("apt-get", "download", "-q", "chromium-common")
    (package,) = Path(folder).glob("*.deb")
    run("dpkg-deb", "-x", package.name, ".")
    version = run("dpkg-deb", "-f", package.name, "Version").strip()
    manifest = str(Path(folder) / "usr/lib/chromium/vk_swiftshader_icd.json")
    # The second name is the one that loaders before 1.3.207 know.
    return version, {"VK_DRIVER_FILES": manifest, "VK_ICD_FILENAMES": manifest}


def gradcheck(backend, adapter, environment={}):
    command = [PROGRAM, "gradcheck", "--json", "--backend", backend, "--adapter", adapter]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    # 1 is a check that failed, and belongs in the table; it has printed its JSON all the same.
    if not done.stdout:
        sys.exit(f"{' '.join(map(str, command))} printed nothing")
    return json.loads(done.stdout)


def probe(api, adapter, environment={}):
    """What was found out about an adapter, line by line."""
    command = [PROGRAM, "adapters", "--probe"]
    done = subprocess.run(
        command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    for block in done.stdout.split("\n\n"):
        title, *lines = block.splitlines()
        if adapter in title and f"({api}, " in title:
            # A finding has its name in the first 17 columns; how long it took is none.
            findings = [line for line in lines if not line.startswith("  probed in")]
            return {line[2:19].strip(): line[20:] for line in findings}
    sys.exit(f"{adapter} ({api}) was not probed")


def short(value, digits):
    """`5.3e-7`, as the program writes it."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def cell(tensor):
    if tensor is None:
        return "|"  # this driver cannot run that code
    ulps, maxdiff = tensor["max_ulps"], tensor["maxdiff"]
    ulps = "zero" if tensor["zero"] else f"{ulps:,}"
    # JSON has no NaN; the program writes null.
    maxdiff = "NaN" if maxdiff is None else short(maxdiff, 1)
    verdict = "" if tensor["pass"] else " **wrong**"
    return f"{ulps} | {maxdiff}{verdict}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        version, environment = swiftshader(folder)
        reports = {
            "lavapipe": gradcheck("vulkan", "llvmpipe"),
            "llvmpipe": gradcheck("gl", "llvmpipe"),
            "SwiftShader": gradcheck("vulkan", "SwiftShader", environment),
        }
        probes = {
            "lavapipe": probe("vulkan", "llvmpipe"),
            "llvmpipe": probe("gl", "llvmpipe"),
            "SwiftShader": probe("vulkan", "SwiftShader", environment),
        }
    reports["SwiftShader"]["driver"] += f", of Debian's chromium-common {version}"

    first = reports["lavapipe"]
    sizes = ", ".join(
        f"{name} {first[key]}"
        for name, key in [("vocab", "vocab_size"), ("block", "block_size"), ("embd", "n_embd"),
                          ("hidden", "n_hidden"), ("batch", "batch_size")]
    )
    lines = [
        "# What each driver makes of the kernels",
        "",
        "The gradients of `gpu-makemore gradcheck` against the f64 reference, on the software drivers that",
        "can be installed anywhere: the largest distance of an element in units of the last place (ULP)",
        "and the largest difference. Each training step is there with the gradients that it stores; those",
        "that none stores are by the lecture's chunked pass. `python3 docs/drivers.py` makes this file.",
        "",
        f"Version {first['version']}, {datetime.date.today()}; {sizes}; default seed.",
        "",
        "| | device | driver |",
        "|---|---|---|",
    ]
    for name, report in reports.items():
        lines.append(f"| {name} | {report['device']} | {report['driver']} |")
    lines += [
        "",
        "| tensor | by | " + " | ".join(f"{name} ULP | maxdiff" for name in reports) + " |",
        "|---|---|" + "--:|--:|" * len(reports),
    ]
    found = [{(t["name"], t["by"]): t for t in r["tensors"]} for r in reports.values()]
    for name, by in dict.fromkeys(key for tensors in found for key in tensors):
        cells = " | ".join(cell(tensors.get((name, by))) for tensors in found)
        lines.append(f"| d{name} | {by} | {cells} |")
    agree = " ".join(
        f"{name}: {sum(t['pass'] for t in report['tensors'])} of {len(report['tensors'])}."
        for name, report in reports.items()
    )
    lines += [
        "",
        f"Within their tolerance: {agree}",
        "",
        "* A thousand ULP are no mistake. They stand at elements near zero, sums whose terms cancel, and",
        "  the error of a sum is that of its terms.",
        "* dlogit_maxes and db1 are zero for any data; what a device computes is rounding. They are held",
        "  against the terms that cancel.",
    ]
    if reports["lavapipe"]["tensors"] == reports["llvmpipe"]["tensors"]:
        lines += [
            "* lavapipe and llvmpipe come out alike: two APIs, but one compiler (LLVM) behind both.",
            "  SwiftShader has another (Subzero), and with it other roundings.",
        ]
    lines += [
        "",
        "## What each driver does",
        "",
        "Before a schedule is used, a few tiny kernels probe the driver, in some milliseconds. A schedule that relies",
        "on something that is wrong is refused. `gpu-makemore adapters --probe` prints this table for the drivers of",
        "your machine. Exit code 1 means that one of them cannot be opened, or can run no schedule.",
        "",
        "| | " + " | ".join(probes) + " |",
        "|---|" + "---|" * len(probes),
    ]
    for name in probes["lavapipe"]:
        lines.append(f"| {name} | " + " | ".join(p[name] for p in probes.values()) + " |")
    lines += [
        "",
        "* Mesa stops an invocation's loops after 65,535 iterations in total, nested loops included, and reports no",
        "  error. A dispatch of the resident schedule has no more steps than stay below that, and every invocation",
        "  counts its steps: a chunk with steps missing is an error, not a result.",
        "* Our tanh is a quotient of polynomials, because the built-in one may be NaN for large numbers.",
        "* min, max and clamp may drop a NaN. Whether a run has diverged is seen on the host, in the",
        "  losses and the parameters, to which a NaN comes by additions and multiplications.",
        "",
        "## Two drivers at a time",
        "",
        "lavapipe and llvmpipe are two drivers that share one LLVM library. The program has one of them at work",
        "at a time: it looks for adapters on one thread, and a command runs on one adapter. Test programs that had",
        "both at work on two threads were seen to abort when they ended (\"double free\"), after all tests had",
        "passed. In 300 runs made to provoke that, all of them on a busy machine, it did not come again, and so",
        "no stack tells which library it was in. Valgrind's memcheck saw nothing that was freed twice or used after",
        "it was freed, neither in this program nor in wgpu or the drivers: both at work on two threads, once with their",
        "devices closed before the end and once with them open, all kernels compiled anew. Since then OpenGL is",
        "tested in a process of its own. What could be seen of it is a program that ends with exit code 134 when it",
        "has done all its work, its files written.",
    ]
    (DOCS / "drivers.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
