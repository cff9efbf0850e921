//! Somebody else's values and gradients, held against the
//! device's on the same inputs.
//!
//! The file is a safetensors file with tensors under the notebook's names: `X`, `Y` and the seven
//! parameters, from which the device computes its own pass; any values of the forward pass; and any
//! gradients: that of `logits` is `d.logits`, `dlogits` or `logits.grad`. The README shows the lines of
//! PyTorch that write one.

mod foreign;
mod reader;

use serde::Serialize;

use super::engine::Engine;
use super::step::Code;
use super::{GradcheckError, Inputs, Row};
use crate::gradcheck::compare::{Tolerance, compare};
use crate::model::tensors::LectureTensor;

pub use foreign::Foreign;
pub use reader::{AgainstError, MAX_FILE_BYTES};

/// The values to compare, in the order of the forward pass, so that the first that is wrong is the
/// one at fault. The other seven of the 26 tensors are parameters: inputs, equal by nature.
const VALUES: [LectureTensor; 19] = [
    LectureTensor::Emb,
    LectureTensor::Embcat,
    LectureTensor::Hprebn,
    LectureTensor::Bnmeani,
    LectureTensor::Bndiff,
    LectureTensor::Bndiff2,
    LectureTensor::Bnvar,
    LectureTensor::BnvarInv,
    LectureTensor::Bnraw,
    LectureTensor::Hpreact,
    LectureTensor::H,
    LectureTensor::Logits,
    LectureTensor::LogitMaxes,
    LectureTensor::NormLogits,
    LectureTensor::Counts,
    LectureTensor::CountsSum,
    LectureTensor::CountsSumInv,
    LectureTensor::Probs,
    LectureTensor::Logprobs,
];

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Given {
    /// What the device computes from.
    pub inputs: Inputs,
    /// What is to be compared.
    claims: Vec<Claim>,
    /// What else there is to say of the file.
    pub notes: Notes,
}

/// A tensor that the table is about.
#[derive(Clone, Debug)]
struct Claim {
    /// Its name in the file.
    label: String,
    chunk: LectureTensor,
    /// Whether it is the chunk's gradient and not its value.
    gradient: bool,
    /// What the file says.
    values: Vec<f64>,
}

/// Everything that a file may have beside its inputs, in the order of the table: the names it may have,
/// the tensor, and whether it is the tensor's gradient.
fn claims() -> impl Iterator<Item = (Vec<String>, LectureTensor, bool)> {
    let values = VALUES.map(|chunk| (vec![chunk.name().to_owned()], chunk, false));
    let grads = LectureTensor::ALL.map(|chunk| {
        let name = chunk.name();
        let names = ["d.", "d"].map(|d| format!("{d}{name}"));
        let names = names.into_iter().chain([format!("{name}.grad")]);
        (names.collect(), chunk, true)
    });
    values.into_iter().chain(grads)
}

/// Names of tensors that are not in the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Notes {
    /// Tensors of the lecture that the file lacks.
    pub absent: Vec<String>,
    /// Tensors of the file that the lecture lacks: `loss`, or a name that was mistyped.
    pub ignored: Vec<String>,
}

impl Notes {
    /// As they are printed.
    pub fn lines(&self) -> Vec<String> {
        [("absent", &self.absent), ("ignored", &self.ignored)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect()
    }
}

/// Compares all that the file has with what the device computes from the file's inputs by the lecture's
/// pass, line for line the file's own.
///
/// Here the file is under test and the device the reference: [`super::check`] is what shows that
/// the device is right.
///
/// # Errors
///
/// The device failed.
pub async fn check(engine: &Engine, given: &Given) -> Result<Vec<Row>, GradcheckError> {
    let device = engine.pass(&given.inputs).await?;
    let reference = device.to_f64();
    given
        .claims
        .iter()
        .map(|claim| {
            let chunk = claim.chunk;
            let (want, tolerance) = if claim.gradient {
                (&reference.grads[chunk], reference.tolerance(chunk))
            } else {
                (&reference.values[chunk], Tolerance::F32_PASS)
            };
            let comparison = compare(&claim.values, want, tolerance)
                .map_err(|e| GradcheckError::Compare(claim.label.clone(), e))?;
            Ok(Row {
                chunk,
                label: claim.label.clone(),
                by: Code::Chunked,
                shape: chunk.shape(&given.inputs.dims),
                zero: claim.gradient && chunk.is_zero(),
                comparison,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::params::Tensor;

    /// `dNAME` is the gradient of NAME, and nothing else's name.
    #[test]
    fn each_name_is_that_of_one_tensor() {
        let names: Vec<String> = claims().flat_map(|(names, ..)| names).collect();
        let parameters = Tensor::ALL.map(|t| t.name().to_owned());
        let inputs = ["X", "Xb", "Y", "Yb"].map(str::to_owned);
        let all = [&names[..], &parameters, &inputs].concat();
        for (at, name) in all.iter().enumerate() {
            assert!(!all[..at].contains(name), "{name}");
        }
        assert_eq!(names.len(), 19 + 3 * 26);
    }

    #[test]
    fn the_values_and_the_parameters_are_the_26_tensors() {
        let parameter = |c: &LectureTensor| Tensor::ALL.iter().any(|t| t.name() == c.name());
        for chunk in LectureTensor::ALL {
            assert!(VALUES.contains(&chunk) != parameter(&chunk), "{chunk:?}");
        }
    }
}
