//! How large a step is beside what it changes: the gradient-to-data and update-to-data ratios of the lecture
//! before this one.
//!
//! ```python
//! (p.grad.std() / p.data.std()).item()
//! ((lr * p.grad).std() / p.data.std()).log10().item()
//! ```
//!
//! No backend hands out its gradients, so they are computed again, by the reference in `f64`, from the
//! parameters before the step and its minibatch. A training with this record takes the same steps.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::model::dims::{Dims, Token};
use crate::model::moments::Moments;
use crate::model::params::{Params, Tensor};
use crate::reference::Model;

/// A tensor's gradient beside its values. Numbers that are not finite, such as the standard deviation of a single
/// value or the logarithm of a zero update, are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Standard deviation of the gradient.
    pub grad_std: Option<f64>,
    /// Standard deviation of the values before the step.
    pub data_std: Option<f64>,
    /// `grad.std() / data.std()`
    pub grad_to_data: Option<f64>,
    /// `((lr * grad).std() / data.std()).log10()`: about -3 where the learning rate fits.
    pub log10_update_to_data: Option<f64>,
}

impl Ratio {
    fn new(grad: &[f64], data: &[f32], lr: f64) -> Self {
        let [grad, data] = [Moments::of(grad).std, Moments::of(data).std];
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        Self {
            grad_std: finite(grad),
            data_std: finite(data),
            grad_to_data: finite(grad / data),
            log10_update_to_data: finite((lr * grad / data).log10()),
        }
    }
}

/// The ratios of a step: a line of the metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratios {
    /// The step, counted from 0.
    pub step: u64,
    /// One for each parameter tensor, in the order of [`Tensor::ALL`].
    ratios: [Ratio; Tensor::ALL.len()],
}

impl Ratios {
    /// Those of step `step` on the minibatch `x (batch, block)`, `y (batch)` with the learning rate `lr`;
    /// `params` are the parameters before it.
    pub fn of(
        step: u64,
        params: &Params<f32>,
        dims: Dims,
        (x, y, lr): (&[Token], &[Token], f32),
    ) -> Self {
        let mut model = Model::new(dims, params.map(f64::from));
        model.forward(x, y);
        model.backward(x);
        let lr = f64::from(lr);
        let ratio = |tensor| Ratio::new(model.grads.get(tensor), params.get(tensor), lr);
        Self {
            step,
            ratios: Tensor::ALL.map(ratio),
        }
    }

    /// Each tensor with its ratio.
    pub fn iter(&self) -> impl Iterator<Item = (Tensor, Ratio)> {
        Tensor::ALL.into_iter().zip(self.ratios)
    }
}

/// `{"step":0,"ratios":{"C":{…},"W1":{…},…}}`
impl Serialize for Ratios {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct ByName<'a>(&'a Ratios);
        impl Serialize for ByName<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(tensor, ratio)| (tensor.name(), ratio)))
            }
        }
        let mut row = serializer.serialize_struct("Ratios", 2)?;
        row.serialize_field("step", &self.step)?;
        row.serialize_field("ratios", &ByName(self))?;
        row.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = Dims {
        vocab: 2,
        block: 1,
        embd: 1,
        hidden: 1,
        batch: 2,
    };

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-7, "{found}, not {expected}");
    }

    /// With `W2` and `b2` zero, both characters have the probability 1/2, and only `W2` and `b2` have gradients
    /// that are not zero. The two examples have `bnraw` = ±1/sqrt(2), up to the 1e-5 below the root.
    #[test]
    fn the_ratios_of_a_tiny_model_are_those_by_hand() {
        let params = Params {
            c: vec![-1.0, 3.0], // standard deviation sqrt(8)
            w1: vec![1.0],
            b1: vec![0.0],
            w2: vec![0.0, 0.0],
            b2: vec![0.0, 0.0],
            bngain: vec![1.0],
            bnbias: vec![0.0],
        };
        let ratios = Ratios::of(7, &params, DIMS, (&[0, 1], &[0, 1], 0.1));
        let of = |wanted| {
            ratios
                .iter()
                .find(|(tensor, _)| *tensor == wanted)
                .unwrap()
                .1
        };
        // dlogits = [[-1/4, 1/4], [1/4, -1/4]] and h = [-t, t], so dW2 = h.T @ dlogits = [t/2, -t/2], whose
        // deviation is t / sqrt(2).
        let bnraw = 2.0 / (8.0_f64 + 1e-5).sqrt();
        let w2 = of(Tensor::W2);
        close(w2.grad_std, bnraw.tanh() / 2.0_f64.sqrt());
        assert_eq!((w2.data_std, w2.grad_to_data), (Some(0.0), None));
        let c = of(Tensor::C);
        assert_eq!((c.grad_std, c.log10_update_to_data), (Some(0.0), None));
        close(c.data_std, 8.0_f64.sqrt());
        assert_eq!(of(Tensor::Bngain).grad_std, None, "of a single value");

        // With W2 = [1, -1] instead: logits = [h, -h], and the probability of the right character is
        // 1 / (1 + e^(2t)) in both examples, by which dlogits = (1 - p)/2 * [[-1, 1], [1, -1]].
        let params = Params {
            w2: vec![1.0, -1.0],
            ..params
        };
        let ratios = Ratios::of(7, &params, DIMS, (&[0, 1], &[0, 1], 0.1));
        let w2 = ratios
            .iter()
            .find(|(tensor, _)| *tensor == Tensor::W2)
            .unwrap()
            .1;
        let t = bnraw.tanh();
        let p = 1.0 / (1.0 + (2.0 * t).exp());
        // dW2 = [t*(1-p), -t*(1-p)]
        let (grad, data) = (2.0_f64.sqrt() * t * (1.0 - p), 2.0_f64.sqrt());
        close(w2.grad_std, grad);
        close(w2.data_std, data);
        close(w2.grad_to_data, grad / data);
        close(
            w2.log10_update_to_data,
            (f64::from(0.1_f32) * grad / data).log10(),
        );
    }

    #[test]
    fn a_row_names_its_tensors() {
        let params = Params::filled(&DIMS, 0.5);
        let row = Ratios::of(3, &params, DIMS, (&[0, 1], &[0, 1], 0.1));
        let text = serde_json::to_string(&row).unwrap();
        let begins = r#"{"step":3,"ratios":{"C":{"grad_std":"#;
        assert!(text.starts_with(begins), "{text}");
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&String> = row["ratios"].as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 7);
        assert!(row["ratios"]["b1"]["data_std"].is_null(), "{text}"); // one value
    }
}
