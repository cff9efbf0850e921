//! The numbers that an exercise is checked with: the first minibatch of the names, with gradients that do not
//! hide a mistake.

use std::sync::OnceLock;

use crate::gradcheck::Inputs;
use crate::model::dims::{Dims, Token};
use crate::model::tensors::{LectureTensor, LectureTensors};
use crate::reference::Model;
use crate::reference::chunked;
use crate::rng::TorchGenerator;

/// The seed of the lecture.
const SEED: u64 = 2_147_483_647;

/// A step of the lecture.
#[derive(Debug)]
pub(super) struct Numbers {
    pub dims: Dims,
    /// `(batch, block)`
    pub x: Vec<Token>,
    /// `(batch)`
    pub y: Vec<Token>,
    /// Values, as the kernels get them.
    pub values: LectureTensors<f32>,
    /// Gradients, as what comes after them gets them.
    pub grads: LectureTensors<f32>,
    /// Each gradient, computed from `grads` before it.
    pub wanted: LectureTensors<f64>,
    /// The order in which they are computed.
    pub order: Vec<LectureTensor>,
}

/// The numbers; computed once.
pub(super) fn numbers() -> &'static Numbers {
    static NUMBERS: OnceLock<Numbers> = OnceLock::new();
    NUMBERS.get_or_init(|| {
        let inputs =
            Inputs::of_names(Dims::LECTURE, SEED).expect("the lecture's sizes are in range");
        compute(inputs)
    })
}

/// A pass in `f64` in which each gradient is rounded to `f32` and disturbed by a tenth before the next ones are
/// computed from it. Undisturbed, some gradients are zero but for rounding, and then a sign or a forgotten term
/// would not show.
fn compute(inputs: Inputs) -> Numbers {
    let Inputs { dims, params, x, y } = inputs;
    let mut generator = TorchGenerator::manual_seed(SEED);
    let mut model = Model::new(dims, params.map(f64::from));
    let mut order = Vec::new();
    let mut wanted = LectureTensors::from_fn(|_| Vec::new());
    let mut grads = LectureTensors::from_fn(|_| Vec::new());
    let (values, _) = chunked::pass_with(&mut model, &x, &y, |tensor, grad| {
        order.push(tensor);
        wanted[tensor] = grad.to_vec();
        let squares: f64 = grad.iter().map(|d| d * d).sum();
        let size = (squares / grad.len() as f64).sqrt().max(1e-3);
        let noise = generator.randn(grad.len());
        for (d, noise) in grad.iter_mut().zip(noise) {
            *d = f64::from((*d + 0.1 * size * f64::from(noise)) as f32);
        }
        grads[tensor] = grad.iter().map(|&d| d as f32).collect();
    });
    let values =
        LectureTensors::from_fn(|tensor| values[tensor].iter().map(|&v| v as f32).collect());
    Numbers {
        dims,
        x,
        y,
        values,
        grads,
        wanted,
        order,
    }
}
