//! Known mistakes in the kernels. The tests prove that `gradcheck` finds each of them; a learner can make them
//! on purpose and watch what they do.

use super::code::Layouts;
use super::engine::{Engine, Kernels};
use crate::gpu::adapter::Found;
use crate::model::tensors::LectureTensor;

/// A mistake in a kernel, and how it shows.
pub struct Mistake {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// The file under `shaders/`.
    pub file: &'static str,
    /// The text there, which it has once.
    pub from: &'static str,
    /// The text in its place.
    pub to: &'static str,
    /// What finds it.
    pub by: By,
    /// The first tensor that is wrong, in the order of the backward pass.
    pub first: LectureTensor,
}

/// What finds a mutation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// `gradcheck` of the staged step: of two kernels for one gradient, this sees the step's.
    Gradcheck,
    /// `gradcheck` of the step in parts. The staged step, checked beside it, is right.
    Parts,
    /// `gradcheck` of the resident kernel.
    Resident,
    /// `gradcheck --exercise 1`: this sees the chunked one.
    Exercise1,
    /// `gradcheck --against` with a file whose logits are around 100.
    LargeLogits,
}

/// A [`Mistake`], field by field.
pub const fn mistake(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    by: By,
    first: LectureTensor,
) -> Mistake {
    Mistake {
        name,
        file,
        from,
        to,
        by,
        first,
    }
}

/// One mistake at a time. A tensor may not vanish from a kernel altogether, for then its binding
/// would too, and the driver and not the check would complain: hence `0.0 *`.
///
/// Where a kernel serves both layers, the second is the first to be wrong: so no mistake shows in
/// embcat, W1 or b1 first. A mistake in the forward pass shows in dprobs, the first gradient that
/// depends on a value. Mistakes in the slices of a sum are in tests/gpu.rs, for a software driver
/// runs the kernels without slices. And two mistakes no check could find: the sign of dlogit_maxes
/// and the place where it is added to dlogits, because it is zero.
#[rustfmt::skip]
pub static MISTAKES: [Mistake; 65] = [
    // The forward pass.
    mistake("n for n-1 in the variance", "batchnorm.wgsl",
        "return sum_bndiff2 / (n - 1.0);", "return sum_bndiff2 / n;",
        By::Gradcheck, LectureTensor::Probs),
    mistake("tokens unpacked from the wrong end", "embedding.wgsl",
        "(16u * (positions % 2u))", "(16u - 16u * (positions % 2u))",
        By::Gradcheck, LectureTensor::Probs),
    mistake("the bias forgotten", "staged/linear.wgsl",
        "s0 = b[tile.col];", "s0 = 0.0 * b[tile.col];",
        By::Gradcheck, LectureTensor::Probs),
    mistake("the row maximum not subtracted", "chunked/softmax_cross_entropy.wgsl",
        "logits[i] - logit_maxes[", "logits[i] - 0.0 * logit_maxes[",
        By::Gradcheck, LectureTensor::CountsSumInv),
    mistake("the row maximum not subtracted in the training step", "staged/softmax_cross_entropy.wgsl",
        "exp(logits[row_start + i] - logit_max)", "exp(logits[row_start + i])",
        By::LargeLogits, LectureTensor::Logits),
    // Backward through softmax and cross-entropy.
    mistake("dlogprobs without its minus", "chunked/softmax_cross_entropy.wgsl",
        "-1.0 / f32(shape.examples)", "1.0 / f32(shape.examples)",
        By::Gradcheck, LectureTensor::Logprobs),
    mistake("dlogprobs of another example's target", "chunked/softmax_cross_entropy.wgsl",
        "let y = (Y[row / 2u] >> (16u * (row % 2u))) & 0xffffu;", "let y = Y[row / 2u] & 0xffffu;",
        By::Gradcheck, LectureTensor::Logprobs),
    mistake("p for 1 over p", "chunked/softmax_cross_entropy.wgsl",
        "(1.0 / probs[i]) * dlogprobs[i]", "probs[i] * dlogprobs[i]",
        By::Gradcheck, LectureTensor::Probs),
    mistake("a broadcast not summed", "chunked/softmax_cross_entropy.wgsl",
        "sum += counts[i] * dprobs[i];", "sum = counts[i] * dprobs[i];",
        By::Gradcheck, LectureTensor::CountsSumInv),
    mistake("1 over x for 1 over x squared", "chunked/softmax_cross_entropy.wgsl",
        "-1.0 / (counts_sum[row] * counts_sum[row])", "-1.0 / counts_sum[row]",
        By::Gradcheck, LectureTensor::CountsSum),
    mistake("the second use of counts forgotten", "chunked/softmax_cross_entropy.wgsl",
        "* dprobs[i] + dcounts_sum[row]", "* dprobs[i] + 0.0 * dcounts_sum[row]",
        By::Gradcheck, LectureTensor::Counts),
    mistake("rows and columns swapped", "chunked/softmax_cross_entropy.wgsl",
        "let row = i / pitch(shape.vocab);\n        dcounts[i]",
        "let row = i % pitch(shape.vocab);\n        dcounts[i]",
        By::Gradcheck, LectureTensor::Counts),
    mistake("exp derived to 1", "chunked/softmax_cross_entropy.wgsl",
        "dnorm_logits[i] = counts[i] * dcounts[i];", "dnorm_logits[i] = 0.0 * counts[i] + dcounts[i];",
        By::Gradcheck, LectureTensor::NormLogits),
    mistake("a maximum used once and not by its row", "chunked/softmax_cross_entropy.wgsl",
        "sum += -dnorm_logits[", "sum = -dnorm_logits[",
        By::Gradcheck, LectureTensor::LogitMaxes),
    mistake("the mean not taken", "softmax_cross_entropy.wgsl",
        "(examples * prob - followed) / n", "examples * prob - followed",
        By::Gradcheck, LectureTensor::Logits),
    mistake("nothing taken off at the target", "softmax_cross_entropy.wgsl",
        "examples * prob - followed", "examples * prob - 0.0 * followed",
        By::Gradcheck, LectureTensor::Logits),
    mistake("a pad taken for a logit", "staged/softmax_cross_entropy.wgsl",
        "columns(i) < vec4<u32>(shape.vocab)", "columns(i) <= vec4<u32>(shape.vocab)",
        By::Gradcheck, LectureTensor::Logits),
    // Linear layers and tanh.
    mistake("W2 for its transpose", "staged/linear.wgsl",
        "let right = transpose(\n            mat4x4<f32>(W[w], W[w + terms], W[w + 2u * terms], W[w + 3u * terms]),\n        );",
        "let right = mat4x4<f32>(W[w], W[w + terms], W[w + 2u * terms], W[w + 3u * terms]);",
        By::Gradcheck, LectureTensor::H),
    mistake("h for its transpose", "staged/linear.wgsl",
        "columns_of_four(xs + upper)", "columns_of_four(upper * shape.rows + rows)",
        By::Gradcheck, LectureTensor::W2),
    mistake("the bias of the last row alone", "staged/linear.wgsl",
        "bias += (right[0]", "bias = (right[0]",
        By::Gradcheck, LectureTensor::B2),
    mistake("1-h for 1-h**2", "tanh.wgsl",
        "(1.0 - h * h) * dh", "(1.0 - h) * dh",
        By::Gradcheck, LectureTensor::Hpreact),
    // Batch norm, in one go.
    mistake("dbngain and dbnbias swapped", "staged/batchnorm.wgsl",
        "dbngain[column.j] = sum_dhpreact_bnraw;\n        dbnbias[column.j] = sum_dhpreact;",
        "dbngain[column.j] = sum_dhpreact;\n        dbnbias[column.j] = sum_dhpreact_bnraw;",
        By::Gradcheck, LectureTensor::Bngain),
    mistake("the mean term dropped", "batchnorm.wgsl",
        "(n * dhpreact - sum_dhpreact - n", "(n * dhpreact - n",
        By::Gradcheck, LectureTensor::Hprebn),
    mistake("n for n-1 in the fused gradient", "batchnorm.wgsl",
        "- n / (n - 1.0) * bnraw", "- bnraw",
        By::Gradcheck, LectureTensor::Hprebn),
    // Batch norm, line by line.
    mistake("the gain of another unit", "chunked/batchnorm.wgsl",
        "dbnraw[i] = bngain[i % pitch(shape.hidden)]", "dbnraw[i] = bngain[i / pitch(shape.hidden)]",
        By::Gradcheck, LectureTensor::Bnraw),
    mistake("-0.5 as an exponent for -1.5", "chunked/batchnorm.wgsl",
        "-0.5 / (x * sqrt(x))", "-0.5 / sqrt(x)",
        By::Gradcheck, LectureTensor::Bnvar),
    mistake("n for n-1 in dbndiff2", "chunked/batchnorm.wgsl",
        "1.0 / (f32(shape.examples) - 1.0)", "1.0 / f32(shape.examples)",
        By::Gradcheck, LectureTensor::Bndiff2),
    mistake("a square derived to x", "chunked/batchnorm.wgsl",
        "(2.0 * bndiff[i])", "bndiff[i]",
        By::Gradcheck, LectureTensor::Bndiff),
    mistake("dbnmeani without its minus", "chunked/batchnorm.wgsl",
        "sum += -dbndiff[", "sum += dbndiff[",
        By::Gradcheck, LectureTensor::Bnmeani),
    mistake("the mean term dropped in chunks", "chunked/batchnorm.wgsl",
        "1.0 / f32(shape.examples) * dbnmeani", "0.0 * dbnmeani",
        By::Exercise1, LectureTensor::Hprebn),
    mistake("dbnbias of the last row alone", "chunked/batchnorm.wgsl",
        "sum += dhpreact[", "sum = dhpreact[",
        By::Exercise1, LectureTensor::Bnbias),
    // The embedding.
    mistake("dC doubled", "staged/embedding.wgsl",
        "dC[i] = sum;", "dC[i] = 2.0 * sum;",
        By::Gradcheck, LectureTensor::C),
    mistake("dC set and not added to", "staged/embedding.wgsl",
        "sum += dembcat[", "sum = dembcat[",
        By::Gradcheck, LectureTensor::C),
    mistake("the first use of each token forgotten", "staged/embedding.wgsl",
        "var u = uses[first + token] + lane / elements;", "var u = uses[first + token] + 1u;",
        By::Gradcheck, LectureTensor::C),
    // The step in parts alone. Where there is one part, none of these changes anything.
    mistake("only the last part", "staged/parts.wgsl",
        "sum += parts[", "sum = parts[",
        By::Parts, LectureTensor::Logits),
    mistake("the first part forgotten", "staged/parts.wgsl",
        "var sum = parts[first];", "var sum = select(vec4<f32>(), parts[first], PARTS == 1u);",
        By::Parts, LectureTensor::Logits),
    mistake("the last part forgotten", "staged/parts.wgsl",
        "p < PARTS; p++", "p + 1u < PARTS; p++",
        By::Parts, LectureTensor::Logits),
    mistake("the second part instead of each further one", "staged/parts.wgsl",
        "parts[first + p * stride]", "parts[first + stride]",
        By::Parts, LectureTensor::Logits),
    mistake("parts one row too short", "staged/parts.wgsl",
        "let stride = shape.rows * cols;", "let stride = select(shape.rows - 1u, shape.rows, PARTS == 1u) * cols;",
        By::Parts, LectureTensor::Logits),
    mistake("the parts of db looked for among those of dW", "staged/parts.wgsl",
        "PARTS * stride + i - stride", "i",
        By::Parts, LectureTensor::B2),
    mistake("the last columns of db left out", "staged/parts.wgsl",
        "i < stride + cols", "i + 1u < stride + cols",
        By::Parts, LectureTensor::B2),
    mistake("the bias in every part", "staged/linear.wgsl",
        "tile.slice == 0u && part == 0u", "tile.slice == 0u && part < PARTS",
        By::Parts, LectureTensor::Logits),
    mistake("all parts of y in the place of the first", "staged/linear.wgsl",
        "s7 = linear_terms(s7, x[lower.w + i], right);\n    }\n    let to = part * shape.rows * cols",
        "s7 = linear_terms(s7, x[lower.w + i], right);\n    }\n    let to = 0u * part * shape.rows * cols",
        By::Parts, LectureTensor::Logits),
    mistake("each part of dW from the first rows on", "staged/linear.wgsl",
        "first_round(tile, part, shape.rows)", "first_round(tile, 0u * part, shape.rows)",
        By::Parts, LectureTensor::W2),
    mistake("parts of dW that overlap", "staged/linear.wgsl",
        "r += 4u * STRIDE", "r += 4u * SLICES",
        By::Parts, LectureTensor::W2),
    mistake("all parts of dW in the place of the first", "staged/linear.wgsl",
        "let to = part * weight_stride", "let to = 0u * part * weight_stride",
        By::Parts, LectureTensor::W2),
    mistake("all parts of db in the place of the first", "staged/linear.wgsl",
        "db[part * cols + tile.col]", "db[0u * part * cols + tile.col]",
        By::Parts, LectureTensor::B2),
    mistake("each part of dx from the first term on", "staged/linear.wgsl",
        "first_round(tile, part * part_terms, end); o < end", "first_round(tile, 0u * part_terms, end); o < end",
        By::Parts, LectureTensor::Embcat),
    mistake("all parts of dx in the place of the first", "staged/linear.wgsl",
        "s7 = linear_terms(s7, dy[lower.w + o], right);\n    }\n    let to = part * shape.rows * cols",
        "s7 = linear_terms(s7, dy[lower.w + o], right);\n    }\n    let to = 0u * part * shape.rows * cols",
        By::Parts, LectureTensor::Embcat),
    // The resident kernel alone. Its barriers, slices and subgroups are in tests/resident.rs, which runs it
    // as other adapters would.
    mistake("the embedding of the next position", "resident/train.wgsl",
        "(row * FAN_IN + at) / EMBD", "min(row * FAN_IN + at + EMBD, vec4<u32>(BATCH * FAN_IN - 1u)) / EMBD",
        By::Resident, LectureTensor::W2),
    mistake("the first four inputs taken for the next four", "resident/train.wgsl",
        "eight_rows(x_at + k, x.row4, lane)", "eight_rows(x_at + max(k, 1u), x.row4, lane)",
        By::Resident, LectureTensor::W2),
    mistake("n-1 for n in the mean", "resident/train.wgsl",
        "total(SUM_HPREBN, column.j) / f32(BATCH)", "total(SUM_HPREBN, column.j) / f32(BATCH - 1u)",
        By::Resident, LectureTensor::W2),
    mistake("the absolute value for the square", "resident/train.wgsl",
        "sum += bndiff * bndiff;", "sum += abs(bndiff);",
        By::Resident, LectureTensor::W2),
    mistake("b2 forgotten", "resident/train.wgsl",
        "var sum = parameter(b2(), 0u, v4);", "var sum = 0.0 * parameter(b2(), 0u, v4);",
        By::Resident, LectureTensor::W2),
    mistake("padding counted in the softmax", "resident/train.wgsl",
        "columns(v4) < vec4<u32>(VOCAB)", "columns(v4) < vec4<u32>(VOCAB + 3u)",
        By::Resident, LectureTensor::W2),
    mistake("the target of another example", "resident/train.wgsl",
        "(word >> (16u * (row % 2u)))", "(word >> (8u * (row % 2u)))",
        By::Resident, LectureTensor::W2),
    mistake("W not transposed", "resident/train.wgsl",
        "let right = transpose(rows_of_model(W_at + k, W.row4));", "let right = rows_of_model(W_at + k, W.row4);",
        By::Resident, LectureTensor::Bngain),
    mistake("the tanh of the row before", "resident/train.wgsl",
        "tanh_backward(t.s1, load(h(), row + 1u, col4))", "tanh_backward(t.s1, load(h(), row, col4))",
        By::Resident, LectureTensor::Bngain),
    mistake("the last four examples left out of dW", "resident/train.wgsl",
        "r < BATCH_TILES * TILE_ROWS;", "r + 4u < BATCH_TILES * TILE_ROWS;",
        By::Resident, LectureTensor::W2),
    mistake("db2 of the last row alone", "resident/train.wgsl",
        "db2 += load(", "db2 = load(",
        By::Resident, LectureTensor::B2),
    mistake("dbnbias in the place of dbngain", "resident/train.wgsl",
        "update(bngain(), 0u, j, lr, total(DBNGAIN, j));", "update(bngain(), 0u, j, lr, total(DBNBIAS, j));",
        By::Resident, LectureTensor::Bngain),
    mistake("the update of bnbias forgotten", "resident/train.wgsl",
        "update(bnbias(), 0u, j, lr,", "update(bnbias(), 0u, j, 0.0 * lr,",
        By::Resident, LectureTensor::Bnbias),
    mistake("dhprebn not stored", "resident/train.wgsl",
        "store(dhprebn(), r, j, dx);", "store(dhprebn(), r, j, d);",
        By::Resident, LectureTensor::W1),
    mistake("a use of each token left out", "resident/train.wgsl",
        "var u = uses_before(token);", "var u = uses_before(token) + 1u;",
        By::Resident, LectureTensor::C),
    mistake("dC of the last use alone", "resident/train.wgsl",
        "dC += vec4<f32>(", "dC = vec4<f32>(",
        By::Resident, LectureTensor::C),
];

impl Mistake {
    /// The mistake of a name.
    pub fn of(name: &str) -> Option<&'static Self> {
        MISTAKES.iter().find(|mistake| mistake.name == name)
    }

    /// An adapter whose kernels have the mistake in them.
    ///
    /// # Errors
    ///
    /// The kernels are no longer what they were when the mistake was written down.
    pub fn engine(&self, found: &Found) -> Result<Engine, String> {
        let Self { file, from, to, .. } = *self;
        let broken = Kernels::default().replaced(file, from, to);
        let broken = broken.ok_or_else(|| format!("{from:?} is not in shaders/{file} once"))?;
        Ok(Engine::Gpu(
            Box::new(found.clone()),
            broken,
            Layouts::default(),
        ))
    }
}
