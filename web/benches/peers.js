// The lecture's step in two libraries that train in a browser, each in the way that is its own: gradients by
// autodiff, everything jitted where there is a jit. Embeddings are one-hot products: a gather has no gradient on
// TensorFlow.js's wasm backend ("Kernel 'UnsortedSegmentSum' not registered") nor in a jitted jax-js function on wasm
// ("routine primitive scatter input is not imm").

import { defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import * as tf from "@tensorflow/tfjs-core";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";

const NAMES = ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"];

/** A row of zeros with a one for each index, row-major. */
function oneHot(indices, classes) {
  const rows = new Float32Array(indices.length * classes);
  indices.forEach((index, row) => (rows[row * classes + index] = 1));
  return rows;
}

/**
 * TensorFlow.js. `params` by name: `{ shape, values }`; `device` is `wasm` or `webgpu`. Gives a function that does
 * a step, and one that waits for the loss of the last.
 */
export async function tensorflow({ params, batches, lr, wasm, device }) {
  setWasmPaths(wasm);
  await tf.setBackend(device);
  await tf.ready();
  const variables = NAMES.map((name) => tf.variable(tf.tensor(params[name].values, params[name].shape)));
  const [C, W1, b1, W2, b2, bngain, bnbias] = variables;
  const { shape: [vocab] } = params.C;
  const inputs = batches.map(({ x, y }) => ({
    x: tf.tensor(oneHot(x, vocab), [x.length, vocab]),
    y: tf.tensor(oneHot(y, vocab), [y.length, vocab]),
  }));
  const rate = tf.scalar(lr);
  let last;
  const step = (index) => {
    const { x, y } = inputs[index % inputs.length];
    last?.dispose();
    last = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => {
        const n = y.shape[0];
        const embcat = x.matMul(C).reshape([n, -1]);
        const hprebn = embcat.matMul(W1).add(b1);
        const bndiff = hprebn.sub(hprebn.mean(0, true));
        const bnvar = bndiff.square().sum(0, true).div(n - 1);
        const bnraw = bndiff.mul(bnvar.add(1e-5).rsqrt());
        const h = bnraw.mul(bngain).add(bnbias).tanh();
        const logits = h.matMul(W2).add(b2);
        return logits.logSumExp(1).sub(logits.mul(y).sum(1)).mean();
      });
      for (const variable of variables) variable.assign(variable.sub(grads[variable.name].mul(rate)));
      return value;
    });
  };
  return { step, loss: async () => (await last.data())[0] };
}

/** jax-js, with one jitted function for a step; as `tensorflow`. */
export async function jaxJs({ params, batches, lr, device }) {
  await init(device);
  defaultDevice(device);
  const { shape: [vocab] } = params.C;
  const loss = ([C, W1, b1, W2, b2, bngain, bnbias], x, y) => {
    const n = y.shape[0];
    const embcat = np.matmul(x, C).reshape([n, -1]);
    const hprebn = np.matmul(embcat, W1).add(b1);
    const bnmean = hprebn.ref.sum(0, { keepdims: true }).mul(1 / n);
    const bndiff = hprebn.sub(bnmean);
    const bnvar = np.square(bndiff.ref).sum(0, { keepdims: true }).mul(1 / (n - 1));
    const bnraw = bndiff.mul(np.reciprocal(np.sqrt(bnvar.add(1e-5))));
    const h = np.tanh(bnraw.mul(bngain).add(bnbias));
    const logits = np.matmul(h, W2).add(b2);
    return nn.logSoftmax(logits, 1).mul(y).sum().mul(-1 / n);
  };
  const both = jit((weights, x, y) => {
    const [value, grads] = valueAndGrad(loss)(tree.ref(weights), x, y);
    return [value, tree.map((weight, grad) => weight.sub(grad.mul(lr)), weights, grads)];
  });
  const array = (values, shape) => np.array(values).reshape(shape);
  const inputs = batches.map(({ x, y }) => ({
    x: array(oneHot(x, vocab), [x.length, vocab]),
    y: array(oneHot(y, vocab), [y.length, vocab]),
  }));
  let weights = NAMES.map((name) => array(Float32Array.from(params[name].values), params[name].shape));
  let last;
  const step = (index) => {
    const { x, y } = inputs[index % inputs.length];
    last?.dispose();
    [last, weights] = both(weights, x.ref, y.ref);
    // Its wasm step is faster where each loss is read: 1,150 us a step; 3,300 where only the last is.
    if (device === "wasm") last.ref.dataSync();
  };
  return { step, loss: async () => (await last.ref.data())[0] };
}
