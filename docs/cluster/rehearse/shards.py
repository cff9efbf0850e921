#!/usr/bin/env python3
"""What the rehearsals share: kill a shard in the middle, and compare a sweep in shards with one in one go.

    shards.py kill FOLDER               waits until the shard in FOLDER has a result, and kills its program
    shards.py kept FOLDER               fails unless the shard still has the results from before the kill
    shards.py compare WHOLE FOLDER...   fails unless the shards are the sweep in WHOLE, bit for bit

`compare` looks at sweep.json (all but `shard`), at each model's options, status and three losses in
results.jsonl, and at the tensors in models/N.safetensors: their table (names, types, shapes) and all their
bytes. It leaves out what may differ: `seconds`, the order of the results, and what trained the model
(`backend`, `adapter`, `schedule`, and the text beside the tensors, which repeats the options). Every model
must have been kept: `--keep` no smaller than the number of models, in each folder.

Needs Python 3.9, and Linux for `kill`, which finds the program in /proc.
"""

import hashlib
import json
import os
import pathlib
import signal
import sys
import time

PATIENCE = 300  # seconds


def lines(folder):
    """The complete lines of a folder's results."""
    try:
        data = (folder / "results.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)


def sweep(folder):
    """What a folder says of the sweep, and the shard I/N that it has."""
    manifest = json.loads((folder / "sweep.json").read_text())
    return manifest, tuple(map(int, manifest.pop("shard").split("/")))


def before(folder):
    """The file that remembers the results from before the kill."""
    return folder.parent.with_name(f"{folder.parent.name}-{folder.name}.before")


def trainers(folder):
    """The processes that train in this folder."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            out = words[words.index(b"--out") + 1]
            place = pathlib.Path(os.readlink(process / "cwd"), os.fsdecode(out))
        except (OSError, ValueError, IndexError):
            continue  # another program, or one that has just ended
        is_ours = words[0].endswith(b"gpu-makemore") and words[1] == b"sweep"
        if is_ours and place.resolve() == folder.resolve():
            found.append(int(process.name))
    return found


def wait(what, condition):
    """Waits until the condition gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            sys.exit(f"error: {what}: nothing in {PATIENCE} s")
        time.sleep(0.02)
    return found


def kill(folder):
    wait(f"{folder} gets a result", lambda: lines(folder))
    pids = trainers(folder)
    if len(pids) != 1:
        sys.exit(f"error: {len(pids)} processes train in {folder}, not 1")
    os.kill(pids[0], signal.SIGKILL)
    wait(f"the program in {folder} is gone", lambda: not trainers(folder))
    manifest, (index, of) = sweep(folder)
    models, done = len(range(index - 1, manifest["total"], of)), lines(folder)
    if not 0 < len(done) < models:
        sys.exit(f"error: {folder} had {len(done)} of {models} models: that is not the middle")
    before(folder).write_bytes(b"".join(done))
    print(f"killed {folder} by SIGKILL: {len(done)} of its {models} models had ended")


def kept(folder):
    old, new = before(folder).read_bytes(), b"".join(lines(folder))
    if not new.startswith(old) or len(new) == len(old):
        sys.exit(f"error: {folder} has not continued from the results that it had when it was killed")
    print(f"{folder} kept the results that it had, and added the others")


def tensors(path):
    """The table of a safetensors file and the bytes behind it."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:start])
    table.pop("__metadata__", None)
    if sum(end - begin for begin, end in (t["data_offsets"] for t in table.values())) != len(data) - start:
        sys.exit(f"error: {path} is cut off, or longer than its tensors")
    return json.dumps(table, sort_keys=True), data[start:]


def results(folder):
    """What must be equal of each result, by point."""
    found = {}
    for line in lines(folder):
        record = json.loads(line, parse_float=str)  # the digits themselves, so nothing is rounded
        point = record["point"]
        if point in found:
            sys.exit(f"error: point {point} is in {folder} twice")
        names = ["options", "status", "train_loss", "val_loss", "test_loss", "diverged"]
        found[point] = {name: record.get(name) for name in names}
    return found


def compare(whole, *folders):
    manifest, shard = sweep(whole)
    if shard != (1, 1):
        sys.exit(f"error: {whole} is shard {shard[0]} of {shard[1]}, not a whole sweep")
    place = {}
    for folder in folders:
        other, (index, of) = sweep(folder)
        if other != manifest:
            sys.exit(f"error: {folder} is of another sweep than {whole}")
        if of != len(folders):
            sys.exit(f"error: {folder} is one of {of} shards, and {len(folders)} folders are given")
        if index in place:
            sys.exit(f"error: {folder} and {place[index]} are the same shard")
        place[index] = folder
    expected, total = results(whole), manifest["total"]
    if sorted(expected) != list(range(total)):
        sys.exit(f"error: {whole} has results of {len(expected)} points, not {total}")
    found = {folder: results(folder) for folder in folders}
    print("point  shard  val loss  sha256 of the tensors")
    for point in range(total):
        index = point % len(folders) + 1
        folder = place[index]
        if point not in found[folder]:
            sys.exit(f"error: point {point} is missing in {folder}")
        ours, theirs = expected[point], found[folder].pop(point)
        if ours != theirs:
            sys.exit(f"error: point {point} differs in {folder}: {theirs}, and in {whole}: {ours}")
        if ours["status"] == "diverged":
            print(f"{point:5}  {index:5}  diverged")
            continue
        models = [at / "models" / f"{point}.safetensors" for at in (whole, folder)]
        for path in models:
            if not path.exists():
                sys.exit(f"error: there is no {path}: was --keep too small?")
        ours, theirs = map(tensors, models)
        if ours != theirs:
            sys.exit(f"error: the tensors of {models[1]} are not those of {models[0]}")
        loss = float(expected[point]["val_loss"])
        print(f"{point:5}  {index:5}  {loss:8.4f}  {hashlib.sha256(theirs[1]).hexdigest()}")
    for folder, left in found.items():
        if left:
            sys.exit(f"error: {folder} has points of other shards: {sorted(left)}")
    print(f"{total} models in {len(folders)} shards: losses and tensors are those of the one-machine sweep, bit for bit")


def main():
    commands = {"kill": (kill, 1, 1), "kept": (kept, 1, 1), "compare": (compare, 2, None)}
    name, *paths = sys.argv[1:] or [""]
    command, least, most = commands.get(name, (None, 0, 0))
    if command is None or len(paths) < least or (most and len(paths) > most):
        sys.exit(__doc__)
    command(*map(pathlib.Path, paths))


main()
