//! The CPU twin of the kernels: the same pass, operation by operation, generic over the float type. In `f64`
//! it is the reference that the kernels are compared with; in `f32` it evaluates for `--backend cpu`. One
//! file has one operation, under the name that it has in `shaders/`.

pub mod batchnorm;
pub mod chunked;
pub mod embedding;
pub mod extras;
pub mod fma;
pub mod linear;
pub mod real;
pub mod sgd;
pub mod softmax_cross_entropy;
pub mod tanh;

use crate::model::dims::{Dims, Token};
use crate::model::params::{Params, Tensor};
use batchnorm::BatchStatistics;
use linear::{PLAIN, Tile};
use real::Real;

/// The model with everything that a step writes: parameters, activations and gradients. All memory is
/// allocated here; a step allocates nothing.
#[derive(Clone, Debug)]
pub struct Model<R> {
    /// Sizes; `batch` is the number of examples of a step.
    pub dims: Dims,
    /// The seven parameters.
    pub params: Params<R>,
    /// Their gradients of the last [`Model::backward`].
    pub grads: Params<R>,
    /// The activations of the forward pass, and their gradients.
    pub acts: Activations<R>,
    /// Copies of the operands of the current product.
    panels: linear::Panels<R>,
}

/// The tensors of one pass under the lecture's names, each row-major in the shape given.
#[derive(Clone, Debug)]
pub struct Activations<R> {
    /// `(batch, block * embd)`
    pub embcat: Vec<R>,
    /// `(batch, hidden)`
    pub hprebn: Vec<R>,
    /// Mean, variance and inverse root of each unit.
    pub stats: BatchStatistics<R>,
    /// `(batch, hidden)`
    pub bnraw: Vec<R>,
    /// `(batch, hidden)`
    pub hpreact: Vec<R>,
    /// `(batch, hidden)`
    pub h: Vec<R>,
    /// `(batch, vocab)`
    pub logits: Vec<R>,
    /// Loss of each example, `(batch)`.
    pub row_loss: Vec<R>,
    /// `(batch, vocab)`
    pub dlogits: Vec<R>,
    /// `(batch, hidden)`
    pub dh: Vec<R>,
    /// `(batch, hidden)`
    pub dhpreact: Vec<R>,
    /// `(batch, hidden)`
    pub dhprebn: Vec<R>,
    /// `(batch, block * embd)`
    pub dembcat: Vec<R>,
}

impl<R: Real> Activations<R> {
    fn new(dims: &Dims) -> Self {
        let zeros = |cols: usize| vec![R::zero(); dims.batch * cols];
        Self {
            embcat: zeros(dims.fan_in()),
            hprebn: zeros(dims.hidden),
            stats: BatchStatistics::new(dims.hidden),
            bnraw: zeros(dims.hidden),
            hpreact: zeros(dims.hidden),
            h: zeros(dims.hidden),
            logits: zeros(dims.vocab),
            row_loss: zeros(1),
            dlogits: zeros(dims.vocab),
            dh: zeros(dims.hidden),
            dhpreact: zeros(dims.hidden),
            dhprebn: zeros(dims.hidden),
            dembcat: zeros(dims.fan_in()),
        }
    }
}

impl<R: Real> Model<R> {
    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: Params<R>) -> Self {
        Self {
            dims,
            params,
            grads: Params::filled(&dims, R::zero()),
            acts: Activations::new(&dims),
            panels: linear::Panels::new(),
        }
    }

    /// Forward pass over one minibatch: `x (batch, block)` and `y (batch)` are tokens. Returns the
    /// mean loss. It also computes `dlogits`, because softmax and loss share their work.
    pub fn forward(&mut self, x: &[Token], y: &[Token]) -> R {
        let Self {
            dims,
            params: p,
            acts: a,
            panels,
            ..
        } = self;
        embedding::forward(x, &p.c, dims.embd, &mut a.embcat);
        linear::forward(PLAIN, &a.embcat, &p.w1, &p.b1, &mut a.hprebn, panels);
        batchnorm::forward(
            &a.hprebn,
            &p.bngain,
            &p.bnbias,
            &mut a.stats,
            &mut a.bnraw,
            &mut a.hpreact,
        );
        tanh::forward(&a.hpreact, &mut a.h);
        linear::forward(PLAIN, &a.h, &p.w2, &p.b2, &mut a.logits, panels);
        softmax_cross_entropy::forward_backward(&a.logits, y, &mut a.row_loss, &mut a.dlogits);
        mean(&a.row_loss)
    }

    /// Backward pass of the last [`Model::forward`]: every gradient, derived by hand.
    pub fn backward(&mut self, x: &[Token]) {
        let Self {
            dims,
            params: p,
            grads: g,
            acts: a,
            panels,
        } = self;
        linear::backward_weight(PLAIN, &a.h, &a.dlogits, &mut g.w2, &mut g.b2, panels);
        linear::backward_input(PLAIN, &a.dlogits, &p.w2, dims.vocab, &mut a.dh, panels);
        tanh::backward(&a.dh, &a.h, &mut a.dhpreact);
        batchnorm::backward(
            &a.dhpreact,
            &a.bnraw,
            &p.bngain,
            &a.stats.bnvar_inv,
            &mut g.bngain,
            &mut g.bnbias,
            &mut a.dhprebn,
        );
        linear::backward_weight(PLAIN, &a.embcat, &a.dhprebn, &mut g.w1, &mut g.b1, panels);
        linear::backward_input(
            PLAIN,
            &a.dhprebn,
            &p.w1,
            dims.hidden,
            &mut a.dembcat,
            panels,
        );
        embedding::backward(x, &a.dembcat, dims.embd, &mut g.c);
    }

    /// `p.data += -lr * p.grad` for every parameter.
    #[inline(always)]
    pub fn update(&mut self, lr: R) {
        for tensor in Tensor::ALL {
            let (p, grad) = (self.params.get_mut(tensor), self.grads.get(tensor));
            sgd::update::<R, false>(p, lr, grad);
        }
    }

    /// One step of gradient descent. Returns the loss before the update.
    pub fn step(&mut self, x: &[Token], y: &[Token], lr: R) -> R {
        let loss = self.forward(x, y);
        self.backward(x);
        self.update(lr);
        loss
    }

    /// `hprebn` of `x`, which holds `rows` contexts, at most `batch`.
    #[inline(always)]
    pub(crate) fn hidden_inputs<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
    >(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[Token],
        rows: usize,
    ) -> &mut [R] {
        let Self {
            dims,
            params: p,
            acts: a,
            panels,
            ..
        } = self;
        let embcat = &mut a.embcat[..rows * dims.fan_in()];
        let hprebn = &mut a.hprebn[..rows * dims.hidden];
        embedding::forward(x, &p.c, dims.embd, embcat);
        linear::forward(tile, embcat, &p.w1, &p.b1, hprebn, panels);
        hprebn
    }

    /// `h (contexts, hidden)` of `x`, at most `batch` contexts, by the trained model: [`Model::infer`] up to
    /// tanh.
    pub fn activations(&mut self, x: &[Token], bnmean: &[R], bnvar: &[R]) -> &[R] {
        let rows = x.len() / self.dims.block;
        self.activate(PLAIN, x, bnmean, bnvar);
        &self.acts.h[..rows * self.dims.hidden]
    }

    #[inline(always)]
    fn activate<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[Token],
        bnmean: &[R],
        bnvar: &[R],
    ) {
        let rows = x.len() / self.dims.block;
        self.hidden_inputs(tile, x, rows);
        let Self {
            dims,
            params: p,
            acts: a,
            ..
        } = self;
        let hpreact = &mut a.hprebn[..rows * dims.hidden];
        batchnorm::inference(hpreact, &p.bngain, &p.bnbias, bnmean, bnvar);
        tanh::forward(hpreact, &mut a.h[..rows * dims.hidden]);
    }

    /// Logits of `x`, at most `batch` contexts, by the trained model: batch norm with fixed
    /// statistics, so that one example does not depend on the others beside it.
    pub fn infer(&mut self, x: &[Token], bnmean: &[R], bnvar: &[R]) -> &[R] {
        self.infer_tiled(PLAIN, x, bnmean, bnvar)
    }

    #[inline(always)]
    pub(crate) fn infer_tiled<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
    >(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[Token],
        bnmean: &[R],
        bnvar: &[R],
    ) -> &[R] {
        let rows = x.len() / self.dims.block;
        self.activate(tile, x, bnmean, bnvar);
        let Self {
            dims,
            params: p,
            acts: a,
            panels,
            ..
        } = self;
        let h = &a.h[..rows * dims.hidden];
        let logits = &mut a.logits[..rows * dims.vocab];
        linear::forward(tile, h, &p.w2, &p.b2, logits, panels);
        logits
    }
}

/// Mean of the losses of a minibatch. Summed in `f64`: 4,096 terms in `f32` would lose a digit.
fn mean<R: Real>(row_loss: &[R]) -> R {
    let sum: f64 = row_loss.iter().map(|l| l.as_f64()).sum();
    R::of(sum / row_loss.len() as f64)
}
