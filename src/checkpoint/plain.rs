//! A model from elsewhere: the lecture's tensors in any safetensors file.
//!
//! `C`, `W1`, `W2`, `b2`, `bngain` and `bnbias` have to be in it, in the lecture's shapes; axes of length 1 do
//! not count. Without `b1` it is zero: batch norm takes it out again in any case. `bnmean` and `bnvar` are the
//! statistics over a training set, if both are there. Values are F32, F64, F16 or BF16.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};

use super::header::Tensors;
use super::{EXCERPT, MAX_TENSORS, METADATA_KEY, values};
use crate::model::dims::{Dims, DimsError};
use crate::model::params::{Params, Tensor};
use crate::model::statistics::Statistics;
use crate::text::excerpt;

/// A model without a word on how it was made, or of its vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    /// Its sizes; the file says nothing of a minibatch, which is the smallest.
    pub dims: Dims,
    /// The seven parameters.
    pub params: Params<f32>,
    /// Batch-norm statistics, if the file has them.
    pub stats: Option<Statistics>,
}

/// Why a file is no such model. Every message is one line in which the file is "it".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlainError {
    /// The file does not follow the safetensors format.
    #[error("it is not a safetensors file, or it is damaged: {0}")]
    NotSafetensors(String),
    /// Parameters are absent.
    #[error(
        "it is without the metadata '{METADATA_KEY}', so not written by gpu-makemore, and lacks {}; a \
         model has C, W1, W2, b2, bngain and bnbias, and b1 unless that is zero",
        .0.join(", ")
    )]
    Missing(Vec<&'static str>),
    /// A tensor's values have a type that is not read.
    #[error("the tensor '{name}' holds {found:?} values; F32, F64, F16 and BF16 are read")]
    Dtype {
        /// The tensor's name.
        name: &'static str,
        /// The type of its values.
        found: Dtype,
    },
    /// A tensor's shape contradicts the others.
    #[error("the tensor '{name}' has the shape {found}, but {expected} is expected")]
    Shape {
        /// The tensor's name.
        name: &'static str,
        /// Its shape in the file.
        found: String,
        /// The shape that follows from those of `C` and `W1`.
        expected: String,
    },
    /// A size that the kernels are not built for.
    #[error("the shapes of C and W1 mean that {0}")]
    Size(#[from] DimsError),
    /// A value is no number in f32.
    #[error(
        "value {index} of the tensor '{name}' is {value:e}, which is not a finite number in f32"
    )]
    NonFinite {
        /// The tensor's name.
        name: &'static str,
        /// Position of the first such value, row-major.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A variance is below zero.
    #[error("value {index} of the tensor 'bnvar' is {value}, but a variance is never negative")]
    NegativeVariance {
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl Plain {
    /// Reads a file that is in memory, and checks that its tensors are those of one model.
    ///
    /// # Errors
    ///
    /// [`PlainError`] lists what is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlainError> {
        let file = Tensors::parse(bytes, MAX_TENSORS)
            .map_err(|e| PlainError::NotSafetensors(e.to_string()))?;
        let needed = Tensor::ALL.into_iter().filter(|&t| t != Tensor::B1);
        let missing = needed.map(Tensor::name);
        let missing: Vec<_> = missing.filter(|name| file.get(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(PlainError::Missing(missing));
        }
        let [vocab, embd] = matrix(&file, "C", "(vocab, n_embd)")?;
        let [fan_in, hidden] = matrix(&file, "W1", "(block_size * n_embd, n_hidden)")?;
        let dims = Dims {
            vocab,
            block: fan_in / embd.max(1),
            embd,
            hidden,
            batch: *Dims::BATCH.start(),
        }
        .validate()?;
        if dims.fan_in() != fan_in {
            let expected = format!("a multiple of the {embd} columns of C for its rows");
            return Err(shape_error("W1", &[fan_in, hidden], expected));
        }
        // Each is in the file before there is room for it, but for a row of zeros.
        let read = Tensor::ALL.map(|tensor| floats(&file, tensor.name(), &tensor.shape(&dims)));
        let read = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut read = read.into_iter();
        let params = Params::from_fn(|tensor| {
            let values = read.next().flatten();
            values.unwrap_or_else(|| vec![0.0; tensor.len(&dims)])
        });
        let statistics = |name| floats(&file, name, &[1, dims.hidden]);
        let stats = match file.get("bnmean").is_some() && file.get("bnvar").is_some() {
            true => (statistics("bnmean")?).zip(statistics("bnvar")?),
            // One alone says nothing; gradcheck's files have the variance of a minibatch by this name.
            false => None,
        };
        let stats = stats.map(|(bnmean, bnvar)| Statistics { bnmean, bnvar });
        let variances = stats.iter().flat_map(|stats| &stats.bnvar);
        if let Some((index, &value)) = variances.enumerate().find(|&(_, &value)| value < 0.0) {
            return Err(PlainError::NegativeVariance { index, value });
        }
        Ok(Self {
            dims,
            params,
            stats,
        })
    }
}

fn shape_error(name: &'static str, found: &[usize], expected: String) -> PlainError {
    PlainError::Shape {
        name,
        found: excerpt(format_args!("{found:?}"), EXCERPT),
        expected,
    }
}

/// The shape of a tensor that has two axes, and perhaps others of length 1 before them.
fn matrix(
    file: &Tensors<'_>,
    name: &'static str,
    expected: &str,
) -> Result<[usize; 2], PlainError> {
    let shape = file.get(name).map(|tensor| tensor.shape().to_vec());
    let shape = shape.unwrap_or_default();
    let ones = shape.iter().take(shape.len().saturating_sub(2));
    let ones = ones.take_while(|&&size| size == 1).count();
    <[usize; 2]>::try_from(&shape[ones..])
        .map_err(|_| shape_error(name, &shape, expected.to_owned()))
}

/// The values of a tensor of this shape, if it is there.
fn floats(
    file: &Tensors<'_>,
    name: &'static str,
    expected: &[usize],
) -> Result<Option<Vec<f32>>, PlainError> {
    let Some(tensor) = file.get(name) else {
        return Ok(None);
    };
    let long = |shape: &[usize]| -> Vec<usize> {
        let axes = shape.iter().copied();
        axes.filter(|&size| size != 1).collect()
    };
    if long(tensor.shape()) != long(expected) {
        return Err(shape_error(name, tensor.shape(), format!("{expected:?}")));
    }
    let found = in_f64(&tensor).ok_or(PlainError::Dtype {
        name,
        found: tensor.dtype(),
    })?;
    // What has no more digits than f32 stays as it is.
    let rounded: Vec<f32> = found.iter().map(|&value| value as f32).collect();
    match rounded.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(PlainError::NonFinite {
            name,
            index,
            value: found[index],
        }),
        None => Ok(Some(rounded)),
    }
}

fn in_f64(tensor: &TensorView<'_>) -> Option<Vec<f64>> {
    let data = tensor.data();
    Some(match tensor.dtype() {
        Dtype::F32 => values(data, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => values(data, f64::from_le_bytes),
        Dtype::F16 => values(data, |b| f16::from_le_bytes(b).into()),
        Dtype::BF16 => values(data, |b| bf16::from_le_bytes(b).into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Name, type, shape and bytes of the tensors of a file.
    type File = BTreeMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)>;

    const DIMS: Dims = Dims {
        vocab: 5,
        block: 2,
        embd: 3,
        hidden: 4,
        batch: 2,
    };

    /// Values that every type has.
    fn params() -> Params<f32> {
        let mut next = 0;
        Params::from_fn(|tensor| {
            let value = |_| {
                next += 1;
                (next % 61 - 30) as f32 / 16.0
            };
            (0..tensor.len(&DIMS)).map(value).collect()
        })
    }

    fn bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
        let each = values.iter().map(|&v| match dtype {
            Dtype::F32 => v.to_le_bytes().to_vec(),
            Dtype::F64 => f64::from(v).to_le_bytes().to_vec(),
            Dtype::F16 => f16::from_f32(v).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(v).to_le_bytes().to_vec(),
            _ => vec![0; dtype.bitsize() / 8],
        });
        each.flatten().collect()
    }

    fn file(dtype: Dtype) -> File {
        let params = params();
        let entry = |tensor: Tensor| {
            let bytes = bytes(dtype, params.get(tensor));
            (tensor.name(), (dtype, tensor.shape(&DIMS), bytes))
        };
        Tensor::ALL.into_iter().map(entry).collect()
    }

    fn load(file: &File) -> Result<Plain, PlainError> {
        let views = file.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
            (name, view)
        });
        Plain::from_bytes(&safetensors::serialize(views, None).unwrap())
    }

    #[test]
    fn each_type_is_read_and_axes_of_1_do_not_count() {
        for dtype in [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16] {
            let mut file = file(dtype);
            let read = load(&file).unwrap();
            assert_eq!((&read.params, read.dims), (&params(), DIMS), "{dtype:?}");
            assert_eq!(read.stats, None);
            for (name, shape) in [
                ("bngain", vec![4]),
                ("b1", vec![1, 4]),
                ("b2", vec![5, 1]),
                ("C", vec![1, 5, 3]),
            ] {
                file.get_mut(name).unwrap().1 = shape;
            }
            assert_eq!(load(&file).unwrap(), read);
        }
    }

    #[test]
    fn what_may_be_absent_may_be_absent() {
        let mut file = file(Dtype::F32);
        file.remove("b1");
        let mut expected = params();
        expected.b1.fill(0.0);
        assert_eq!(load(&file).unwrap().params, expected);
        let row = |value: f32| (Dtype::F32, vec![1, 4], bytes(Dtype::F32, &[value; 4]));
        file.insert("bnvar", row(2.0));
        assert_eq!(load(&file).unwrap().stats, None);
        file.insert("bnmean", row(-1.0));
        let stats = load(&file).unwrap().stats.unwrap();
        assert_eq!((stats.bnmean[3], stats.bnvar[3]), (-1.0, 2.0));
        file.insert("bnvar", row(-2.0));
        let message = load(&file).unwrap_err().to_string();
        assert!(
            message.contains("value 0 of the tensor 'bnvar' is -2"),
            "{message}"
        );
    }

    #[test]
    fn what_is_no_model_is_refused_with_the_reason() {
        let refused = |change: fn(&mut File), expected: &str| {
            let mut file = file(Dtype::F32);
            change(&mut file);
            let message = load(&file).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        refused(
            |file| {
                file.retain(|name, _| !["W2", "bngain"].contains(name));
            },
            "so not written by gpu-makemore, and lacks W2, bngain; a model has C, W1,",
        );
        refused(
            |file| file.get_mut("W2").unwrap().1 = vec![5, 4],
            "the tensor 'W2' has the shape [5, 4], but [4, 5] is expected",
        );
        refused(
            |file| file.get_mut("C").unwrap().1 = vec![15],
            "the tensor 'C' has the shape [15], but (vocab, n_embd) is expected",
        );
        refused(
            |file| file.get_mut("W1").unwrap().1 = vec![8, 3],
            "'W1' has the shape [8, 3], but a multiple of the 3 columns of C for its rows",
        );
        refused(
            |file| file.get_mut("W1").unwrap().1 = vec![2, 12],
            "the shapes of C and W1 mean that --block-size is 0, but must be between 1 and 16",
        );
        refused(
            |file| file.get_mut("b2").unwrap().2[4..8].copy_from_slice(&f32::NAN.to_le_bytes()),
            "value 1 of the tensor 'b2' is NaN, which is not a finite number",
        );
        refused(
            |file| {
                let huge = 1e300_f64.to_le_bytes().repeat(5);
                file.insert("b2", (Dtype::F64, vec![5], huge));
            },
            "value 0 of the tensor 'b2' is 1e300, which is not a finite number in f32",
        );
        refused(
            |file| {
                file.insert("b2", (Dtype::I32, vec![5], vec![0; 20]));
            },
            "the tensor 'b2' holds I32 values; F32, F64, F16 and BF16 are read",
        );
        let message = Plain::from_bytes(b"words").unwrap_err().to_string();
        assert!(
            message.contains("it is not a safetensors file"),
            "{message}"
        );
    }
}
