"""The lecture's step in JAX: jit(lax.scan(step)), the fastest of the usual ways. Prints
`name<TAB>us a step`.

    python benches/peers/jax_peer.py
"""

import jax
import jax.numpy as jnp
import numpy as np

from model import BATCH, BLOCK, EMBD, HIDDEN, VOCAB, examples, microseconds

xs, ys = examples()
X, Y = jnp.array(xs, dtype=jnp.int32), jnp.array(ys, dtype=jnp.int32)


def loss_of(params, Xb, Yb):
    C, W1, b1, W2, b2, bngain, bnbias = params
    embcat = C[Xb].reshape(BATCH, -1)
    hprebn = embcat @ W1 + b1
    bndiff = hprebn - hprebn.mean(0, keepdims=True)
    bnvar = (bndiff**2).sum(0, keepdims=True) / (BATCH - 1)
    h = jnp.tanh(bngain * bndiff * (bnvar + 1e-5) ** -0.5 + bnbias)
    logits = h @ W2 + b2
    return -jax.nn.log_softmax(logits)[jnp.arange(BATCH), Yb].mean()


def step(params, ix):
    loss, grads = jax.value_and_grad(loss_of)(params, X[ix], Y[ix])
    return [p - 0.1 * g for p, g in zip(params, grads)], loss


@jax.jit
def scan(params, ixs):
    return jax.lax.scan(step, params, ixs)


rng = np.random.default_rng(1)
shapes = [(VOCAB, EMBD), (BLOCK * EMBD, HIDDEN), (HIDDEN,), (HIDDEN, VOCAB), (VOCAB,), (1, HIDDEN), (1, HIDDEN)]
scales = [1.0, (5 / 3) / (EMBD * BLOCK) ** 0.5, 0.1, 0.1, 0.1, 0.1, 0.1]
params = [jnp.array(rng.standard_normal(s) * k, dtype=jnp.float32) for s, k in zip(shapes, scales)]
params[5] = params[5] + 1.0
STEPS = 5000
ixs = jnp.array(rng.integers(0, len(xs), (STEPS, BATCH)))


def run(_):
    _, losses = scan(params, ixs)
    losses.block_until_ready()
    assert float(losses[-200:].mean()) < float(losses[:20].mean()), "it does not learn"


print(f"JAX, jit(lax.scan(step))\t{microseconds(run, STEPS):.1f}", flush=True)
