"""The lecture's step in JAX: jit(lax.scan(step)), the fastest of the usual ways. A line of JSON.

    python benches/peers/jax_peer.py [--device cuda] [--hidden 2048 --batch 4096] [--models 128]

With --models it trains that many models at once by vmap, each from the same initial values with a
learning rate and minibatches of its own, and reports the time of a step of all of them.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from model import LR, arguments, check_steps, examples, initial_values, microseconds, report

parser = arguments(__doc__)
parser.add_argument("--models", type=int, default=1)
args = parser.parse_args()
jax.config.update("jax_platforms", args.device)
jax.config.update("jax_default_matmul_precision", "highest")  # f32 as everywhere here, not TF32
try:
    jax.devices()
except (RuntimeError, AssertionError):  # the second where JAX was built for CPUs only
    sys.exit(f'this JAX finds no {args.device} device: pip install "jax[cuda13]" (or jax[cuda12])')

xs, ys = examples(args.characters)
X, Y = jnp.array(xs, dtype=jnp.int32), jnp.array(ys, dtype=jnp.int32)
n = args.batch


def loss_of(params, Xb, Yb):
    C, W1, b1, W2, b2, bngain, bnbias = params
    embcat = C[Xb].reshape(n, -1)
    hprebn = embcat @ W1 + b1
    bndiff = hprebn - hprebn.mean(0, keepdims=True)
    bnvar = (bndiff**2).sum(0, keepdims=True) / (n - 1)
    h = jnp.tanh(bngain * bndiff * (bnvar + 1e-5) ** -0.5 + bnbias)
    logits = h @ W2 + b2
    return -jax.nn.log_softmax(logits)[jnp.arange(n), Yb].mean()


def step(lr, params, ix):
    loss, grads = jax.value_and_grad(loss_of)(params, X[ix], Y[ix])
    return [p - lr * g for p, g in zip(params, grads)], loss


@jax.jit
def scan(lr, params, ixs):
    """All steps of one model: the last parameters, and the loss of each step."""
    return jax.lax.scan(functools.partial(step, lr), params, ixs)


# One compiled loop trains all models: what a sweep over learning rates costs.
vmap_scan = jax.jit(jax.vmap(scan, in_axes=(0, None, 0)))

before = initial_values(args.hidden, args.characters)
params = [jnp.array(p) for p in before]
rng = np.random.default_rng(1)


@functools.lru_cache(maxsize=1)
def minibatches(*shape):
    """Drawn and put on the device once, outside the time."""
    return jnp.array(rng.integers(0, len(xs), (*shape, n)), dtype=jnp.int32)


def train(steps, lr):
    """The last parameters and the losses; of all models, if there are some."""
    if args.models > 1:
        return vmap_scan(jnp.linspace(lr / 2, lr, args.models), params, minibatches(args.models, steps))
    return scan(lr, params, minibatches(steps))


def check():
    """Three steps against the reference; of many models the last, whose rate is the lecture's."""
    after, losses = train(3, LR)
    ixs = minibatches(args.models, 3) if args.models > 1 else minibatches(3)
    if args.models > 1:
        after, losses, ixs = [p[-1] for p in after], losses[-1], ixs[-1]
    batches = [(xs[ix], ys[ix]) for ix in np.array(ixs)]
    check_steps("JAX", before, batches, losses.tolist(), [np.array(p) for p in after])


def run(steps):
    train(steps, LR)[1].block_until_ready()


if args.first:
    print(f"loss {float(train(1, LR)[1].ravel()[0]):.4f}", flush=True)
else:
    check()
    losses = np.array(train(200, LR)[1]).reshape(-1, 200)
    assert losses[:, -20:].mean() < losses[:, :20].mean(), "it does not learn"
    name = "JAX, jit(lax.scan(step))"
    if args.models > 1:
        name = f"JAX, jit(vmap(lax.scan(step))), one step of {args.models} models"
    report(name, microseconds(run, args.seconds))
