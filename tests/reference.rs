//! The first link of the chain: PyTorch's autograd and finite differences against the f64 twin, and
//! the f64 twin against the f32 one.

mod common;

use common::{Fixture, SIZES, Tolerance, compare, compare_params, f64s, inputs, reference};
use gpu_makemore::backend::Backend;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::cpu::by_token::ByToken;
use gpu_makemore::model::dims::{Dims, Token};
use gpu_makemore::model::params::{Params, Tensor};
use gpu_makemore::model::steps::Steps;
use gpu_makemore::model::tensors::LectureTensor;
use gpu_makemore::reference::Model;
use gpu_makemore::reference::chunked;
use gpu_makemore::reference::linear::{FUSED_4X16, FUSED_8X32, PLAIN};
use pollster::FutureExt as _;
use proptest::prelude::*;

/// Every tensor of a step, forward and backward, as PyTorch computes it.
fn check_fixture(name: &str) {
    let fixture = Fixture::open(&format!("step_{name}.safetensors"));
    let dims = fixture.dims();
    let (x, y) = (fixture.tokens("X"), fixture.tokens("Y"));
    let mut model = Model::new(dims, fixture.params());
    let loss = model.forward(&x, &y);
    model.backward(&x);
    let acts = &model.acts;
    let tensors: [(&str, &[f64]); 17] = [
        ("loss", &[loss]),
        ("embcat", &acts.embcat),
        ("hprebn", &acts.hprebn),
        ("bnmeani", &acts.stats.bnmean),
        ("bnvar", &acts.stats.bnvar),
        ("bnvar_inv", &acts.stats.bnvar_inv),
        ("bnraw", &acts.bnraw),
        ("hpreact", &acts.hpreact),
        ("h", &acts.h),
        ("logits", &acts.logits),
        ("d.logits", &acts.dlogits),
        ("d.h", &acts.dh),
        ("d.hpreact", &acts.dhpreact),
        ("d.hprebn", &acts.dhprebn),
        ("d.embcat", &acts.dembcat),
        ("d.emb", &acts.dembcat),
        ("emb", &acts.embcat),
    ];
    for (name, got) in tensors {
        compare(name, got, &fixture.f64(name), Tolerance::F64).unwrap();
    }
    for tensor in Tensor::ALL {
        let name = format!("d.{}", tensor.name());
        let want = fixture.f64(&name);
        if tensor == Tensor::B1 {
            // Batch norm subtracts the mean, so b1 has no effect and its gradient is zero but for
            // rounding: only its size can be compared.
            let largest = |v: &[f64]| v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(largest(&want) < 1e-14 && largest(model.grads.get(tensor)) < 1e-14);
            continue;
        }
        compare(&name, model.grads.get(tensor), &want, Tolerance::F64).unwrap();
    }
}

/// All 26 tensors of the lecture's first exercise, values and gradients.
fn check_chunks(name: &str) {
    let fixture = Fixture::open(&format!("step_{name}.safetensors"));
    let dims = fixture.dims();
    let (x, y) = (fixture.tokens("X"), fixture.tokens("Y"));
    let mut model = Model::new(dims, fixture.params());
    let (values, grads) = chunked::pass(&mut model, &x, &y);
    let largest = |v: &[f64]| v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for chunk in LectureTensor::ALL {
        let value = fixture.f64(chunk.name());
        assert_eq!(fixture.shape(chunk.name()), chunk.shape(&dims), "{chunk:?}");
        compare(chunk.name(), &values[chunk], &value, Tolerance::F64).unwrap();
        let name = format!("d.{}", chunk.name());
        let want = fixture.f64(&name);
        // These two are zero but for rounding: only their size can be compared.
        if [LectureTensor::LogitMaxes, LectureTensor::B1].contains(&chunk) {
            assert!(
                largest(&want) < 1e-14 && largest(&grads[chunk]) < 1e-14,
                "{name}"
            );
            continue;
        }
        // Of dhprebn, batch norm leaves next to nothing in a batch of two: what is left of terms
        // of the size of dbndiff's parts has their rounding errors.
        let tolerance = Tolerance {
            absolute: 1e-15
                * largest(&grads[LectureTensor::Bnraw])
                * largest(&values[LectureTensor::BnvarInv]),
            ..Tolerance::F64
        };
        compare(&name, &grads[chunk], &want, tolerance).unwrap();
    }
}

/// A step of the CPU backend's layout in `f64`. Each way to cut it into tiles is compiled once, here.
type Step = fn(&mut ByToken<f64>, &[Token], &[Token], f64) -> f64;

const WITH_GRADS: [Step; 3] = [
    |model, x, y, lr| model.step_with_grads(PLAIN, x, y, lr),
    |model, x, y, lr| model.step_with_grads(FUSED_4X16, x, y, lr),
    |model, x, y, lr| model.step_with_grads(FUSED_8X32, x, y, lr),
];

const WITHOUT: Step = |model, x, y, lr| model.step(FUSED_8X32, x, y, lr);

/// db1 is zero but for rounding, and so is all of it in the absolute part.
const BY_TOKEN: Tolerance = Tolerance {
    absolute: 1e-14,
    ..Tolerance::F64
};

/// The gradients of one step are those that are wanted, and the parameters have moved along them. Returns
/// the loss.
fn check_by_token(
    step: Step,
    before: &Params<f64>,
    inputs: (&[Token], &[Token]),
    want: &Params<f64>,
    dims: Dims,
) -> f64 {
    let mut model = ByToken::new(dims, before);
    assert_eq!(&model.params(), before);
    let loss = step(&mut model, inputs.0, inputs.1, 0.1);
    let (grads, after) = (model.grads(), model.params());
    for tensor in Tensor::ALL {
        let want = want.get(tensor);
        let name = format!("{dims}: d.{}", tensor.name());
        compare(&name, grads.get(tensor), want, BY_TOKEN).unwrap();
        let values = before.get(tensor).iter().zip(want);
        let moved: Vec<f64> = values.map(|(p, g)| p - 0.1 * g).collect();
        compare(tensor.name(), after.get(tensor), &moved, BY_TOKEN).unwrap();
    }
    loss
}

/// A step needs nothing of the one before but its parameters.
#[test]
fn a_step_leaves_only_parameters_to_the_next() {
    for (batch, vocab) in [(32, 27), (70, 27), (70, 3), (200, 5), (32, 700), (70, 5505)] {
        let dims = Dims {
            batch,
            vocab,
            ..Dims::LECTURE
        };
        let mut model = ByToken::new(dims, &inputs(&dims, 5).params.map(f64::from));
        for seed in 6..9 {
            let inputs = inputs(&dims, seed);
            let mut fresh = ByToken::new(dims, &model.params());
            let loss = WITH_GRADS[2](&mut fresh, &inputs.x, &inputs.y, 0.1);
            let loss_again = WITH_GRADS[2](&mut model, &inputs.x, &inputs.y, 0.1);
            assert_eq!(loss_again, loss);
            assert_eq!(model.grads(), fresh.grads());
            assert_eq!(model.params(), fresh.params());
        }
    }
}

/// Nor of what an earlier step, of a model that diverged, left in lanes that this one has no use for.
#[test]
fn a_model_that_diverged_is_as_good_as_new_with_other_parameters() {
    for (batch, vocab) in [(31, 27), (70, 27), (33, 3), (200, 5), (31, 700), (70, 700)] {
        let dims = Dims {
            batch,
            vocab,
            ..Dims::LECTURE
        };
        let mut good = inputs(&dims, 5);
        // Half of the examples share a context.
        let (first, second) = good.x.split_at_mut(batch / 2 * dims.block);
        for context in second.chunks_exact_mut(dims.block) {
            context.copy_from_slice(&first[..dims.block]);
        }
        let params = good.params.map(f64::from);
        let mut fresh = ByToken::new(dims, &params);
        let mut diverged = ByToken::new(dims, &params.clone().map(|_| f64::NAN));
        // Other contexts, and more of them.
        let other = inputs(&dims, 6);
        assert!(WITHOUT(&mut diverged, &other.x, &other.y, 0.1).is_nan());
        diverged.set_params(&params);
        for _ in 0..2 {
            let loss = WITHOUT(&mut fresh, &good.x, &good.y, 0.1);
            assert_eq!(WITHOUT(&mut diverged, &good.x, &good.y, 0.1), loss);
            assert!(diverged.params() == fresh.params(), "{dims}");
        }
    }
}

/// Cores that share the steps out change no bit: with a panel each or several, with more of them than
/// there are chunks, and where all examples share the contexts of one chunk.
#[test]
fn steps_on_several_cores_are_the_same_to_the_last_bit() {
    for (batch, vocab, block, hidden) in [
        (200, 27, 3, 200),
        (4096, 27, 2, 40),
        (350, 5, 3, 100),
        (200, 3, 2, 200),
        (200, 700, 9, 200),
    ] {
        let dims = Dims {
            batch,
            vocab,
            block,
            hidden,
            ..Dims::LECTURE
        };
        let mut steps = Steps::default();
        for seed in 5..8 {
            let inputs = inputs(&dims, seed);
            steps.x.extend(inputs.x);
            steps.y.extend(inputs.y);
            steps.lr.push(0.1);
        }
        let after = |cores: usize| {
            let backend = CpuBackend::new(dims, inputs(&dims, 5).params);
            let mut backend = backend.with_cores(cores);
            let panels = hidden.div_ceil(32);
            assert_eq!(backend.workers(), cores.min(panels), "{dims}");
            let mut losses = Vec::new();
            backend.train(&steps, &mut losses).block_on().unwrap();
            (losses, backend.params().block_on().unwrap())
        };
        let alone = after(1);
        assert!(alone.0.iter().all(|loss| loss.is_finite()));
        for cores in [2, 3, 7] {
            assert!(after(cores) == alone, "{dims} on {cores} cores");
        }
    }
}

/// Nor do they pay for themselves where there is little to do.
#[test]
fn the_lectures_step_is_left_to_one_core() {
    let backend = CpuBackend::new(Dims::LECTURE, inputs(&Dims::LECTURE, 5).params);
    assert_eq!(backend.with_cores(8).workers(), 1);
}

#[test]
fn the_cpu_backends_layout_equals_pytorch_in_every_tile() {
    for name in ["lecture", "odd", "long", "tiny"] {
        let fixture = Fixture::open(&format!("step_{name}.safetensors"));
        let (x, y) = (fixture.tokens("X"), fixture.tokens("Y"));
        let want = Params::from_fn(|tensor| fixture.f64(&format!("d.{}", tensor.name())));
        for step in WITH_GRADS {
            let before = fixture.params();
            let loss = check_by_token(step, &before, (&x, &y), &want, fixture.dims());
            compare("loss", &[loss], &fixture.f64("loss"), Tolerance::F64).unwrap();
        }
    }
}

/// Embeddings of several pieces, batches of several chunks, units that fill a line, a half, or one
/// value more; and few contexts, which most examples share: in one chunk, of fewer examples and of
/// more than it has lanes, and in several.
#[test]
fn the_cpu_backends_layout_equals_the_twin_at_other_sizes() {
    let lecture = Dims::LECTURE;
    let others = [(16, 31), (17, 32), (32, 64), (33, 65)].map(|(hidden, batch)| Dims {
        hidden,
        batch,
        ..lecture
    });
    let shared = [(2, 2, 32), (3, 2, 200), (5, 3, 300)].map(|(vocab, block, batch)| Dims {
        vocab,
        block,
        batch,
        ..lecture
    });
    // More characters than can be gone through in every step, and contexts that take a whole key.
    let many = [(5505, 3, 40, 32), (257, 16, 20, 70)].map(|(vocab, block, hidden, batch)| Dims {
        vocab,
        block,
        hidden,
        batch,
        ..lecture
    });
    let sizes = SIZES.map(|(_, dims)| dims).into_iter();
    for dims in sizes.chain(others).chain(shared).chain(many) {
        let inputs = inputs(&dims, 31);
        let twin = reference(&dims, &inputs);
        let want = twin.acts.row_loss.iter().sum::<f64>() / dims.batch as f64;
        for step in WITH_GRADS {
            let examples = (&inputs.x[..], &inputs.y[..]);
            let loss = check_by_token(step, &twin.params, examples, &twin.grads, dims);
            compare(&format!("{dims}: loss"), &[loss], &[want], Tolerance::F64).unwrap();
        }
    }
}

/// Training takes the step that leaves no gradients, and takes it again and again.
#[test]
fn a_step_is_the_same_whether_it_leaves_gradients_or_not() {
    for batch in [32, 70] {
        let dims = Dims {
            batch,
            ..Dims::LECTURE
        };
        let inputs = inputs(&dims, 5);
        let mut model = ByToken::new(dims, &inputs.params.map(f64::from));
        let mut trained = model.clone();
        for _ in 0..3 {
            let loss = WITH_GRADS[2](&mut model, &inputs.x, &inputs.y, 0.1);
            assert_eq!(WITHOUT(&mut trained, &inputs.x, &inputs.y, 0.1), loss);
            assert_eq!(trained.params(), model.params());
        }
    }
}

/// A step of the CPU backend, with a batch of one chunk, and of several, the last of which is short.
#[test]
fn the_cpu_backend_agrees_with_f64() {
    for (batch, vocab) in [(32, 27), (33, 27), (100, 27), (32, 5505)] {
        let dims = Dims {
            batch,
            vocab,
            ..Dims::LECTURE
        };
        let inputs = inputs(&dims, 21);
        let mut reference = reference(&dims, &inputs);
        let mut backend = CpuBackend::new(dims, inputs.params.clone());
        let steps = Steps {
            first: 0,
            x: inputs.x,
            y: inputs.y,
            lr: vec![0.1],
        };
        let mut losses = Vec::new();
        backend.train(&steps, &mut losses).block_on().unwrap();
        reference.update(f64::from(0.1f32));
        let params = backend.params().block_on().unwrap();
        compare_params("updated", &params, &reference.params, Tolerance::F32_PASS).unwrap();
    }
}

#[test]
fn the_chunked_twin_equals_pytorch_in_all_26_tensors() {
    for name in ["lecture", "odd", "long", "tiny"] {
        check_chunks(name);
    }
}

#[test]
fn the_twin_equals_pytorch_at_a_lecture_like_size() {
    check_fixture("lecture");
}

#[test]
fn the_twin_equals_pytorch_at_odd_sizes() {
    check_fixture("odd");
}

#[test]
fn the_twin_equals_pytorch_with_a_long_context() {
    check_fixture("long");
}

#[test]
fn the_twin_equals_pytorch_at_the_smallest_size() {
    check_fixture("tiny");
}

/// Central differences of the loss, for each parameter in turn: no formula is shared with the
/// backward pass, so a mistake in the derivation cannot hide.
fn check_finite_differences(dims: &Dims, seed: u64) -> Result<(), String> {
    let inputs = inputs(dims, seed);
    let model = reference(dims, &inputs);
    let mut moved = Model::new(*dims, model.params.clone());
    for tensor in Tensor::ALL {
        let len = tensor.len(dims);
        let picks: Vec<usize> = (0..len.min(12)).map(|k| k * len / len.min(12)).collect();
        let mut differences = Vec::new();
        let mut gradients = Vec::new();
        for &i in &picks {
            let at = model.params.get(tensor)[i];
            let mut loss_at = |value: f64| {
                moved.params.get_mut(tensor)[i] = value;
                moved.forward(&inputs.x, &inputs.y)
            };
            let mut quotient = |step: f64| (loss_at(at + step) - loss_at(at - step)) / (2.0 * step);
            // Richardson's extrapolation: a quotient's error is the step's square times the third
            // derivative, which two of them take off. (With a batch of three and one input a unit it
            // is large enough to be off by 1.5e-6 of the gradient otherwise.)
            differences.push((4.0 * quotient(1e-5) - quotient(2e-5)) / 3.0);
            loss_at(at);
            gradients.push(model.grads.get(tensor)[i]);
        }
        for (k, (difference, gradient)) in differences.iter().zip(&gradients).enumerate() {
            // What is left of the quotients' error is the step's fourth power times the fifth
            // derivative; rounding adds 1e-16/step = 1e-11.
            let close = (difference - gradient).abs() <= 1e-8 + 1e-6 * gradient.abs();
            if !close {
                return Err(format!(
                    "d.{}[{}] = {gradient:e}, finite difference {difference:e} ({dims})",
                    tensor.name(),
                    picks[k]
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_equal_finite_differences() {
    for (_, dims) in SIZES {
        check_finite_differences(&dims, 7).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gradients_equal_finite_differences_at_any_size(
        vocab in 2usize..40, block in 1usize..9, embd in 1usize..12, hidden in 1usize..40,
        batch in 3usize..40, seed in any::<u32>(),
    ) {
        let dims = Dims { vocab, block, embd, hidden, batch };
        prop_assert_eq!(check_finite_differences(&dims, seed.into()), Ok(()));
    }

    // At least four inputs a unit: batch norm undoes a scaling of them, so with a single input dW1
    // cancels to nothing but the effect of its epsilon, and f32 has no digits left to compare. So it
    // does with dC, and whatever the inputs, where there are only two different contexts.
    #[test]
    fn f32_equals_f64_at_any_size(
        vocab in 2usize..257, block in 1usize..17, embd in 4usize..40, hidden in 1usize..100,
        batch in 8usize..70, seed in any::<u32>(),
    ) {
        prop_assume!(vocab > 2 || block > 1);
        let dims = Dims { vocab, block, embd, hidden, batch };
        prop_assert_eq!(check_f32(&dims, seed.into()), Ok(()));
    }
}

/// One pass of the f32 twin against f64.
fn check_f32(dims: &Dims, seed: u64) -> Result<(), String> {
    let inputs = inputs(dims, seed);
    let want = reference(dims, &inputs);
    let mut got = Model::new(*dims, inputs.params.clone());
    got.forward(&inputs.x, &inputs.y);
    got.backward(&inputs.x);
    compare(
        "logits",
        &f64s(&got.acts.logits),
        &want.acts.logits,
        Tolerance::F32_PASS,
    )?;
    let mut want_grads = want.grads.clone();
    let mut got_grads = got.grads.clone();
    // Zero but for rounding, see check_fixture.
    want_grads.b1.fill(0.0);
    got_grads.b1.fill(0.0);
    compare_params("gradient of", &got_grads, &want_grads, Tolerance::F32_PASS)
}

#[test]
fn f32_equals_f64_at_the_tested_sizes() {
    for (name, dims) in SIZES {
        if name != "tiny" {
            check_f32(&dims, 11).unwrap();
        }
    }
}
