"""The lecture's notebook up to the end of exercise 1, in NumPy or in JAX: one minibatch, the forward pass line by
line, and the backward pass by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BLOCK, EMBD, HIDDEN, BATCH = 3, 10, 64, 32


def words() -> list[str]:
    """The names, in the order of the file."""
    return (ROOT / "data/names.txt").read_text().splitlines()


def contexts(some: list[str], stoi: dict[str, int]) -> tuple[list[list[int]], list[int]]:
    """The lecture's build_dataset."""
    X, Y = [], []
    for word in some:
        context = [0] * BLOCK
        for letter in word + ".":
            X.append(context)
            Y.append(stoi[letter])
            context = [*context[1:], stoi[letter]]
    return X, Y


def notebook(xp: Any, dtype: str = "float32", forgetful: bool = False) -> dict[str, Any]:
    """The variables; with `forgetful`, the second use of bndiff is left out of its gradient."""
    import numpy as np

    some = words()
    stoi = {letter: token for token, letter in enumerate(["."] + sorted(set("".join(some))))}
    random.seed(42)
    random.shuffle(some)
    xs, ys = contexts(some[:2000], stoi)
    n, vocab = BATCH, len(stoi)
    rng = np.random.default_rng(2147483647)
    ix = rng.integers(0, len(xs), n)
    Xb, Yb = xp.asarray(np.array(xs)[ix]), xp.asarray(np.array(ys)[ix])

    def randn(*shape: int) -> Any:
        return rng.standard_normal(shape)

    fan_in = BLOCK * EMBD
    drawn = [
        randn(vocab, EMBD),
        randn(fan_in, HIDDEN) * (5 / 3) / fan_in**0.5,
        randn(HIDDEN) * 0.1,
        randn(HIDDEN, vocab) * 0.1,
        randn(vocab) * 0.1,
        randn(1, HIDDEN) * 0.1 + 1.0,
        randn(1, HIDDEN) * 0.1,
    ]
    C, W1, b1, W2, b2, bngain, bnbias = (xp.asarray(values.astype(dtype)) for values in drawn)
    x_hot = xp.eye(vocab, dtype=dtype)[Xb.reshape(-1)]
    y_hot = xp.eye(vocab, dtype=dtype)[Yb]

    emb = C[Xb]
    embcat = emb.reshape(n, -1)
    hprebn = embcat @ W1 + b1
    bnmeani = 1 / n * hprebn.sum(0, keepdims=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / (n - 1) * bndiff2.sum(0, keepdims=True)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = xp.tanh(hpreact)
    logits = h @ W2 + b2
    logit_maxes = logits.max(1, keepdims=True)
    norm_logits = logits - logit_maxes
    counts = xp.exp(norm_logits)
    counts_sum = counts.sum(1, keepdims=True)
    counts_sum_inv = counts_sum**-1.0
    probs = counts * counts_sum_inv
    logprobs = xp.log(probs)

    dlogprobs = -1.0 / n * y_hot
    dprobs = dlogprobs / probs
    dcounts_sum_inv = (counts * dprobs).sum(1, keepdims=True)
    dcounts_sum = -(counts_sum**-2.0) * dcounts_sum_inv
    dcounts = counts_sum_inv * dprobs + xp.ones_like(counts) * dcounts_sum
    dnorm_logits = counts * dcounts
    dlogit_maxes = -dnorm_logits.sum(1, keepdims=True)
    dlogits = dnorm_logits + xp.eye(vocab, dtype=dtype)[logits.argmax(1)] * dlogit_maxes
    dh = dlogits @ W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0, keepdims=True)
    dbnbias = dhpreact.sum(0, keepdims=True)
    dbnraw = bngain * dhpreact
    dbnvar_inv = (bndiff * dbnraw).sum(0, keepdims=True)
    dbnvar = -0.5 * (bnvar + 1e-5) ** -1.5 * dbnvar_inv
    dbndiff2 = 1.0 / (n - 1) * xp.ones_like(bndiff2) * dbnvar
    dbndiff = bnvar_inv * dbnraw
    if not forgetful:
        dbndiff = dbndiff + 2 * bndiff * dbndiff2
    dbnmeani = -dbndiff.sum(0, keepdims=True)
    dhprebn = dbndiff + 1.0 / n * xp.ones_like(hprebn) * dbnmeani
    dembcat = dhprebn @ W1.T
    dW1 = embcat.T @ dhprebn
    db1 = dhprebn.sum(0)
    demb = dembcat.reshape(emb.shape)
    dC = x_hot.T @ demb.reshape(-1, EMBD)
    hidden = {
        "xp",
        "dtype",
        "forgetful",
        "np",
        "some",
        "xs",
        "ys",
        "rng",
        "ix",
        "randn",
        "drawn",
        "x_hot",
        "y_hot",
    }
    return {name: value for name, value in locals().items() if name not in hidden}
