"""The lecture's step in PyTorch, in the ways that people run it: a line of JSON each.

    python benches/peers/torch_peers.py [--device cuda] [--hidden 2048 --batch 4096] [--threads 2]
"""

import statistics
import sys

import torch
import torch.nn.functional as F

from model import LR, arguments, check_steps, examples, initial_values, microseconds, report

parser = arguments(__doc__)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--only", nargs="+", choices=("loop", "manual", "autograd", "compile", "graph"))
parser.add_argument("--ceiling", action="store_true", help="only the speed of a large f32 product")
args = parser.parse_args()

if args.device == "cuda" and not torch.cuda.is_available():
    sys.exit("this PyTorch sees no CUDA device: https://pytorch.org/get-started/locally names the right one")
torch.set_num_threads(args.threads)
torch.set_float32_matmul_precision("highest")  # f32 as everywhere here, not TF32
device = torch.device(args.device)
n = args.batch
rows = torch.arange(n, device=device)

xs, ys = examples(args.characters)
Xtr, Ytr = torch.tensor(xs, device=device), torch.tensor(ys, device=device)


def parameters():
    return [torch.tensor(p, device=device) for p in initial_values(args.hidden, args.characters)]


def draw(out=None):
    return torch.randint(0, Xtr.shape[0], (n,), device=device, out=out)


def forward(params, Xb, Yb):
    C, W1, b1, W2, b2, bngain, bnbias = params
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
    """The notebook's exercise 4; `loop` as its Python loop for dC, else by index_add_."""
    C, W1, b1, W2, b2, bngain, bnbias = params
    emb, embcat, bnvar_inv, bnraw, h, logits, loss = forward(params, Xb, Yb)
    dlogits = F.softmax(logits, 1)
    # The notebook says range(n). On a GPU that would be copied there in every step.
    dlogits[rows, Yb] -= 1
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
        dC.index_add_(0, Xb.view(-1), demb.view(-1, demb.shape[-1]))
    return [dC, dW1, db1, dW2, db2, dbngain, dbnbias], loss


@torch.no_grad()
def manual_step(params, Xb, Yb, loop=False):
    grads, loss = manual(params, Xb, Yb, loop)
    for p, grad in zip(params, grads):
        p += -LR * grad
    return loss


def loop_step(params, Xb, Yb):
    return manual_step(params, Xb, Yb, loop=True)


def autograd_step(params, Xb, Yb):
    for p in params:
        p.requires_grad_(True)
        p.grad = None
    loss = forward(params, Xb, Yb)[-1]
    loss.backward()
    with torch.no_grad():
        for p in params:
            p += -LR * p.grad
    return loss


def eager(step):
    """A way to run: from parameters to a function that does the step of the examples `ix`."""
    return lambda params: lambda ix: step(params, Xtr[ix], Ytr[ix])


def compiled(**options):
    step = torch.compile(manual_step, **options)

    def way(params):
        for p in params:  # updated in place, which reduce-overhead allows to such tensors only
            torch._dynamo.mark_static_address(p)
        return lambda ix: step(params, Xtr[ix], Ytr[ix])

    return way


def graph(params):
    """The manual step recorded once as a CUDA graph, then launched whole: what is left of a step is one
    launch for the draw and one for everything else."""
    static_ix = draw()
    start = [p.clone() for p in params]
    side = torch.cuda.Stream()  # PyTorch asks for a few runs on another stream before the recording
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            manual_step(params, Xtr[static_ix], Ytr[static_ix])
    torch.cuda.current_stream().wait_stream(side)
    recording = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recording):
        loss = manual_step(params, Xtr[static_ix], Ytr[static_ix])
    with torch.no_grad():
        for p, first in zip(params, start):
            p.copy_(first)  # forget the warm-up

    def step(ix):
        if ix is not static_ix:
            static_ix.copy_(ix)
        recording.replay()
        return loss

    step.static_ix = static_ix  # to be drawn into, which saves the copy
    return step


WAYS = {
    "loop": [("the notebook's loop", eager(loop_step))],
    "manual": [("manual backward", eager(manual_step))],
    "autograd": [("autograd", eager(autograd_step))],
    "compile": [("torch.compile of the manual step", compiled())],
}
if args.device == "cuda":
    WAYS["compile"].append(("torch.compile, reduce-overhead", compiled(mode="reduce-overhead")))
    WAYS["graph"] = [("CUDA graph of the manual step", graph)]


def check(name, way):
    """Three steps, since some ways do the first otherwise than the next ones."""
    params = parameters()
    step = way(params)
    ixs = [draw() for _ in range(3)]
    losses = [step(ix).item() for ix in ixs]
    after = [p.detach().cpu().numpy() for p in params]
    batches = [(xs[ix], ys[ix]) for ix in (ix.cpu().numpy() for ix in ixs)]
    check_steps(name, initial_values(args.hidden, args.characters), batches, losses, after)


def measure(name, way):
    step = way(parameters())
    static_ix = getattr(step, "static_ix", None)
    losses = []

    def run(count):
        for _ in range(count):
            loss = step(draw(out=static_ix))
        losses.append(loss.item())  # waits for the device

    first = step(draw(out=static_ix)).item()
    times = microseconds(run, args.seconds)
    assert losses[-1] < first, f"{name}: the loss went from {first} to {losses[-1]}"
    report(name, times)


def ceiling():
    """The speed of a large product in f32: about the most that the device can do."""
    size = 8192 if args.device == "cuda" else 2048
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

    def run(count):
        for _ in range(count):
            c = a @ b
        c[0, 0].item()

    times = microseconds(run, args.seconds)
    gflops = 2 * size**3 / statistics.median(times) / 1e3
    report(f"PyTorch, product of {size} x {size} matrices in f32", times, gflops=gflops)


if args.ceiling:
    ceiling()
elif args.first:
    print(f"loss {eager(manual_step)(parameters())(draw()).item():.4f}", flush=True)
else:
    for way in args.only or WAYS:
        for name, run in WAYS.get(way, []):
            name = f"PyTorch, {name}"
            try:
                check(name, run)
                measure(name, run)
            except Exception as error:  # torch.compile needs a C++ compiler, which a machine may lack
                print(f"{name}: not timed: {str(error).strip().splitlines()[0]}", file=sys.stderr)
