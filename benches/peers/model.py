"""What every peer needs: the lecture's data, its initial values, a step to be held against, a timer."""

import argparse
import json
import random
import statistics
import time

import numpy as np

from words import CHARACTERS, words

BLOCK, EMBD = 3, 10
NAMES = ("C", "W1", "b1", "W2", "b2", "bngain", "bnbias")
LR = 0.1


def arguments(description):
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--characters", type=int, default=CHARACTERS, metavar="N",
        help="in the vocabulary, the end mark among them: another number than that of the names takes made-up words",
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round; five are timed")
    parser.add_argument("--first", action="store_true", help="print the loss of one step, and stop")
    return parser


def examples(characters=CHARACTERS):
    """Xtr, Ytr, as in the lecture."""
    shuffled = words(characters)
    letters = sorted(set("".join(shuffled)))
    assert len(letters) + 1 == characters
    tokens = {letter: token for token, letter in enumerate(letters, 1)}
    random.seed(42)
    random.shuffle(shuffled)
    xs, ys = [], []
    for word in shuffled[: int(0.8 * len(shuffled))]:
        context = [0] * BLOCK
        for token in [*(tokens[letter] for letter in word), 0]:
            xs.append(context)
            ys.append(token)
            context = context[1:] + [token]
    return np.array(xs), np.array(ys)


def initial_values(hidden, characters=CHARACTERS):
    """Seven arrays, spread as the lecture's."""
    rng = np.random.default_rng(2147483647)
    fan_in = BLOCK * EMBD
    embedding, second = (characters, EMBD), (hidden, characters)
    shapes = [embedding, (fan_in, hidden), (hidden,), second, (characters,), (1, hidden), (1, hidden)]
    scales = [1.0, (5 / 3) / fan_in**0.5, 0.1, 0.1, 0.1, 0.1, 0.1]
    params = [rng.standard_normal(shape) * scale for shape, scale in zip(shapes, scales)]
    params[5] += 1.0  # bngain
    return [p.astype(np.float32) for p in params]


def reference_step(params, X, Y):
    """The loss, and the parameters after one step: the notebook's exercise 4 in f64."""
    C, W1, b1, W2, b2, bngain, bnbias = params = [p.astype(np.float64) for p in params]
    n = len(Y)
    embcat = C[X].reshape(n, -1)
    hprebn = embcat @ W1 + b1
    bnvar_inv = (hprebn.var(0, ddof=1, keepdims=True) + 1e-5) ** -0.5
    bnraw = (hprebn - hprebn.mean(0, keepdims=True)) * bnvar_inv
    h = np.tanh(bngain * bnraw + bnbias)
    logits = h @ W2 + b2
    logits -= logits.max(1, keepdims=True)
    probs = np.exp(logits)
    probs /= probs.sum(1, keepdims=True)
    loss = -np.log(probs[np.arange(n), Y]).mean()

    dlogits = probs.copy()
    dlogits[np.arange(n), Y] -= 1
    dlogits /= n
    dhpreact = (1 - h**2) * (dlogits @ W2.T)
    dhprebn = bngain * bnvar_inv / n * (
        n * dhpreact - dhpreact.sum(0) - n / (n - 1) * bnraw * (dhpreact * bnraw).sum(0)
    )
    dC = np.zeros_like(C)
    np.add.at(dC, X, (dhprebn @ W1.T).reshape(n, BLOCK, EMBD))
    grads = [
        dC,
        embcat.T @ dhprebn,
        dhprebn.sum(0),
        h.T @ dlogits,
        dlogits.sum(0),
        (bnraw * dhpreact).sum(0, keepdims=True),
        dhpreact.sum(0, keepdims=True),
    ]
    return loss, [p - LR * grad for p, grad in zip(params, grads)]


def check_steps(name, before, batches, losses, after):
    """Fails unless some steps went where the reference's go: a fast wrong step is worth no time."""
    want = before
    for i, ((X, Y), loss) in enumerate(zip(batches, losses, strict=True)):
        want_loss, want = reference_step(want, X, Y)
        assert abs(loss - want_loss) <= 1e-3, f"{name}: loss {loss} in step {i}, reference {want_loss}"
    for tensor, p, got, right in zip(NAMES, before, after, want, strict=True):
        # The rounding of the stored f32 values, and 1 % of the updates: a wrong formula is further off.
        allowed = 1e-6 + 0.01 * np.abs(right - p).max()
        off = np.abs(got - right).max()
        assert off <= allowed, f"{name}: {tensor} is off by {off:.1e}, allowed {allowed:.1e}"


def microseconds(run, seconds, rounds=5):
    """Times of a step, one a round; a round is one call of `run(steps)` of about `seconds`."""
    run(10)  # compiles
    start = time.perf_counter()
    run(10)
    steps = round(10 * seconds / (time.perf_counter() - start))
    steps = max(10, min(steps, 10_000))
    run(steps)  # compiles too: in JAX the length is part of a scan
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run(steps)
        times.append((time.perf_counter() - start) / steps * 1e6)
    return times


def report(name, times, **more):
    """A line for run.py, which a person can read too."""
    rounds = [round(time, 3) for time in times]
    print(json.dumps({"name": name, "us": statistics.median(rounds), "rounds": rounds} | more), flush=True)
