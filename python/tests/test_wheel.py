"""The wheel: what is in it, and that it works where there is nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from lecture import ROOT

WHEEL = os.environ.get("GPU_MAKEMORE_WHEEL")
pytestmark = pytest.mark.skipif(not WHEEL, reason="GPU_MAKEMORE_WHEEL names no wheel; python/wheel makes one")

USE = """
import gpu_makemore, numpy, sys
sys.path.append({tests!r})
from lecture import notebook
print(gpu_makemore.program())
assert gpu_makemore.check(notebook(numpy), show=False).passed
run = gpu_makemore.train(steps=100, show=False)
assert len(run.sample(3)) == 3
"""


def test_it_has_the_program_the_package_and_the_licences() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]  # type: ignore[index]
    with zipfile.ZipFile(str(WHEEL)) as wheel:
        files = {entry.filename: entry for entry in wheel.infolist()}
        info = f"gpu_makemore-{version}.dist-info"
        assert files[f"gpu_makemore-{version}.data/scripts/gpu-makemore"].external_attr >> 16 & 0o111
        package = (ROOT / "python/gpu_makemore").iterdir()
        sources = {f"gpu_makemore/{path.name}" for path in package if path.suffix in (".py", ".typed")}
        assert {name for name in files if name.startswith("gpu_makemore/")} == sources
        assert "gpu_makemore/py.typed" in sources
        for name in ("LICENSE-MIT", "LICENSE-APACHE"):
            assert wheel.read(f"{info}/licenses/{name}") == (ROOT / name).read_bytes()
        notices = wheel.read(f"{info}/licenses/THIRD-PARTY.txt").decode()
        for crate in ("wgpu ", "naga ", "clap ", "safetensors ", "dejavu "):
            assert re.search(rf"^{crate}\d+\.\d+.*: .+$", notices, re.MULTILINE), crate
        assert "Permission is hereby granted" in notices and "criterion " not in notices
        metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
        assert metadata["Version"] == version
        needs = [need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need]
        assert sorted(re.split(r"[><=]", need)[0] for need in needs) == ["numpy", "safetensors"]
        assert str(metadata.get_payload()).strip() == (ROOT / "python/README.md").read_text("utf-8").strip()
        # Nobody needs to know where it was built.
        for name in files:
            if "/scripts/" not in name:
                assert str(ROOT).encode() not in wheel.read(name), name


def test_it_works_in_a_new_environment(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    scripts = folder / "venv/bin"
    subprocess.run(
        [scripts / "pip", "install", "--quiet", "--disable-pip-version-check", str(WHEEL)], check=True
    )
    # Not even the environment's own folder is on the path: a notebook's kernel may be started like that.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    code = USE.format(tests=str(Path(__file__).parent))
    ended = subprocess.run(
        [scripts / "python", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == str(scripts / "gpu-makemore")
    train = [str(scripts / "gpu-makemore"), "train", "--steps", "100", "--out", "run"]
    ended = subprocess.run(train, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0 and "the model is in run/model.safetensors" in ended.stdout, ended.stderr
