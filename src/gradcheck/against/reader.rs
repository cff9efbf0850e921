//! A file of somebody else's tensors, read and checked.

use std::io::{self, Read};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Claim, Given, Notes, claims};
use crate::checkpoint::header::Tensors;
use crate::gradcheck::Inputs;
use crate::gradcheck::compare::index;
use crate::model::dims::{Dims, DimsError, Token};
use crate::model::params::{Params, Tensor};

/// The largest file that is read. All tensors of the largest sizes that [`Dims`] allows take 1.3 GB
/// in F64.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// The most tensors that a file may have: the lecture has 26, each with a gradient, and its inputs.
const MAX_TENSORS: usize = 1024;

/// Why a file cannot be checked. Every message is one line in which the file is "it".
#[derive(Debug, thiserror::Error)]
pub enum AgainstError {
    /// The input failed.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file is larger than any that could be checked.
    #[error(
        "it is {bytes} bytes long, more than the {MAX_FILE_BYTES} that the largest sizes need; save the tensors of one minibatch"
    )]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// The file does not follow the safetensors format.
    #[error(
        "it is not a safetensors file, or it is damaged: {0}; write it with safetensors.torch.save_file"
    )]
    NotSafetensors(String),
    /// Without these there is nothing to compute from.
    #[error("it lacks {}; the inputs X, Y, C, W1, b1, W2, b2, bngain and bnbias have to be in it", .0.join(", "))]
    MissingInputs(Vec<&'static str>),
    /// A tensor's values have a type that is not read.
    #[error(
        "the tensor '{name}' holds {found:?} values instead of {expected}; convert it with {convert}"
    )]
    Dtype {
        /// The tensor's name.
        name: String,
        /// The type of its values.
        found: Dtype,
        /// The types that are read.
        expected: &'static str,
        /// How PyTorch converts it.
        convert: &'static str,
    },
    /// A tensor's shape contradicts the others.
    #[error(
        "the tensor '{name}' has the shape {found:?}, but {expected} is expected; all tensors have to be of one minibatch and one model"
    )]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that it should have by those of X, C and W1.
        expected: String,
    },
    /// A size that the kernels are not built for.
    #[error("the shape {found:?} of the tensor '{name}' means that {source}")]
    Size {
        /// The tensor's name.
        name: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The size and its range.
        source: DimsError,
    },
    /// A token that is no row of C.
    #[error("{name}{index} is {value}, but C has {vocab} rows: tokens are 0 to {}", .vocab - 1)]
    Token {
        /// `X` or `Y`.
        name: &'static str,
        /// Its place, as the notebook would write it.
        index: String,
        /// The token.
        value: i64,
        /// Rows of C.
        vocab: usize,
    },
    /// A parameter that is no number in f32.
    #[error(
        "{name}{index} is {value:e}, which is not a finite number in f32; save the tensors of a model that has not diverged"
    )]
    NonFinite {
        /// The parameter.
        name: &'static str,
        /// The place, as the notebook would write it.
        index: String,
        /// The value.
        value: f64,
    },
    /// A check would always pass.
    #[error(
        "it has inputs, but nothing to compare: save values of the forward pass under their names, like probs, or gradients, like d.probs"
    )]
    Nothing,
}

impl Given {
    /// Reads a file of `length` bytes from `input`, and checks that its tensors belong together.
    ///
    /// # Errors
    ///
    /// [`AgainstError`] lists what is refused.
    pub fn read(length: u64, input: impl Read) -> Result<Self, AgainstError> {
        if length > MAX_FILE_BYTES {
            return Err(AgainstError::TooLarge { bytes: length });
        }
        let mut bytes = Vec::with_capacity(length as usize);
        input.take(length).read_to_end(&mut bytes)?;
        Self::from_bytes(&bytes)
    }

    /// Reads a file that is in memory: [`Given::read`] without a copy of it.
    ///
    /// # Errors
    ///
    /// As [`Given::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AgainstError> {
        let file = Tensors::parse(bytes, MAX_TENSORS)
            .map_err(|e| AgainstError::NotSafetensors(e.to_string()))?;
        Reader { file: &file }.given()
    }
}

/// Takes what is wanted out of a file.
struct Reader<'a> {
    file: &'a Tensors<'a>,
}

/// The names of the inputs.
fn input_names() -> impl Iterator<Item = &'static str> {
    ["X", "Y"].into_iter().chain(Tensor::ALL.map(Tensor::name))
}

impl Reader<'_> {
    fn given(&self) -> Result<Given, AgainstError> {
        let missing: Vec<_> = input_names()
            .filter(|name| self.get(name).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(AgainstError::MissingInputs(missing));
        }
        let dims = self.dims()?;
        let inputs = Inputs {
            dims,
            params: self.params(&dims)?,
            x: self.tokens("X", &[dims.batch, dims.block], dims.vocab)?,
            y: self.tokens("Y", &[dims.batch], dims.vocab)?,
        };
        let mut notes = Notes::default();
        let mut found = Vec::new();
        let mut ignored = self.file.names();
        ignored.retain(|name| !input_names().any(|input| input == name));
        for claim in claims() {
            ignored.retain(|name| *name != claim.label);
            if self.get(&claim.label).is_none() {
                notes.absent.push(claim.label);
                continue;
            }
            let values = self.floats(&claim.label, &claim.chunk.shape(&dims))?;
            found.push(Claim { values, ..claim });
        }
        if found.is_empty() {
            return Err(AgainstError::Nothing);
        }
        // The header has them in the order of their bytes, which PyTorch sorts by type.
        ignored.sort_unstable();
        notes.ignored = ignored;
        Ok(Given {
            inputs,
            claims: found,
            notes,
        })
    }

    fn get(&self, name: &str) -> Option<TensorView<'_>> {
        self.file.get(name)
    }

    /// A tensor that is known to be there.
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, AgainstError> {
        self.get(name)
            .ok_or_else(|| AgainstError::NotSafetensors(format!("it has no tensor '{name}'")))
    }

    /// The five sizes, from three shapes.
    fn dims(&self) -> Result<Dims, AgainstError> {
        let [batch, block] = self.matrix("X", "(batch, block)")?;
        let [vocab, embd] = self.matrix("C", "(vocab, embd)")?;
        let [fan_in, hidden] = self.matrix("W1", "(block * embd, hidden)")?;
        let dims = Dims {
            vocab,
            block,
            embd,
            hidden,
            batch,
        };
        let dims = dims.validate().map_err(|source| {
            let (name, found) = match source.name {
                "--batch-size" | "--block-size" => ("X", vec![batch, block]),
                "--n-hidden" => ("W1", vec![fan_in, hidden]),
                _ => ("C", vec![vocab, embd]),
            };
            AgainstError::Size {
                name,
                found,
                source,
            }
        })?;
        Ok(dims)
    }

    /// The shape of a tensor with two dimensions.
    fn matrix(&self, name: &str, expected: &str) -> Result<[usize; 2], AgainstError> {
        let tensor = self.tensor(name)?;
        <[usize; 2]>::try_from(tensor.shape())
            .map_err(|_| self.shape_error(name, tensor.shape(), expected.to_owned()))
    }

    fn shape_error(&self, name: &str, found: &[usize], expected: String) -> AgainstError {
        AgainstError::Shape {
            name: name.to_owned(),
            found: found.to_vec(),
            expected,
        }
    }

    /// A tensor with its shape checked.
    fn shaped(&self, name: &str, expected: &[usize]) -> Result<TensorView<'_>, AgainstError> {
        let tensor = self.tensor(name)?;
        if row(tensor.shape()) == row(expected) {
            Ok(tensor)
        } else {
            Err(self.shape_error(name, tensor.shape(), format!("{expected:?}")))
        }
    }

    fn dtype_error(
        &self,
        name: &str,
        found: Dtype,
        expected: &'static str,
        convert: &'static str,
    ) -> AgainstError {
        AgainstError::Dtype {
            name: name.to_owned(),
            found,
            expected,
            convert,
        }
    }

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, AgainstError> {
        let tensor = self.shaped(name, shape)?;
        match tensor.dtype() {
            Dtype::F32 => Ok(numbers(tensor.data(), |b| f32::from_le_bytes(b).into())),
            Dtype::F64 => Ok(numbers(tensor.data(), f64::from_le_bytes)),
            other => Err(self.dtype_error(name, other, "F32 or F64", ".float()")),
        }
    }

    /// The seven parameters, in the precision in which they are computed with.
    fn params(&self, dims: &Dims) -> Result<Params<f32>, AgainstError> {
        let mut params = Params::filled(dims, 0.0);
        for tensor in Tensor::ALL {
            let (name, shape) = (tensor.name(), tensor.shape(dims));
            let values = self.floats(name, &shape)?;
            if let Some(at) = values.iter().position(|&v| !(v as f32).is_finite()) {
                return Err(AgainstError::NonFinite {
                    name,
                    index: index(&shape, at),
                    value: values[at],
                });
            }
            for (to, from) in params.get_mut(tensor).iter_mut().zip(values) {
                *to = from as f32;
            }
        }
        Ok(params)
    }

    /// Tokens, each a row of C.
    fn tokens(
        &self,
        name: &'static str,
        shape: &[usize],
        vocab: usize,
    ) -> Result<Vec<Token>, AgainstError> {
        let tensor = self.shaped(name, shape)?;
        let values: Vec<i64> = match tensor.dtype() {
            Dtype::I32 => numbers(tensor.data(), |b| i32::from_le_bytes(b).into()),
            Dtype::I64 => numbers(tensor.data(), i64::from_le_bytes),
            other => return Err(self.dtype_error(name, other, "I32 or I64", ".long()")),
        };
        let token = |(at, &value): (usize, &i64)| {
            let token = Token::try_from(value)
                .ok()
                .filter(|&t| usize::from(t) < vocab);
            token.ok_or_else(|| AgainstError::Token {
                name,
                index: index(shape, at),
                value,
                vocab,
            })
        };
        values.iter().enumerate().map(token).collect()
    }
}

/// Little-endian numbers of N bytes.
fn numbers<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers.iter().map(|&bytes| convert(bytes)).collect()
}

/// The shape without a 1 in front: a row may be `(hidden)` or `(1, hidden)`, as in the notebook it is
/// one for `b1` and the other for `bngain`, and one for `bnmeani` and the other for its gradient.
fn row(shape: &[usize]) -> &[usize] {
    match shape {
        [1, rest @ ..] if !rest.is_empty() => rest,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pollster::FutureExt as _;

    use super::*;
    use crate::gradcheck::against::check;
    use crate::gradcheck::engine::Engine;

    /// Name, type, shape and bytes of the tensors of a file.
    type File = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

    /// Tensors of three examples, with a gradient.
    fn file() -> File {
        let mut file = File::new();
        let float = |len: usize| (0..len).flat_map(|i| (i as f32 / 7.0).sin().to_le_bytes());
        let dims = Dims {
            vocab: 5,
            block: 2,
            embd: 3,
            hidden: 4,
            batch: 3,
        };
        for tensor in Tensor::ALL {
            let bytes = float(tensor.len(&dims)).collect();
            let entry = (Dtype::F32, tensor.shape(&dims), bytes);
            file.insert(tensor.name().to_owned(), entry);
        }
        let x = [0i64, 1, 2, 3, 4, 0].map(i64::to_le_bytes).concat();
        let y = [4i32, 0, 1].map(i32::to_le_bytes).concat();
        file.insert("X".to_owned(), (Dtype::I64, vec![3, 2], x));
        file.insert("Y".to_owned(), (Dtype::I32, vec![3], y));
        let d = float(12).collect();
        file.insert("d.h".to_owned(), (Dtype::F32, vec![3, 4], d));
        file
    }

    fn load(file: &File) -> Result<Given, AgainstError> {
        let views = file.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
            (name, view)
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        Given::read(bytes.len() as u64, &bytes[..])
    }

    /// What is said of a file with one tensor changed.
    fn refused(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> String {
        let mut file = file();
        file.insert(name.to_owned(), (dtype, shape.to_vec(), bytes.to_vec()));
        load(&file).unwrap_err().to_string()
    }

    #[test]
    fn a_file_says_what_it_has_and_what_it_lacks() {
        let mut file = file();
        file.insert("loss".to_owned(), (Dtype::F32, vec![], vec![0; 4]));
        let given = load(&file).unwrap();
        assert_eq!(given.inputs.x, [0, 1, 2, 3, 4, 0]);
        assert_eq!(given.inputs.y, [4, 0, 1]);
        assert_eq!(given.notes.absent.len(), 44);
        assert_eq!(given.notes.absent[0], "emb");
        assert_eq!(given.notes.ignored, ["loss"]);
        let rows = check(&Engine::Cpu, &given).block_on().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].label, "d.h");
        assert!(!rows[0].comparison.pass);
    }

    #[test]
    fn a_row_may_have_one_dimension_or_two() {
        let mut file = file();
        for (name, shape) in [("b1", vec![1, 4]), ("bngain", vec![4]), ("b2", vec![1, 5])] {
            file.get_mut(name).unwrap().1 = shape;
        }
        let d = vec![0; 16];
        file.insert("d.bnmeani".to_owned(), (Dtype::F32, vec![4], d));
        assert!(load(&file).is_ok());
    }

    #[test]
    fn a_shape_that_disagrees_is_named_with_what_is_expected() {
        for (name, shape, expected) in [
            ("b1", &[4, 1][..], "[4]"),
            ("W2", &[5, 4], "[4, 5]"),
            ("W1", &[5, 4], "[6, 4]"),
            ("Y", &[3, 1], "[3]"),
            ("d.h", &[4, 3], "[3, 4]"),
            ("probs", &[3, 4], "[3, 5]"),
            ("X", &[3], "(batch, block)"),
            ("C", &[5, 3, 1], "(vocab, embd)"),
        ] {
            let dtype = if name.len() == 1 && name != "C" {
                Dtype::I64
            } else {
                Dtype::F32
            };
            let size = if dtype == Dtype::I64 { 8 } else { 4 };
            let bytes = vec![0; size * shape.iter().product::<usize>()];
            let message = refused(name, dtype, shape, &bytes);
            let start = format!(
                "the tensor '{name}' has the shape {shape:?}, but {expected} is expected; "
            );
            assert!(message.starts_with(&start), "{message}");
        }
    }

    #[test]
    fn a_size_out_of_range_is_told_by_the_shape_that_has_it() {
        let message = refused("X", Dtype::I64, &[1, 2], &[0; 16]);
        assert_eq!(
            message,
            "the shape [1, 2] of the tensor 'X' means that --batch-size is 1, but must be between 2 \
             and 4096"
        );
        assert!(refused("W1", Dtype::F32, &[6, 0], &[]).contains("[6, 0] of the tensor 'W1'"));
        assert!(refused("C", Dtype::F32, &[5, 0], &[]).contains("[5, 0] of the tensor 'C'"));
    }

    #[test]
    fn a_token_that_is_no_row_of_c_is_named_with_its_place() {
        let x = [0i64, 1, 2, 5, 4, 0].map(i64::to_le_bytes).concat();
        assert_eq!(
            refused("X", Dtype::I64, &[3, 2], &x),
            "X[1, 1] is 5, but C has 5 rows: tokens are 0 to 4"
        );
        let y = [0i32, -1, 2].map(i32::to_le_bytes).concat();
        assert_eq!(
            refused("Y", Dtype::I32, &[3], &y),
            "Y[1] is -1, but C has 5 rows: tokens are 0 to 4"
        );
    }

    #[test]
    fn a_type_that_is_not_read_is_named_with_the_way_out() {
        assert_eq!(
            refused("Y", Dtype::F32, &[3], &[0; 12]),
            "the tensor 'Y' holds F32 values instead of I32 or I64; convert it with .long()"
        );
        assert_eq!(
            refused("d.h", Dtype::BF16, &[3, 4], &[0; 24]),
            "the tensor 'd.h' holds BF16 values instead of F32 or F64; convert it with .float()"
        );
    }

    #[test]
    fn a_parameter_has_to_be_a_number_in_f32_and_a_gradient_need_not() {
        for bad in [f64::NAN, f64::INFINITY, 1e300] {
            let bytes = [0.0, 1.0, bad, 3.0].map(f64::to_le_bytes).concat();
            let message = refused("b1", Dtype::F64, &[4], &bytes);
            let start = format!("b1[2] is {bad:e}, which is not a finite number in f32; ");
            assert!(message.starts_with(&start), "{message}");
        }
        let mut file = file();
        let nans = [f32::NAN; 12].map(f32::to_le_bytes).concat();
        file.insert("d.h".to_owned(), (Dtype::F32, vec![3, 4], nans));
        let rows = check(&Engine::Cpu, &load(&file).unwrap())
            .block_on()
            .unwrap();
        assert!(!rows[0].comparison.pass);
    }

    #[test]
    fn without_inputs_or_without_anything_to_compare_there_is_no_check() {
        let mut without = file();
        without.remove("Y");
        without.remove("bngain");
        let message = load(&without).unwrap_err().to_string();
        assert!(message.contains("it lacks Y, bngain; "), "{message}");
        let mut without = file();
        without.remove("d.h");
        let message = load(&without).unwrap_err().to_string();
        assert!(message.contains("nothing to compare"), "{message}");
    }

    #[test]
    fn what_is_no_safetensors_file_is_refused_by_what_it_is() {
        for content in ["", "not a header", "\u{1}\0\0\0\0\0\0\0{"] {
            let message = Given::from_bytes(content.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(message.contains("not a safetensors file"), "{message}");
        }
        let large = Given::read(MAX_FILE_BYTES + 1, io::empty());
        assert!(matches!(large, Err(AgainstError::TooLarge { .. })));
    }
}
