//! A file of somebody else's tensors, read and checked.

use std::io::{self, Read};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Claim, Foreign, Given, Notes, claims};
use crate::checkpoint::header::Tensors;
use crate::gradcheck::Inputs;
use crate::gradcheck::compare::index;
use crate::model::dims::{Dims, DimsError, Token};
use crate::model::params::{Params, Tensor};
use crate::model::tensors::LectureTensor;
use crate::text::excerpt;

/// The largest file that is read. All tensors of the largest sizes that [`Dims`] allows take 1.3 GB
/// in F64.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// The most tensors that a file may have: the lecture has 26, each with a gradient, and its inputs.
const MAX_TENSORS: usize = 1024;

/// Names that a message lists at most, and the characters of each.
const LISTED: (usize, usize) = (10, 40);

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
    /// The file has another format, which can be converted.
    #[error("it is {0}, and no safetensors file")]
    Foreign(Foreign),
    /// Without these there is nothing to compute from.
    #[error("it lacks {}; the inputs X, Y, C, W1, b1, W2, b2, bngain and bnbias have to be in it (X and Y may be Xb and Yb)", .0.join(", "))]
    MissingInputs(Vec<&'static str>),
    /// Two names of one tensor: which of them is meant?
    #[error(
        "it has both '{first}' and '{second}', which are names of the same tensor; keep one of them"
    )]
    Twice {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
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
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The size and its range.
        source: DimsError,
    },
    /// A token that is no row of C.
    #[error("{name}{index} is {value}, but C has {vocab} rows: tokens are 0 to {}", .vocab - 1)]
    Token {
        /// Its name for X or Y.
        name: String,
        /// Its place, as the notebook would write it.
        index: String,
        /// The token.
        value: i128,
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
    /// Gradients that nobody looks at.
    #[error(
        "it has no gradient under a name that is read, but {}; name the gradient of logits d.logits, dlogits or logits.grad, and the others likewise, or leave them out",
        listed(.0)
    )]
    NoGradient(Vec<String>),
}

/// Names from a file, in a message.
fn listed(names: &[String]) -> String {
    let (most, characters) = LISTED;
    let mut shown: Vec<_> = (names.iter().take(most))
        .map(|name| format!("'{}'", excerpt(name, characters)))
        .collect();
    if let Some(more) = names.len().checked_sub(most).filter(|&more| more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
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
        let file = Tensors::parse(bytes, MAX_TENSORS).map_err(|e| match Foreign::of(bytes) {
            Some(foreign) => AgainstError::Foreign(foreign),
            None => AgainstError::NotSafetensors(e.to_string()),
        })?;
        Reader { file: &file }.given()
    }
}

/// Takes what is wanted out of a file.
struct Reader<'a> {
    file: &'a Tensors<'a>,
}

impl Reader<'_> {
    fn given(&self) -> Result<Given, AgainstError> {
        // The notebook's minibatch is `Xb, Yb`.
        let [x, y] = [self.find(&["X", "Xb"])?, self.find(&["Y", "Yb"])?];
        let parameters = Tensor::ALL.map(|t| (t.name(), self.get(t.name()).is_some()));
        let missing: Vec<_> = [("X", x.is_some()), ("Y", y.is_some())]
            .into_iter()
            .chain(parameters)
            .filter_map(|(name, there)| (!there).then_some(name))
            .collect();
        let (Some(x), Some(y), true) = (x, y, missing.is_empty()) else {
            return Err(AgainstError::MissingInputs(missing));
        };
        let dims = self.dims(&x)?;
        let inputs = Inputs {
            dims,
            params: self.params(&dims)?,
            x: self.tokens(&x, &[dims.batch, dims.block], dims.vocab)?,
            y: self.tokens(&y, &[dims.batch], dims.vocab)?,
        };
        let mut notes = Notes::default();
        let mut found: Vec<Claim> = Vec::new();
        let mut ignored = self.file.names();
        ignored.retain(|name| {
            *name != x && *name != y && Tensor::ALL.iter().all(|t| t.name() != name)
        });
        for (names, chunk, gradient) in claims() {
            let Some(label) = self.find(&names)? else {
                notes.absent.extend(names.into_iter().next());
                continue;
            };
            ignored.retain(|name| *name != label);
            let values = self.floats(&label, &self.shape(&label, chunk, &dims))?;
            found.push(Claim {
                label,
                chunk,
                gradient,
                values,
            });
        }
        // The header has them in the order of their bytes, which PyTorch sorts by type.
        ignored.sort_unstable();
        if !found.iter().any(|claim| claim.gradient) {
            // Said of a file that also has values: who saves gradients wants to know of those.
            let like: Vec<_> = (ignored.iter().filter(|name| like_a_gradient(name)))
                .cloned()
                .collect();
            if !like.is_empty() {
                return Err(AgainstError::NoGradient(like));
            }
        }
        if found.is_empty() {
            return Err(AgainstError::Nothing);
        }
        notes.ignored = ignored;
        Ok(Given {
            inputs,
            claims: found,
            notes,
        })
    }

    /// The one of a tensor's names that the file has.
    fn find<S: AsRef<str>>(&self, names: &[S]) -> Result<Option<String>, AgainstError> {
        let mut there = (names.iter().map(AsRef::as_ref)).filter(|name| self.get(name).is_some());
        match (there.next(), there.next()) {
            (Some(first), Some(second)) => Err(AgainstError::Twice {
                first: first.to_owned(),
                second: second.to_owned(),
            }),
            (first, _) => Ok(first.map(str::to_owned)),
        }
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
    fn dims(&self, x: &str) -> Result<Dims, AgainstError> {
        let [batch, block] = self.matrix(x, "(batch, block)")?;
        let [vocab, embd] = self.matrix("C", "(vocab, embd)")?;
        let [fan_in, mut hidden] = self.matrix("W1", "(block * embd, hidden)")?;
        if hidden == 1 && block.saturating_mul(embd) == 1 {
            hidden = fan_in; // a single row, as a column
        }
        let dims = Dims {
            vocab,
            block,
            embd,
            hidden,
            batch,
        };
        let dims = dims.validate().map_err(|source| {
            let name = match source.name {
                "--batch-size" | "--block-size" => x,
                "--n-hidden" => "W1",
                _ => "C",
            };
            AgainstError::Size {
                name: name.to_owned(),
                found: self.get(name).map_or(Vec::new(), |t| t.shape().to_vec()),
                source,
            }
        })?;
        Ok(dims)
    }

    /// The shape of a tensor with two dimensions, the second of which may be left out if it is 1.
    fn matrix(&self, name: &str, expected: &str) -> Result<[usize; 2], AgainstError> {
        let tensor = self.tensor(name)?;
        match (tensor.shape(), &long_axes(tensor.shape())[..]) {
            (&[rows, columns], _) | (_, &[rows, columns]) => Ok([rows, columns]),
            (_, &[rows]) => Ok([rows, 1]),
            (shape, _) => Err(self.shape_error(name, shape, expected.to_owned())),
        }
    }

    /// The shape that a tensor has to have. `embcat` is `emb` under another shape, and may have either.
    fn shape(&self, name: &str, chunk: LectureTensor, dims: &Dims) -> Vec<usize> {
        let (shape, emb) = (chunk.shape(dims), LectureTensor::Emb.shape(dims));
        let has = |shape| self.get(name).is_some_and(|t| same(t.shape(), shape));
        if chunk == LectureTensor::Embcat && has(&emb) {
            emb
        } else {
            shape
        }
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
        if same(tensor.shape(), expected) {
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
        name: &str,
        shape: &[usize],
        vocab: usize,
    ) -> Result<Vec<Token>, AgainstError> {
        let tensor = self.shaped(name, shape)?;
        let data = tensor.data();
        let values: Vec<i128> = match tensor.dtype() {
            Dtype::I8 => numbers(data, |b| i8::from_le_bytes(b).into()),
            Dtype::U8 => numbers(data, |b| u8::from_le_bytes(b).into()),
            Dtype::I16 => numbers(data, |b| i16::from_le_bytes(b).into()),
            Dtype::U16 => numbers(data, |b| u16::from_le_bytes(b).into()),
            Dtype::I32 => numbers(data, |b| i32::from_le_bytes(b).into()),
            Dtype::U32 => numbers(data, |b| u32::from_le_bytes(b).into()),
            Dtype::I64 => numbers(data, |b| i64::from_le_bytes(b).into()),
            Dtype::U64 => numbers(data, |b| u64::from_le_bytes(b).into()),
            other => return Err(self.dtype_error(name, other, "integers", ".long()")),
        };
        let token = |(at, &value): (usize, &i128)| {
            let token = Token::try_from(value)
                .ok()
                .filter(|&t| usize::from(t) < vocab);
            token.ok_or_else(|| AgainstError::Token {
                name: name.to_owned(),
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

/// The lengths of the axes that have more than one place, or none.
fn long_axes(shape: &[usize]) -> Vec<usize> {
    shape
        .iter()
        .copied()
        .filter(|&length| length != 1)
        .collect()
}

/// Whether two shapes order values alike: they may differ by axes of length 1. In the notebook a row is
/// `(hidden)` for `b1` and `(1, hidden)` for `bngain`, and a column is `(batch)` without `keepdim=True`.
fn same(shape: &[usize], other: &[usize]) -> bool {
    long_axes(shape) == long_axes(other)
}

/// Whether a name that is not read may be meant for a gradient. A wrong guess costs a new name; a
/// gradient that is passed over in silence would look right.
fn like_a_gradient(name: &str) -> bool {
    let name = name.to_lowercase();
    name.starts_with('d') || name.contains("grad")
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

    /// Columns without `keepdim=True`, rows as columns, and whatever else does not move a value.
    #[test]
    fn axes_of_length_1_make_no_other_tensor() {
        let mut file = file();
        for (name, len, shape) in [
            ("counts_sum", 3, vec![3]),
            ("dlogit_maxes", 3, vec![1, 3]),
            ("bnvar.grad", 4, vec![4, 1]),
            ("h", 12, vec![3, 1, 4]),
            ("embcat", 18, vec![3, 2, 3]),
            ("d.embcat", 18, vec![3, 2, 3, 1]),
        ] {
            let bytes = vec![0; 4 * len];
            file.insert(name.to_owned(), (Dtype::F32, shape, bytes));
        }
        for (name, shape) in [("b1", vec![4, 1]), ("Y", vec![3, 1]), ("C", vec![5, 3, 1])] {
            file.get_mut(name).unwrap().1 = shape;
        }
        let given = load(&file).unwrap();
        assert_eq!((given.claims.len(), given.notes.ignored.len()), (7, 0));
        // But `emb` is no other shape of `embcat`, and not all that has as many values is the same.
        let zeros = |len: usize| vec![0; 4 * len];
        assert!(refused("emb", Dtype::F32, &[3, 6], &zeros(18)).contains("[3, 2, 3] is expected"));
        assert!(
            refused("embcat", Dtype::F32, &[3, 3, 2], &zeros(18)).contains("[3, 6] is expected")
        );
        assert!(refused("d.bnvar", Dtype::F32, &[2, 2], &zeros(4)).contains("[1, 4] is expected"));
    }

    /// A block of one, an embedding of one number and one hidden unit, saved with as few axes as there are.
    #[test]
    fn sizes_of_1_are_read_without_their_axes() {
        let mut file = file();
        let tokens = [0i64, 1, 2].map(i64::to_le_bytes).concat();
        file.insert("X".to_owned(), (Dtype::I64, vec![3], tokens));
        for (name, shape) in [
            ("C", &[5][..]),
            ("W1", &[4]),
            ("bngain", &[4]),
            ("d.h", &[3, 4]),
        ] {
            let bytes = vec![0; 4 * shape.iter().product::<usize>()];
            file.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), bytes));
        }
        let dims = load(&file).unwrap().inputs.dims;
        assert_eq!((dims.block, dims.embd, dims.hidden), (1, 1, 4));
        for (name, shape) in [
            ("C", &[5, 2][..]),
            ("W1", &[2]),
            ("b1", &[]),
            ("bngain", &[1]),
            ("bnbias", &[1, 1]),
            ("W2", &[5]),
            ("d.h", &[3]),
        ] {
            let bytes = vec![0; 4 * shape.iter().product::<usize>()];
            file.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), bytes));
        }
        let dims = load(&file).unwrap().inputs.dims;
        assert_eq!((dims.block, dims.embd, dims.hidden), (1, 2, 1));
    }

    /// The same numbers pass or fail under each name alike.
    #[test]
    fn a_gradient_has_three_names_and_the_minibatch_two() {
        for name in ["d.h", "dh", "h.grad"] {
            let mut file = file();
            let (x, d) = (file.remove("X").unwrap(), file.remove("d.h").unwrap());
            let (dtype, shape, bytes) = x;
            file.insert("Xb".to_owned(), (dtype, shape, bytes));
            let y = file.remove("Y").unwrap();
            file.insert("Yb".to_owned(), y);
            file.insert(name.to_owned(), d);
            let given = load(&file).unwrap();
            assert_eq!((given.inputs.x.len(), given.inputs.y.len()), (6, 3));
            assert!(!given.notes.absent.contains(&"d.h".to_owned()));
            assert!(given.notes.ignored.is_empty());
            let rows = check(&Engine::Cpu, &given).block_on().unwrap();
            assert_eq!((rows.len(), rows[0].label.as_str()), (1, name));
            assert!(!rows[0].comparison.pass);
        }
    }

    #[test]
    fn a_tensor_under_two_names_is_refused() {
        let ints = [0i64; 6].map(i64::to_le_bytes).concat();
        assert_eq!(
            refused("Xb", Dtype::I64, &[3, 2], &ints),
            "it has both 'X' and 'Xb', which are names of the same tensor; keep one of them"
        );
        for second in ["dh", "h.grad"] {
            let message = refused(second, Dtype::F32, &[3, 4], &[0; 48]);
            assert!(
                message.contains(&format!("both 'd.h' and '{second}'")),
                "{message}"
            );
        }
    }

    /// Whatever else is right in the file: gradients that nobody looks at are no agreement.
    #[test]
    fn gradients_that_are_not_compared_are_an_error() {
        for name in [
            "grad_logits",
            "logits_grad",
            "dLogits",
            "d_h",
            "Grad.h",
            "dlogit",
        ] {
            let mut file = file();
            let d = file.remove("d.h").unwrap();
            file.insert(name.to_owned(), d.clone());
            for with_a_value in [false, true] {
                if with_a_value {
                    file.insert("h".to_owned(), d.clone());
                }
                let message = load(&file).unwrap_err().to_string();
                assert_eq!(
                    message,
                    format!(
                        "it has no gradient under a name that is read, but '{name}'; name the \
                         gradient of logits d.logits, dlogits or logits.grad, and the others likewise, \
                         or leave them out"
                    )
                );
            }
            // Beside one that is read they are listed.
            file.insert("d.h".to_owned(), d);
            assert_eq!(load(&file).unwrap().notes.ignored, [name]);
        }
        // Many are not listed, nor what is none.
        let mut file = file();
        let d = file.remove("d.h").unwrap();
        file.insert("h".to_owned(), d.clone());
        file.insert("loss".to_owned(), (Dtype::F32, vec![], vec![0; 4]));
        assert!(load(&file).is_ok());
        for number in 0..12 {
            file.insert(format!("d{number:02}\n{}", "x".repeat(99)), d.clone());
        }
        let message = load(&file).unwrap_err().to_string();
        assert!(
            message.contains(", 2 more; name the") && message.len() < 900,
            "{message}"
        );
        assert!(
            message.contains(r"'d00\nx") && !message.contains("loss"),
            "{message}"
        );
    }

    #[test]
    fn a_shape_that_disagrees_is_named_with_what_is_expected() {
        for (name, shape, expected) in [
            ("b1", &[2, 2][..], "[4]"),
            ("W2", &[5, 4], "[4, 5]"),
            ("W1", &[5, 4], "[6, 4]"),
            ("Y", &[3, 2], "[3]"),
            ("d.h", &[4, 3], "[3, 4]"),
            ("probs", &[3, 4], "[3, 5]"),
            ("X", &[3, 2, 2], "(batch, block)"),
            ("X", &[], "(batch, block)"),
            ("C", &[5, 3, 2], "(vocab, embd)"),
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
        let y = [0u64, 1, u64::MAX].map(u64::to_le_bytes).concat();
        assert_eq!(
            refused("Y", Dtype::U64, &[3], &y),
            "Y[2] is 18446744073709551615, but C has 5 rows: tokens are 0 to 4"
        );
    }

    #[test]
    fn tokens_may_be_integers_of_any_type() {
        use Dtype::{I8, I16, I32, I64, U8, U16, U32, U64};
        for dtype in [I8, U8, I16, U16, I32, U32, I64, U64] {
            let size = dtype.bitsize() / 8;
            let bytes = |tokens: &[u8]| -> Vec<u8> {
                let wide = tokens.iter().flat_map(|t| u64::from(*t).to_le_bytes());
                let kept = wide.enumerate().filter(|(at, _)| at % 8 < size);
                kept.map(|(_, byte)| byte).collect()
            };
            let mut file = file();
            file.insert(
                "X".to_owned(),
                (dtype, vec![3, 2], bytes(&[0, 1, 2, 3, 4, 0])),
            );
            file.insert("Y".to_owned(), (dtype, vec![3], bytes(&[4, 0, 1])));
            let inputs = load(&file).unwrap().inputs;
            assert_eq!(inputs.x, [0, 1, 2, 3, 4, 0], "{dtype:?}");
            assert_eq!(inputs.y, [4, 0, 1], "{dtype:?}");
        }
    }

    #[test]
    fn a_type_that_is_not_read_is_named_with_the_way_out() {
        assert_eq!(
            refused("Y", Dtype::F32, &[3], &[0; 12]),
            "the tensor 'Y' holds F32 values instead of integers; convert it with .long()"
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
