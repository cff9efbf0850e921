#!/usr/bin/env python3
"""Rehearses ../sweep-job.yaml without a cluster: checks its form, and runs what its containers would run.

    docs/cluster/rehearse/kubernetes.py [PROGRAM [OUT]]

Its form: every document has to be valid by the schema of Kubernetes, in which no unknown field passes, and
the numbers of an indexed job have to fit together. So that a check that lets everything pass is noticed, the
manifest is also broken in several ways, and each of them has to be found.

What it runs: the container's command, expanded as Kubernetes does it, for each index with
JOB_COMPLETION_INDEX, in a folder that stands for the volume; two at a time. The second is killed in the
middle, and its index is run again, as `restartPolicy: Never` and `backoffLimitPerIndex` have it. No image is
pulled, and no scheduler or volume driver is tried.

Needs: Python 3.9, PyPI's `kubernetes-validate` (which has the schemas), and Linux.
"""

import copy
import datetime
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

VERSION = "1.33"  # the first in which `backoffLimitPerIndex` is stable
HERE = pathlib.Path(__file__).resolve().parent
MANIFEST = HERE.parent / "sweep-job.yaml"
ROOT = HERE.parent.parent.parent


def container(job):
    return job["spec"]["template"]["spec"]["containers"][0]


def check(job):
    """What is wrong with the manifest; nothing if it is right."""
    try:
        kubernetes_validate.validate(job, VERSION, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return f"there is no {job['apiVersion']} {job['kind']}"
    except kubernetes_validate.ValidationError as error:
        path = ".".join(map(str, error.path))
        return f"{path or 'top'}: {error.message[:70]}"
    spec = job["spec"]
    pod = spec["template"]["spec"]
    # What the API server checks beyond the schema.
    if spec.get("completionMode") != "Indexed" or not spec.get("completions"):
        return "only an indexed job with `completions` has JOB_COMPLETION_INDEX"
    if "backoffLimitPerIndex" in spec and pod.get("restartPolicy") != "Never":
        return "`backoffLimitPerIndex` needs `restartPolicy: Never`"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job).get("volumeMounts", [])}
    if not set(mounts) <= volumes:
        return f"a mount has no volume: {sorted(set(mounts) - volumes)}"
    if container(job).get("workingDir") not in mounts.values():
        return "the working folder is not on the volume: results would be lost with the pod"
    shards = re.search(r'--shard "\$shard/(\d+)"', container(job)["command"][-1])
    if not shards or int(shards[1]) != spec["completions"]:
        return f"`completions` is {spec['completions']}, which is not the number of shards in the command"
    return None


def broken(job):
    """The manifest with one mistake, for several mistakes."""

    def mistake(name, change):
        other = copy.deepcopy(job)
        change(other)
        return name, other

    yield mistake("an unknown field", lambda j: j["spec"].update(shards=4))
    yield mistake("an unknown field of the container", lambda j: container(j).update(workDir="/shared"))
    yield mistake("a text for a number", lambda j: j["spec"].update(completions="four"))
    yield mistake("a text for a list", lambda j: container(j).update(command="gpu-makemore sweep"))
    yield mistake("no template", lambda j: j["spec"].pop("template"))
    yield mistake("a misspelt kind", lambda j: j.update(kind="Jobs"))
    yield mistake("no completionMode", lambda j: j["spec"].pop("completionMode"))
    yield mistake("restartPolicy OnFailure", lambda j: j["spec"]["template"]["spec"].update(restartPolicy="OnFailure"))
    yield mistake("no volume", lambda j: j["spec"]["template"]["spec"].pop("volumes"))
    yield mistake("a folder beside the volume", lambda j: container(j).update(workingDir="/tmp"))
    yield mistake("more pods than shards", lambda j: j["spec"].update(completions=5))


def expand(text, environment):
    """Kubernetes' own expansion, before any shell: `$(NAME)` if there is such a variable, and `$$`."""

    def one(match):
        return "$" if match[0] == "$$" else environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


def main():
    program = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/gpu-makemore").resolve()
    out = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="rehearsal.")).resolve()
    (out / "bin").mkdir(parents=True, exist_ok=True)
    if (out / "sweep").exists():
        sys.exit(f"error: {out}/sweep is there already: a rehearsal begins in an empty folder")
    link = out / "bin" / "gpu-makemore"
    link.unlink(missing_ok=True)
    link.symlink_to(program)
    os.environ["PATH"] = f"{out}/bin:{os.environ['PATH']}"
    os.chdir(out)

    def text_of(*command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def shards(*words):
        subprocess.run([sys.executable, HERE / "shards.py", *words], check=True)

    commit = text_of("git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude", "*").strip()
    print(f"docs/cluster/rehearse/kubernetes.py, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}")
    print(f"{text_of('gpu-makemore', '--version').strip()}, commit {commit}")
    system = platform.freedesktop_os_release()["PRETTY_NAME"] if sys.version_info >= (3, 10) else platform.system()
    print(f"{system}, {os.cpu_count()} cores")
    print(
        f"Python {platform.python_version()}, kubernetes-validate {kubernetes_validate.__version__}, "
        f"schema of Kubernetes {VERSION}"
    )
    print("\nThe manifest")
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    if len(documents) != 1:
        sys.exit(f"error: {MANIFEST.name} has {len(documents)} documents, not 1")
    job = documents[0]
    if (wrong := check(job)) is not None:
        sys.exit(f"error: {MANIFEST.name}: {wrong}")
    print(f"{MANIFEST.name} is valid; with one mistake each:")
    for name, other in broken(job):
        if (wrong := check(other)) is None:
            sys.exit(f"error: with {name}, the manifest counts as valid")
        print(f"  {name}: {wrong}")

    print("\nOne machine")
    command = "gpu-makemore sweep --lr 0.05,0.1,0.2 --seeds 4 --steps 20000 --keep 12 --out whole"
    print(f"$ {command}", flush=True)
    with open("whole.log", "w") as log:
        subprocess.run(command.split(), check=True, stdout=log)

    print("\nThe pods' command, with each index", flush=True)
    environment = {variable["name"]: variable["value"] for variable in container(job).get("env", [])}

    def start(index):
        own = {**environment, "JOB_COMPLETION_INDEX": str(index)}
        words = [expand(word, own) for word in container(job)["command"]]
        with open(f"pod-{index}.log", "a") as log:
            return subprocess.Popen(words, env={**os.environ, **own}, stdout=log, stderr=log)

    def ended(index, pod):
        code = pod.wait()
        print(f"index {index}: exit code {code}" if code >= 0 else f"index {index}: {signal.Signals(-code).name}")
        sys.stdout.flush()
        return code

    first, second = start(0), start(1)
    shards("kill", "sweep/2")
    codes = [ended(1, second), ended(0, first)]
    later = [(index, start(index)) for index in (1, *range(2, job["spec"]["completions"]))]
    codes += [ended(*pod) for pod in later]
    if codes != [-signal.SIGKILL] + [0] * job["spec"]["completions"]:
        sys.exit(f"error: exit codes {codes}: one index was to be killed, and all to end well after that")

    print("\nThe whole", flush=True)
    folders = sorted(f"sweep/{path.name}" for path in pathlib.Path("sweep").iterdir())
    print("$ gpu-makemore sweep report " + " ".join(folders))
    report = text_of("gpu-makemore", "sweep", "report", *folders).splitlines()
    # The table, and the line below the plot.
    print("\n".join(report[: report.index("")] + report[-1:]), flush=True)
    shards("kept", "sweep/2")
    print("$ shards.py compare whole " + " ".join(folders), flush=True)
    shards("compare", "whole", *folders)


try:
    main()
except subprocess.CalledProcessError as failed:
    sys.exit(f"error: {failed}")
