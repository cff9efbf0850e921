"""The lecture's step in PyTorch, in the four ways that people run it. Prints `name<TAB>us a step`.

    python benches/peers/torch_peers.py [--device cpu|cuda]
"""

import argparse
import sys

import torch
import torch.nn.functional as F

from model import BATCH, BLOCK, EMBD, HIDDEN, VOCAB, examples, microseconds

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cpu")
parser.add_argument("--threads", type=int, default=1)
device = torch.device(parser.parse_args().device)
torch.set_num_threads(parser.parse_args().threads)

xs, ys = examples()
Xtr, Ytr = torch.tensor(xs, device=device), torch.tensor(ys, device=device)


def parameters():
    g = torch.Generator().manual_seed(2147483647)
    C = torch.randn((VOCAB, EMBD), generator=g)
    W1 = torch.randn((EMBD * BLOCK, HIDDEN), generator=g) * (5 / 3) / ((EMBD * BLOCK) ** 0.5)
    b1 = torch.randn(HIDDEN, generator=g) * 0.1
    W2 = torch.randn((HIDDEN, VOCAB), generator=g) * 0.1
    b2 = torch.randn(VOCAB, generator=g) * 0.1
    bngain = torch.randn((1, HIDDEN), generator=g) * 0.1 + 1.0
    bnbias = torch.randn((1, HIDDEN), generator=g) * 0.1
    return [p.to(device) for p in (C, W1, b1, W2, b2, bngain, bnbias)]


def batch():
    ix = torch.randint(0, Xtr.shape[0], (BATCH,), device=device)
    return Xtr[ix], Ytr[ix]


def forward(params, Xb, Yb):
    C, W1, b1, W2, b2, bngain, bnbias = params
    n = BATCH
    emb = C[Xb]
    embcat = emb.view(n, -1)
    hprebn = embcat @ W1 + b1
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar = hprebn.var(0, keepdim=True, unbiased=True)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = (hprebn - bnmean) * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    return emb, embcat, bnvar_inv, bnraw, h, logits, F.cross_entropy(logits, Yb)


def manual(params, Xb, Yb, loop):
    """The notebook's exercise 4; `loop` as its Python loop for dC, else by index_put_."""
    C, W1, b1, W2, b2, bngain, bnbias = params
    n = BATCH
    emb, embcat, bnvar_inv, bnraw, h, logits, loss = forward(params, Xb, Yb)
    dlogits = F.softmax(logits, 1)
    dlogits[range(n), Yb] -= 1
    dlogits /= n
    dh = dlogits @ W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
    dbnbias = dhpreact.sum(0, keepdim=True)
    dhprebn = bngain * bnvar_inv / n * (
        n * dhpreact - dhpreact.sum(0) - n / (n - 1) * bnraw * (dhpreact * bnraw).sum(0)
    )
    dembcat = dhprebn @ W1.T
    dW1 = embcat.T @ dhprebn
    db1 = dhprebn.sum(0)
    demb = dembcat.view(emb.shape)
    dC = torch.zeros_like(C)
    if loop:
        for k in range(Xb.shape[0]):
            for j in range(Xb.shape[1]):
                dC[Xb[k, j]] += demb[k, j]
    else:
        dC.index_put_((Xb,), demb, accumulate=True)
    return [dC, dW1, db1, dW2, db2, dbngain, dbnbias], loss


def manual_step(params, Xb, Yb, loop=False):
    with torch.no_grad():
        grads, loss = manual(params, Xb, Yb, loop)
        for p, grad in zip(params, grads):
            p += -0.1 * grad
        return loss


def autograd_step(params, Xb, Yb):
    for p in params:
        p.requires_grad_(True)
        p.grad = None
    loss = forward(params, Xb, Yb)[-1]
    loss.backward()
    with torch.no_grad():
        for p in params:
            p += -0.1 * p.grad
    return loss


def check():
    """A fast wrong step is worth no time: both backward passes must agree."""
    Xb, Yb = batch()
    params = parameters()
    grads, _ = manual(params, Xb, Yb, loop=False)
    for p in params:
        p.requires_grad_(True)
    forward(params, Xb, Yb)[-1].backward()
    for p, grad in zip(params, grads):
        assert torch.allclose(p.grad, grad, rtol=1e-4, atol=1e-6)


def report(name, step, steps):
    params = parameters()

    def run(count):
        for _ in range(count):
            loss = step(params, *batch())
        loss.item()  # waits for the device

    print(f"{name}\t{microseconds(run, steps):.1f}", flush=True)


check()
report("PyTorch, the notebook's loop", lambda p, x, y: manual_step(p, x, y, loop=True), 200)
report("PyTorch, manual backward", manual_step, 1000)
report("PyTorch, autograd", autograd_step, 1000)
try:
    report("PyTorch, torch.compile of the manual step", torch.compile(manual_step), 1000)
except Exception as error:  # it needs a C++ compiler, which a machine may lack
    print(f"torch.compile: not timed: {str(error).splitlines()[0]}", file=sys.stderr)
