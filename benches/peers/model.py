"""What every peer needs: the lecture's data, its initial values and a timer."""

import pathlib
import random
import statistics
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK, EMBD, HIDDEN, BATCH, VOCAB = 3, 10, 200, 32, 27


def examples():
    """Xtr, Ytr of the lecture, as lists."""
    words = (ROOT / "data" / "names.txt").read_text().split()
    random.seed(42)
    random.shuffle(words)
    xs, ys = [], []
    for word in words[: int(0.8 * len(words))]:
        context = [0] * BLOCK
        for character in word + ".":
            token = 0 if character == "." else ord(character) - 96
            xs.append(context)
            ys.append(token)
            context = context[1:] + [token]
    return xs, ys


def microseconds(run, steps, rounds=5):
    """Median time of a step over some rounds of `steps` steps, after one round that warms up."""
    run(steps)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run(steps)
        times.append((time.perf_counter() - start) / steps * 1e6)
    return statistics.median(times)
