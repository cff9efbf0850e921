//! Every kernel of the training step on every adapter that the tests know.

mod common;

use std::ops::Range;
use std::process::ExitCode;

use common::adapters::{self, Check, OnEach, Outcome, mistake, mistake_name};
use common::{
    Inputs, SIZES, Tolerance, bits, compare, compare_params, f64s, inputs, lecture_steps, part,
    reference,
};
use gpu_makemore::backend::{Backend, Schedule};
use gpu_makemore::cores::cores;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Batch};
use gpu_makemore::engine::Engine;
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::chunked::CHUNKED;
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::executor::{Executor, Pass};
use gpu_makemore::gpu::launch::Launch;
use gpu_makemore::gpu::layout::{Layout, Slot, pitch};
use gpu_makemore::gpu::shader::{chunked_modules, staged_modules, staged_modules_of};
use gpu_makemore::gpu::staged::{Staged, step_of};
use gpu_makemore::gpu::tuning::{Cuts, Sharing, Tuning};
use gpu_makemore::model::contexts::Rows;
use gpu_makemore::model::dims::{Dims, Token};
use gpu_makemore::model::params::{Params, Tensor};
use gpu_makemore::model::recipe::Recipe;
use gpu_makemore::model::statistics::Statistics;
use gpu_makemore::model::steps::{LearningRate, Steps};
use gpu_makemore::reference::Model;
use gpu_makemore::rng::TorchGenerator;
use gpu_makemore::training::Stream;
use libtest_mimic::{Completion, Failed, Trial};
use pollster::FutureExt as _;

/// What is asked of every adapter.
const CHECKS: [Check; 11] = [
    ("no_kernel_waits_for_opengl", compilers),
    (
        "embedding_backward_kernel::a_token_that_fills_the_batch_is_added_up",
        one_token,
    ),
    ("pads_of_parameters_stay_zero", zero_pads),
    ("a_diverged_run_shows_in_the_loss", divergence),
    ("tanh_is_right_at_the_edges", tanh_edges),
    ("twelve_steps_side_by_side", twelve_steps),
    ("evaluation_equals_the_cpu", evaluation),
    (
        "thousands_of_characters_train_and_evaluate_as_on_the_cpu",
        thousands_of_characters,
    ),
    ("the_same_seed_gives_the_same_bits", same_bits),
    ("chunks_do_not_change_the_result", chunks),
    ("two_thousand_real_steps_equal_the_cpu", two_thousand_steps),
];

fn main() -> ExitCode {
    let checks = CHECKS.iter().map(OnEach::from);
    // At every size. Each kernel, the gradients of the check and 2,000 steps are compared in any case.
    let whole_step = OnEach::new("a_whole_step_equals_the_f64_twin", whole_step);
    let checks = checks.chain([whole_step.long()]);
    let kernels = KERNELS.into_iter().flat_map(|kernel| {
        KERNEL_CHECKS.map(|(name, check)| {
            let test = OnEach::new(format!("{kernel}::{name}"), move |found| {
                check(found, kernel)
            });
            // Each random shape is compiled anew, and long loops take as long as they are.
            if name != "equals_the_f64_twin" {
                test.long()
            } else {
                test
            }
        })
    });
    let pads = UNREAD.iter().map(|&(kernel, slots)| {
        OnEach::new(
            format!("{kernel}::pads_are_not_read_as_data"),
            move |found| unread_pads(found, kernel, slots),
        )
    });
    let mistakes = MUTATIONS.iter().map(|mutation| {
        mistake(mutation.kernel, mutation.name, |found| {
            mutation.is_caught(found, WORKGROUP)
        })
        .long()
    });
    let sharing = LINEAR.into_iter().flat_map(|kernel| {
        let through_workgroup = OnEach::new(
            format!("{kernel}::rows_are_handed_out_in_a_workgroup"),
            move |found| shared(found, kernel, WORKGROUP),
        );
        let through_subgroup = OnEach::ignorable(
            format!("{kernel}::rows_are_handed_out_in_a_subgroup"),
            move |found| in_subgroups(found, |lanes| shared(found, kernel, lanes)),
        );
        [through_workgroup, through_subgroup]
    });
    let of_subgroups = SUBGROUP_MUTATIONS.iter().map(|mutation| {
        let name = mistake_name(mutation.kernel, mutation.name);
        let test =
            move |found: &Found| in_subgroups(found, |lanes| mutation.is_caught(found, lanes));
        OnEach::ignorable(name, test).long()
    });
    let all = Trial::test("every_kernel_of_a_step_is_tested", all_kernels);
    let checks = checks.chain(kernels).chain(sharing).chain(pads);
    adapters::run(checks.chain(mistakes).chain(of_subgroups), vec![all])
}

/// The kernels of a step; those that add the parts of a sum up are tested with the kernel that makes
/// the parts.
const KERNELS: [&str; 9] = [
    "embedding_forward_kernel",
    "linear_forward_kernel",
    "batchnorm_tanh_forward_kernel",
    "softmax_cross_entropy_kernel",
    "linear_tanh_backward_kernel",
    "batchnorm_backward_kernel",
    "linear_backward_kernel",
    "embedding_backward_kernel",
    "sgd_kernel",
];

/// They are all that a step launches, however it is laid out.
fn all_kernels() -> Outcome {
    let dims = Dims::LECTURE;
    for cuts in [Cuts::hardware(&dims), Cuts::WHOLE] {
        for in_parts in [false, true] {
            let layout = Layout::new(dims, cuts.with_parts(in_parts));
            let mut kernels: Vec<&str> = (step_of(&layout).iter())
                .map(|launch| launch.kernel)
                .filter(|kernel| !kernel.ends_with("_sum_kernel"))
                .collect();
            kernels.sort_unstable();
            kernels.dedup();
            let mut tested = KERNELS;
            tested.sort_unstable();
            if kernels != tested {
                return Err(format!("a step has {kernels:?}").into());
            }
        }
    }
    Ok(())
}

/// What is asked of each of them.
type KernelCheck = (&'static str, fn(&Found, &str) -> Outcome);

const KERNEL_CHECKS: [KernelCheck; 3] = [
    ("equals_the_f64_twin", every_size),
    ("random_shapes_equal_the_f64_twin", random_shapes),
    ("the_longest_loops_are_run_to_their_end", longest_loops),
];

/// A minibatch with its step by the twin, which has a row for each example, and the rows of the device.
struct Minibatch {
    dims: Dims,
    x: Vec<Token>,
    y: Vec<Token>,
    model: Model<f64>,
    /// The examples of each row of the device. Those of no example are filled up with the first context.
    rows: Vec<Vec<usize>>,
}

impl Minibatch {
    /// A row for each example.
    fn apart(dims: Dims, seed: u64) -> Self {
        let given = inputs(&dims, seed);
        Self {
            dims,
            model: reference(&dims, &given),
            rows: (0..dims.batch).map(|b| vec![b]).collect(),
            x: given.x,
            y: given.y,
        }
    }

    /// Many examples have the context of another, and they share a row; a few rows have no example.
    fn merged(dims: Dims, seed: u64) -> Self {
        let mut given = inputs(&dims, seed);
        let context = |b: usize| b * dims.block..(b + 1) * dims.block;
        for b in 0..dims.batch {
            given
                .x
                .copy_within(context(b * b % (dims.batch / 2 + 1)), context(b).start);
        }
        let mut rows: Vec<Vec<usize>> = Vec::new();
        for b in 0..dims.batch {
            let of_row = |row: &Vec<usize>| given.x[context(row[0])] == given.x[context(b)];
            match rows.iter().position(of_row) {
                Some(row) => rows[row].push(b),
                None => rows.push(vec![b]),
            }
        }
        rows.resize((rows.len() + 3).min(dims.batch), Vec::new());
        Self {
            dims,
            model: reference(&dims, &given),
            rows,
            x: given.x,
            y: given.y,
        }
    }

    /// Uploads it as the device gets it.
    fn write(&self, executor: &Executor, lr: f32) {
        let Self {
            dims, x, y, rows, ..
        } = self;
        if rows.iter().all(|row| row.len() == 1) && rows.len() == dims.batch {
            executor.write_step(x, y, lr);
        } else {
            let merged = Rows::merged(x, Some(y), dims.block);
            executor.write_steps(&[merged], rows.len(), &[lr]);
        }
    }

    /// A pass over its rows.
    fn pass(&self, executor: &Executor) -> Result<Pass, Failed> {
        let mut pass = executor.pass(step_of(&executor.layout), self.dims.batch)?;
        pass.set_rows(executor, self.rows.len(), self.dims.batch);
        Ok(pass)
    }

    /// The tensors of the twin that a launch reads or writes, by the kernels' names. A row of an activation
    /// is that of any of its examples; of a gradient, or of the losses, the sum over them.
    fn twin_values(&self, slot: Slot) -> Option<Vec<f64>> {
        let acts = &self.model.acts;
        let stats = &acts.stats;
        let any = |values: &[f64]| -> Vec<f64> {
            let cols = values.len() / self.dims.batch;
            let row = |row: &Vec<usize>| row.first().copied().unwrap_or(0) * cols;
            let rows = self.rows.iter().map(row);
            rows.flat_map(|first| &values[first..first + cols])
                .copied()
                .collect()
        };
        let sum = |values: &[f64]| -> Vec<f64> {
            let cols = values.len() / self.dims.batch;
            let sum = |row: &Vec<usize>, c: usize| row.iter().map(|b| values[b * cols + c]).sum();
            let rows = self.rows.iter();
            rows.flat_map(|row| (0..cols).map(move |c| sum(row, c)))
                .collect()
        };
        Some(match slot {
            Slot::Param(t) => self.model.params.get(t).to_vec(),
            Slot::Grad(t) => self.model.grads.get(t).to_vec(),
            Slot::Examples => self.rows.iter().map(|row| row.len() as f64).collect(),
            Slot::Embcat => any(&acts.embcat),
            Slot::Hprebn => any(&acts.hprebn),
            Slot::Bnstats => [stats.bnmean.as_slice(), &stats.bnvar, &stats.bnvar_inv].concat(),
            Slot::Bnraw => any(&acts.bnraw),
            Slot::H => any(&acts.h),
            Slot::Logits => any(&acts.logits),
            Slot::Losses => sum(&acts.row_loss),
            Slot::Dlogits => sum(&acts.dlogits),
            Slot::Dhpreact => sum(&acts.dhpreact),
            Slot::Dhprebn => sum(&acts.dhprebn),
            Slot::Dembcat => sum(&acts.dembcat),
            _ => return None,
        })
    }

    /// Writes what a launch reads, as the twin has it.
    fn write_inputs(&self, executor: &Executor, launch: &Launch) {
        for &(_, slot) in launch.binds {
            if let Some(values) = self.twin_values(slot) {
                executor.write(slot, &to_f32(&values));
            }
        }
    }

    /// What lies in a slot is what the twin has there.
    fn check(&self, executor: &Executor, slot: Slot, kernel: &str) -> Outcome {
        let want = self.twin_values(slot).ok_or("not a tensor of the twin")?;
        let got = executor.read(slot, want.len()).block_on()?;
        let Self { dims, rows, .. } = self;
        let name = format!("{kernel} ({dims}, {} rows): {slot:?}", rows.len());
        let tolerance = tolerance_of(slot, &self.model);
        Ok(compare(&name, &f64s(&got), &want, tolerance)?)
    }
}

/// Launches that are checked together, from `first` on: one, or one with those that add its parts up.
struct Unit {
    launches: Range<usize>,
    outputs: &'static [Slot],
}

/// A step but for its update, unit by unit, with what each writes.
fn units(table: &[Launch]) -> Vec<Unit> {
    use Tensor::{B1, B2, Bnbias, Bngain, C, W1, W2};
    const OUTPUTS: [&[Slot]; 9] = [
        &[Slot::Embcat, Slot::Examples],
        &[Slot::Hprebn],
        &[Slot::Bnstats, Slot::Bnraw, Slot::H],
        &[Slot::Logits],
        &[Slot::Losses, Slot::Dlogits],
        &[Slot::Grad(W2), Slot::Grad(B2), Slot::Dhpreact],
        &[Slot::Grad(Bngain), Slot::Grad(Bnbias), Slot::Dhprebn],
        &[Slot::Grad(W1), Slot::Grad(B1), Slot::Dembcat],
        &[Slot::Grad(C)],
    ];
    let begins = |i: &usize| !table[*i].kernel.ends_with("_sum_kernel");
    // The update is the last one that begins.
    let firsts: Vec<usize> = (0..table.len()).filter(begins).collect();
    assert_eq!(firsts.len(), OUTPUTS.len() + 1);
    let units = firsts.windows(2).zip(OUTPUTS);
    units
        .map(|(firsts, outputs)| Unit {
            launches: firsts[0]..firsts[1],
            outputs,
        })
        .collect()
}

/// Fills a slot with NaN, pads and all.
fn spoil(executor: &Executor, slot: Slot) -> Outcome {
    let mut rows = raw(executor, slot)?;
    rows.iter_mut().for_each(|row| row.fill(f32::NAN));
    write_raw(executor, slot, &rows);
    Ok(())
}

/// The checker's tolerance for a slot. Two tensors are differences of much larger terms, which f32
/// rounds: they are held against the terms.
fn tolerance_of(slot: Slot, model: &Model<f64>) -> Tolerance {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let terms = match slot {
        // The sum of dhprebn over the batch is zero but for the rounding of its terms, which adds
        // up as a random walk does. (Measured at a batch of 4,096: 4 times smaller than this.)
        Slot::Grad(Tensor::B1) => {
            largest(&model.acts.dhprebn) * (model.dims.batch as f64).sqrt() / 4.0
        }
        // What batch norm leaves of dhpreact: next to nothing in a batch of two.
        Slot::Dhprebn => {
            largest(&model.acts.dhpreact)
                * largest(&model.acts.stats.bnvar_inv)
                * largest(model.params.get(Tensor::Bngain))
        }
        _ => return Tolerance::F32,
    };
    Tolerance {
        absolute: Tolerance::F32.of_largest * terms,
        ..Tolerance::F32
    }
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// A slot as it lies on the device, pads included, by its rows.
fn raw(executor: &Executor, slot: Slot) -> Result<Vec<Vec<f32>>, Failed> {
    let layout = &executor.layout;
    let cols = layout.extent(slot).1;
    let rows = layout.len(slot) / pitch(cols);
    let source = executor.range(slot, rows * cols);
    let bytes = executor
        .gpu
        .finish_and_read(executor.encoder(), &[source])
        .block_on()?;
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes[0]);
    Ok(values.chunks(pitch(cols)).map(<[f32]>::to_vec).collect())
}

/// Overwrites rows of a slot as they lie on the device.
fn write_raw(executor: &Executor, slot: Slot, rows: &[Vec<f32>]) {
    let (buffer, offset, _) = executor.range(slot, 1);
    let bytes: Vec<u8> = bytemuck::cast_slice(&rows.concat()).to_vec();
    executor.gpu.queue.write_buffer(buffer, offset, &bytes);
}

/// What lies beyond a slot's columns, and beyond the rows of `values` of them.
fn pads(rows: &[Vec<f32>], cols: usize, values: usize) -> Vec<f32> {
    let beyond = rows.iter().skip(values / cols).flatten();
    let beside = rows.iter().take(values / cols).flat_map(|r| &r[cols..]);
    beside.chain(beyond).copied().collect()
}

/// A kernel alone, on the twin's own inputs, so that a failure names the kernel at fault. Every output
/// is NaN before the launch: it has to write all of it, and zeros to its pads.
fn check_kernel(executor: &Executor, kernel: &str, seed: u64) -> Outcome {
    let dims = executor.layout.dims;
    check_minibatch(executor, kernel, Minibatch::apart(dims, seed))?;
    check_minibatch(executor, kernel, Minibatch::merged(dims, seed))
}

fn check_minibatch(executor: &Executor, kernel: &str, minibatch: Minibatch) -> Outcome {
    let table = step_of(&executor.layout);
    // The update is its own inputs' successor.
    if table.last().is_some_and(|launch| launch.kernel == kernel) {
        return check_update(executor, minibatch);
    }
    let mut units = units(table);
    // A kernel that serves both layers is launched twice.
    units.retain(|unit| table[unit.launches.start].kernel == kernel);
    if units.is_empty() {
        return Err(format!("no launch of a step is of {kernel}").into());
    }
    for unit in units {
        check_unit(executor, &minibatch, unit)?;
    }
    Ok(())
}

fn check_unit(executor: &Executor, minibatch: &Minibatch, unit: Unit) -> Outcome {
    let Unit { launches, outputs } = unit;
    let dims = minibatch.dims;
    let pass = minibatch.pass(executor)?;
    let table = step_of(&executor.layout);
    let kernel = table[launches.start].kernel;
    minibatch.write(executor, 0.1);
    for launch in &table[launches.clone()] {
        minibatch.write_inputs(executor, launch);
    }
    for &(_, slot) in table[launches.clone()]
        .iter()
        .flat_map(|launch| launch.binds)
    {
        use Slot::{DembcatParts, GradParts, LogitParts};
        if matches!(slot, LogitParts | DembcatParts | GradParts(_)) {
            spoil(executor, slot)?;
        }
    }
    for &slot in outputs {
        spoil(executor, slot)?;
    }
    executor.run(&pass, launches).block_on()?;
    for &slot in outputs {
        minibatch.check(executor, slot, kernel)?;
        let mut rows = raw(executor, slot)?;
        let cols = executor.layout.extent(slot).1;
        let values = minibatch.twin_values(slot).map_or(0, |v| v.len());
        match slot {
            Slot::Grad(_) => {}
            // Lists without a pad; and the inverse of a variance of zero.
            Slot::Losses | Slot::Examples | Slot::Bnstats => continue,
            // There are as many rows as contexts; what lies below them nobody reads.
            _ => rows.truncate(values / cols),
        }
        if pads(&rows, cols, values).iter().any(|&v| v != 0.0) {
            return Err(format!("{kernel} ({dims}): a pad of {slot:?} is not zero").into());
        }
    }
    Ok(())
}

fn check_update(executor: &Executor, mut minibatch: Minibatch) -> Outcome {
    let pass = minibatch.pass(executor)?;
    let launches = step_of(&executor.layout).len();
    minibatch.write(executor, 0.1);
    for tensor in Tensor::ALL {
        for slot in [Slot::Param(tensor), Slot::Grad(tensor)] {
            let values = minibatch
                .twin_values(slot)
                .ok_or("not a tensor of the twin")?;
            executor.write(slot, &to_f32(&values));
        }
    }
    executor.run(&pass, launches - 1..launches).block_on()?;
    minibatch.model.update(f64::from(0.1f32));
    for tensor in Tensor::ALL {
        minibatch.check(executor, Slot::Param(tensor), "sgd_kernel")?;
    }
    Ok(())
}

/// The executor as the training step has it on this adapter, with as many slices as a GPU has, and with
/// parts, as a GPU has them for large models.
fn machines(found: &Found, dims: Dims) -> Result<[Executor; 3], Failed> {
    let [gpu, software] = [Cuts::hardware(&dims), Cuts::WHOLE].map(|cuts| Layout::new(dims, cuts));
    let parts = in_parts(dims);
    let [software, gpu, parts] = [software, gpu, parts].map(|layout| {
        let table = step_of(&layout);
        Executor::new(found, layout, &[table], &staged_modules()).block_on()
    });
    Ok([software?, gpu?, parts?])
}

/// The kernels of the linear layers.
const LINEAR: [&str; 3] = [
    "linear_forward_kernel",
    "linear_tanh_backward_kernel",
    "linear_backward_kernel",
];

/// Invocations that hand rows out through workgroup memory.
const WORKGROUP: usize = 64;

/// A test with the size of an adapter's subgroups, where rows can be handed out in them.
fn in_subgroups(found: &Found, test: impl FnOnce(usize) -> Outcome) -> Result<Completion, Failed> {
    let all = Tuning::candidates(found, &Dims::LECTURE, Schedule::Staged);
    let lanes = all.iter().find_map(|tuning| match tuning {
        Tuning::Staged(cuts) if cuts.sharing() == Sharing::Subgroup => Some(cuts.lanes),
        _ => None,
    });
    match lanes {
        Some(lanes) => test(lanes).map(|()| Completion::Completed),
        None => Ok(Completion::ignored_with("subgroups of a known size: none")),
    }
}

/// The executor of a layout in which invocations load rows for each other.
fn sharing(found: &Found, layout: Layout) -> Result<Executor, Failed> {
    let table = step_of(&layout);
    let modules = staged_modules_of(layout.cuts.sharing());
    Ok(Executor::new(found, layout, &[table], &modules).block_on()?)
}

/// A linear kernel at every size, with whole sums and with sums in parts.
fn shared(found: &Found, kernel: &str, lanes: usize) -> Outcome {
    for (_, dims) in SIZES {
        for in_parts in [false, true] {
            let cuts = Cuts {
                lanes,
                ..Cuts::hardware(&dims).with_parts(in_parts)
            };
            check_kernel(&sharing(found, Layout::new(dims, cuts))?, kernel, 3)?;
        }
    }
    Ok(())
}

fn in_parts(dims: Dims) -> Layout {
    Layout::new(dims, Cuts::hardware(&dims).with_parts(true))
}

fn every_size(found: &Found, kernel: &str) -> Outcome {
    for (_, dims) in SIZES {
        for executor in machines(found, dims)? {
            check_kernel(&executor, kernel, 3)?;
        }
    }
    Ok(())
}

/// A mistake in what adds the slices of a sum, in the zeros of the pads, or in what a row of several
/// examples counts for.
struct Mutation {
    name: &'static str,
    kernel: &'static str,
    /// The file under `shaders/`.
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn mutation(
    name: &'static str,
    kernel: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutation {
    Mutation {
        name,
        kernel,
        file,
        from,
        to,
    }
}

/// One mistake at a time. A missing barrier shows on lavapipe, where the invocations of a workgroup
/// run one after another, eight at a time.
#[rustfmt::skip]
static MUTATIONS: [Mutation; 38] = [
    mutation("a slice of the sum lost", "linear_forward_kernel", "staged/linear.wgsl",
        "        sum += partial[i];", "        sum = partial[i];"),
    mutation("the last rows of the slices left out", "linear_forward_kernel", "staged/linear.wgsl",
        "i < 64u * (row + 1u); i += tiles", "i < 64u * (row + 1u) - tiles; i += tiles"),
    mutation("no barrier before the slices are added", "linear_forward_kernel", "staged/linear.wgsl",
        "workgroupBarrier();\n        // The slices share", "// The slices share"),
    mutation("a slice of the bias lost", "linear_tanh_backward_kernel", "staged/linear.wgsl",
        "partial[512u + lane] = bias;", "partial[512u + lane] = bias / f32(SLICES);"),
    mutation("a slice of the sum lost", "batchnorm_tanh_forward_kernel", "staged/batchnorm.wgsl",
        "partial[lane] += partial[", "partial[lane] = partial["),
    mutation("no barrier between two halvings", "batchnorm_tanh_forward_kernel", "staged/batchnorm.wgsl",
        "        workgroupBarrier();\n    }\n", "    }\n"),
    mutation("a row that is not there counted", "linear_tanh_backward_kernel", "staged/linear.wgsl",
        "there.w * dy", "dy"),
    mutation("a row that is not there counted in the mean", "batchnorm_tanh_forward_kernel", "staged/batchnorm.wgsl",
        "weights * are_there(r, column.end)", "weights"),
    mutation("a row that is not there counted in the gradient", "batchnorm_backward_kernel", "staged/batchnorm.wgsl",
        "there.z * dhpreact", "dhpreact"),
    mutation("no barrier before the partial sums are used again", "batchnorm_tanh_forward_kernel", "staged/batchnorm.wgsl",
        "    workgroupBarrier(); // the sum before this one has been read\n", ""),
    mutation("a slice of the sum lost", "softmax_cross_entropy_kernel", "staged/softmax_cross_entropy.wgsl",
        "sum += partial[", "sum = partial["),
    mutation("a slice of the sum lost", "embedding_backward_kernel", "staged/embedding.wgsl",
        "sum += partial[s];", "sum = partial[s];"),
    mutation("a pad taken for a column", "embedding_forward_kernel", "staged/embedding.wgsl",
        "cols < vec4<u32>(shape.fan_in)", "cols <= vec4<u32>(shape.fan_in)"),
    mutation("a row counted once for all its examples", "embedding_forward_kernel", "staged/embedding.wgsl",
        "examples += target_examples(t);", "examples += 1.0;"),
    mutation("a row counted once in the mean", "batchnorm_tanh_forward_kernel", "staged/batchnorm.wgsl",
        "weights.x * hprebn[i.x]", "hprebn[i.x]"),
    mutation("a row counted once in the variance", "batchnorm_tanh_forward_kernel", "staged/batchnorm.wgsl",
        "weights.x * first * first", "first * first"),
    mutation("a row counted once in the mean term", "batchnorm_backward_kernel", "staged/batchnorm.wgsl",
        "examples[r] * sum_dhpreact,", "sum_dhpreact,"),
    mutation("a row counted once in the variance term", "batchnorm_backward_kernel", "staged/batchnorm.wgsl",
        "examples[r] * sum_dhpreact_bnraw,", "sum_dhpreact_bnraw,"),
    mutation("a target counted once in the loss", "softmax_cross_entropy_kernel", "staged/softmax_cross_entropy.wgsl",
        "loss += target_examples(t) * ", "loss += "),
    mutation("a target counted once in the row", "softmax_cross_entropy_kernel", "staged/softmax_cross_entropy.wgsl",
        "examples += target_examples(t);", "examples += 1.0;"),
    mutation("a target counted once in its column", "softmax_cross_entropy_kernel", "staged/softmax_cross_entropy.wgsl",
        "vec4<f32>(target_examples(t))", "vec4<f32>(1.0)"),
    mutation("a target of many characters left out", "softmax_cross_entropy_kernel", "staged/softmax_cross_entropy.wgsl",
        "if i % SLICES == slice {", "if i % SLICES > slice {"),
    mutation("a target of many characters in place of the row", "softmax_cross_entropy_kernel", "staged/softmax_cross_entropy.wgsl",
        "dlogits[row_start + i] +=", "dlogits[row_start + i] ="),
    mutation("a part of the sum lost", "linear_forward_kernel", "staged/parts.wgsl",
        "sum += parts[", "sum = parts["),
    mutation("the last part left out", "linear_tanh_backward_kernel", "staged/parts.wgsl",
        "PARTS * stride + i - stride", "i"),
    mutation("the last column left out", "linear_tanh_backward_kernel", "staged/parts.wgsl",
        "i < stride + cols", "i + 1u < stride + cols"),
    mutation("the last inputs left out, with shared rows", "linear_forward_kernel", "staged/shared_linear.wgsl",
        "part_terms; i < end; i++", "part_terms; i + 1u < end; i++"),
    mutation("the bias halved, with shared rows", "linear_forward_kernel", "staged/shared_linear.wgsl",
        "s0 = b[col];", "s0 = 0.5 * b[col];"),
    mutation("only four of the shared rows", "linear_forward_kernel", "staged/shared_linear.wgsl",
        "first + lane % 8u", "first + lane % 4u"),
    mutation("the first rows of W for all, with shared rows", "linear_forward_kernel", "staged/shared_linear.wgsl",
        "4u * i * cols + col", "col"),
    mutation("a row that is not there counted, with shared rows", "linear_tanh_backward_kernel", "staged/shared_linear.wgsl",
        "there.w * dy[dys.w]", "dy[dys.w]"),
    mutation("the halves of a row swapped", "linear_tanh_backward_kernel", "staged/shared_linear.wgsl",
        "lane % 2u == 1u", "lane % 2u == 0u"),
    mutation("a wrong one of four rows", "linear_tanh_backward_kernel", "staged/shared_linear.wgsl",
        "lane % 8u / 2u", "lane % 4u"),
    mutation("a row left out of db, with shared rows", "linear_tanh_backward_kernel", "staged/shared_linear.wgsl",
        "(right[2] + right[3])", "right[2]"),
    mutation("the first output for all, with shared rows", "linear_tanh_backward_kernel", "staged/shared_linear.wgsl",
        "4u * col * terms + o", "4u * col * terms"),
    mutation("the last row twice, with shared rows", "linear_tanh_backward_kernel", "staged/shared_linear.wgsl",
        "put_dx(lower.w, s7, is_tanh)", "put_dx(lower.w, s6, is_tanh)"),
    mutation("rows of other neighbours", "linear_forward_kernel", "staged/through_workgroup.wgsl",
        "lane / 8u * 8u", "lane / 16u * 16u"),
    mutation("a row from the wrong neighbour", "linear_forward_kernel", "staged/through_workgroup.wgsl",
        "handed[first + 5u]", "handed[first + 4u]"),
];

/// Mistakes in what only a subgroup does, for the forms of subgroups of eight.
#[rustfmt::skip]
static SUBGROUP_MUTATIONS: [Mutation; 2] = [
    mutation("a row from the wrong lane", "linear_forward_kernel", "staged/through_subgroup.wgsl",
        "subgroupBroadcast(mine, 5u)", "subgroupBroadcast(mine, 4u)"),
    mutation("the last row from the first lane", "linear_tanh_backward_kernel", "staged/through_subgroup.wgsl",
        "subgroupBroadcast(mine, 7u)", "subgroupBroadcast(mine, 0u)"),
];

impl Mutation {
    /// The test of the kernel fails, and says that it is this kernel. Where rows are handed out, `lanes` take part.
    fn is_caught(&self, found: &Found, lanes: usize) -> Outcome {
        let &Self {
            kernel,
            file,
            from,
            to,
            ..
        } = self;
        let is_shared = file.starts_with("staged/through_") || file == "staged/shared_linear.wgsl";
        let lanes = if is_shared { lanes } else { 1 };
        let with_lanes = |cuts: Cuts| Cuts { lanes, ..cuts };
        let sharing = with_lanes(Cuts::WHOLE).sharing();
        let mut modules = staged_modules_of(sharing);
        for module in &mut modules {
            if module.source.parts().iter().any(|p| p.file == file) {
                let replaced = module.source.replaced(file, from, to);
                module.source =
                    replaced.ok_or_else(|| format!("{from:?} is not in {file} once"))?;
            }
        }
        let few = Dims {
            batch: 130,
            ..Dims::LECTURE
        };
        // With more characters, another loop puts the targets into dlogits.
        let many = Dims { vocab: 301, ..few };
        let mut outcome = Ok(());
        for dims in [few, many] {
            let layout = match file {
                "staged/parts.wgsl" => in_parts(dims),
                _ => Layout::new(dims, with_lanes(Cuts::hardware(&dims))),
            };
            let table = step_of(&layout);
            let executor = Executor::new(found, layout, &[table], &modules).block_on()?;
            outcome = check_kernel(&executor, kernel, 3);
            if outcome.is_err() {
                break;
            }
        }
        match outcome {
            Err(error) if error.message().is_some_and(|e| e.starts_with(kernel)) => Ok(()),
            other => Err(format!("{to:?} in {kernel} was not caught: {other:?}").into()),
        }
    }
}

/// Kernels with no sum over the columns of what they read, and what they read: a pad is no data to
/// them.
const UNREAD: [(&str, &[Slot]); 5] = [
    ("embedding_forward_kernel", &[Slot::Param(Tensor::C)]),
    (
        "batchnorm_tanh_forward_kernel",
        &[
            Slot::Hprebn,
            Slot::Param(Tensor::Bngain),
            Slot::Param(Tensor::Bnbias),
        ],
    ),
    ("softmax_cross_entropy_kernel", &[Slot::Logits]),
    ("batchnorm_backward_kernel", &[Slot::Bnraw, Slot::Dhpreact]),
    ("embedding_backward_kernel", &[Slot::Dembcat]),
];

/// A kernel gives the same with NaN in the pads of what it reads.
fn unread_pads(found: &Found, kernel: &str, slots: &[Slot]) -> Outcome {
    for (_, dims) in SIZES {
        let minibatch = Minibatch::apart(dims, 3);
        for executor in machines(found, dims)? {
            let pass = minibatch.pass(&executor)?;
            let table = step_of(&executor.layout);
            let units = units(table);
            let unit = (units.iter()).find(|unit| table[unit.launches.start].kernel == kernel);
            let Unit { launches, outputs } = unit.ok_or("no such launch")?;
            minibatch.write(&executor, 0.1);
            minibatch.write_inputs(&executor, &table[launches.start]);
            for &slot in slots {
                let cols = executor.layout.extent(slot).1;
                let mut rows = raw(&executor, slot)?;
                rows.iter_mut().for_each(|row| row[cols..].fill(f32::NAN));
                write_raw(&executor, slot, &rows);
            }
            executor.run(&pass, launches.clone()).block_on()?;
            for &slot in *outputs {
                minibatch.check(&executor, slot, kernel)?;
            }
        }
    }
    Ok(())
}

/// The pads of the parameters, which sums run over, are zero after steps as before.
fn zero_pads(found: &Found) -> Outcome {
    for (name, dims) in SIZES {
        let mut steps = Steps::default();
        for seed in 0..3 {
            let Inputs { x, y, .. } = inputs(&dims, seed);
            steps.x.extend(x);
            steps.y.extend(y);
            steps.lr.push(0.1);
        }
        let mut device = Staged::new(found, dims, &inputs(&dims, 0).params).block_on()?;
        device.train(&steps, &mut Vec::new()).block_on()?;
        for tensor in Tensor::ALL {
            let slot = Slot::Param(tensor);
            let rows = raw(device.executor(), slot)?;
            let cols = device.executor().layout.extent(slot).1;
            if pads(&rows, cols, tensor.len(&dims))
                .iter()
                .any(|&v| v != 0.0)
            {
                return Err(format!("{name}: a pad of {} is not zero", tensor.name()).into());
            }
        }
    }
    Ok(())
}

/// Eight shapes, different ones for each of a few seeds, the same in every run.
fn random_shapes(found: &Found, kernel: &str) -> Outcome {
    let mut generator = TorchGenerator::manual_seed(2024);
    let mut draw = |low: u32, high: u32| {
        let mut out = [0u32];
        generator.randint_into(high - low + 1, &mut out);
        (low + out[0]) as usize
    };
    for seed in 0..8 {
        let dims = Dims {
            vocab: draw(2, 256),
            block: draw(1, 16),
            embd: draw(2, 40),
            hidden: draw(1, 200),
            batch: draw(8, 200),
        };
        for executor in machines(found, dims)? {
            check_kernel(&executor, kernel, seed)?;
        }
    }
    Ok(())
}

/// The sizes at which a kernel goes round its loop most often, one after another. Mesa 22 leaves
/// loops without a word after 65,535 rounds.
fn longest_loops(found: &Found, kernel: &str) -> Outcome {
    // Of fewer contexts, two would be all that is left when they are merged: batch norm would cancel.
    let small = Dims {
        vocab: 11,
        block: 1,
        embd: 2,
        hidden: 5,
        batch: 9,
    };
    let longest = [
        Dims {
            block: 16,
            batch: 4096,
            ..small
        },
        Dims {
            block: 16,
            embd: 128,
            ..small
        },
        Dims {
            hidden: 2048,
            ..small
        },
        Dims {
            vocab: 256,
            ..small
        },
        Dims {
            vocab: 65_535,
            ..small
        },
    ];
    for dims in longest {
        for executor in machines(found, dims)? {
            check_kernel(&executor, kernel, 1)?;
        }
    }
    Ok(())
}

/// All positions of the largest batch hold one token: the longest list of uses.
fn one_token(found: &Found) -> Outcome {
    let dims = Dims {
        vocab: 3,
        block: 16,
        embd: 1,
        hidden: 1,
        batch: 4096,
    };
    let positions = dims.batch * dims.block;
    for executor in machines(found, dims)? {
        let table = step_of(&executor.layout);
        let launch = table
            .iter()
            .position(|l| l.kernel == "embedding_backward_kernel")
            .ok_or("no gather of dC in the table")?;
        executor.write_step(&vec![1; positions], &vec![0; dims.batch], 0.1);
        executor.write(Slot::Dembcat, &vec![1.0; positions]);
        executor
            .run(&executor.pass(table, dims.batch)?, launch..launch + 1)
            .block_on()?;
        let got = executor
            .read(Slot::Grad(Tensor::C), dims.vocab)
            .block_on()?;
        if got != [0.0, positions as f32, 0.0] {
            return Err(format!("{positions} uses of token 1 add up to {got:?}").into());
        }
    }
    Ok(())
}

/// A NaN must reach the host, which stops the run: a driver may compute as if there were none.
fn divergence(found: &Found) -> Outcome {
    let (params, mut steps) = lecture_steps(20)?;
    steps.lr.fill(1e30);
    let mut device = Staged::new(found, Dims::LECTURE, &params).block_on()?;
    let mut losses = Vec::new();
    device.train(&steps, &mut losses).block_on()?;
    if losses.iter().all(|l| l.is_finite())
        && device.params().block_on()?.first_non_finite().is_none()
    {
        return Err("a learning rate of 1e30 left every loss and parameter finite".into());
    }
    Ok(())
}

/// All launches in a row: what the table wires together, not only what each kernel computes.
fn whole_step(found: &Found) -> Outcome {
    let most = Dims {
        vocab: 20_000,
        hidden: 40,
        ..Dims::LECTURE
    };
    for (name, dims) in SIZES.into_iter().chain([("20,000 characters", most)]) {
        if name == "tiny" {
            continue; // cancels to rounding errors, see tests/reference.rs
        }
        let Inputs { params, x, y } = inputs(&dims, 5);
        let mut model = reference(&dims, &inputs(&dims, 5));
        let mut device = Staged::new(found, dims, &params).block_on()?;
        let steps = Steps {
            first: 0,
            x,
            y,
            lr: vec![0.1],
        };
        let mut losses = Vec::new();
        device.train(&steps, &mut losses).block_on()?;
        model.update(f64::from(0.1f32));
        // And as a GPU has it.
        for executor in machines(found, dims)? {
            executor.write_params(&params);
            executor.write_step(&steps.x, &steps.y, 0.1);
            let table = step_of(&executor.layout);
            executor
                .run(&executor.pass(table, dims.batch)?, 0..table.len())
                .block_on()?;
            let got = executor.read_params().block_on()?;
            compare_params(name, &got, &model.params, Tolerance::F32_PASS)?;
        }
        let loss = model.acts.row_loss.iter().sum::<f64>() / dims.batch as f64;
        compare("loss", &f64s(&losses), &[loss], Tolerance::F32)?;
        compare_params(
            name,
            &device.params().block_on()?,
            &model.params,
            Tolerance::F32_PASS,
        )?;
    }
    Ok(())
}

/// wgpu panics where a kernel waits for another one to be compiled for six seconds, which on OpenGL they do.
fn compilers(found: &Found) -> Outcome {
    let gpu = Gpu::open(found).block_on()?;
    let alone = found.info.backend == wgpu::Backend::Gl;
    assert_eq!(gpu.compilers(), if alone { 1 } else { cores() });
    Ok(())
}

fn tanh_edges(found: &Found) -> Outcome {
    let edges = [0.0, 1e-30, 1e-4, 0.5, 1.0, 7.9, 9.0, 44.0, 89.0, f32::MAX];
    let values: Vec<f32> = edges.iter().flat_map(|&v| [v, -v]).collect();
    let dims = Dims {
        vocab: 2,
        block: 1,
        embd: 1,
        hidden: values.len(),
        batch: 2,
    };
    let executor = Executor::new(
        found,
        Layout::of(found, dims),
        &[&CHUNKED],
        &chunked_modules(),
    )
    .block_on()?;
    let launch = (0..CHUNKED.len())
        .find(|&i| CHUNKED[i].kernel == "tanh_forward_kernel")
        .ok_or("no tanh in the table")?;
    executor.write(Slot::Hpreact, &values);
    executor
        .run(&executor.pass(&CHUNKED, dims.batch)?, launch..launch + 1)
        .block_on()?;
    let got = executor.read(Slot::H, values.len()).block_on()?;
    for (&x, &h) in values.iter().zip(&got) {
        let want = f64::from(x).tanh();
        let error = (f64::from(h) - want).abs();
        let close = error <= 4.5e-7 && (want.abs() > 0.1 || error <= 1e-6 * want.abs());
        if !close {
            return Err(format!("tanh({x:e}) = {h:e}, expected {want:e}").into());
        }
    }
    Ok(())
}

fn twelve_steps(found: &Found) -> Outcome {
    let dims = Dims::LECTURE;
    let first = inputs(&dims, 100);
    let mut steps = Steps::default();
    for seed in 100..112 {
        let step = inputs(&dims, seed);
        steps.x.extend(step.x);
        steps.y.extend(step.y);
        steps.lr.push(0.1);
    }
    let mut reference = Model::new(dims, first.params.map(f64::from));
    let want: Vec<f64> = (0..steps.len())
        .map(|i| {
            let (x, y, lr) = steps.step(i);
            reference.step(x, y, f64::from(lr))
        })
        .collect();
    let cpu = CpuBackend::new(dims, first.params.clone());
    let gpu = Staged::new(found, dims, &first.params).block_on()?;
    let backends: [(&str, Engine); 2] = [("cpu f32", cpu.into()), ("gpu", gpu.into())];
    for (name, mut backend) in backends {
        let mut losses = Vec::new();
        backend.train(&steps, &mut losses).block_on()?;
        compare(name, &f64s(&losses), &want, Tolerance::F32_PASS)?;
        let tolerance = Tolerance {
            relative: 1e-3,
            of_largest: 1e-4,
            absolute: 0.0,
        };
        compare_params(
            name,
            &backend.params().block_on()?,
            &reference.params,
            tolerance,
        )?;
    }
    Ok(())
}

/// Calibration and evaluation over a number of examples that fills no batch.
fn evaluation(found: &Found) -> Outcome {
    let dims = Dims::LECTURE;
    let examples = inputs(&dims.with_batch(4999), 9);
    let Inputs { x, y, .. } = &examples;
    let mut cpu = CpuBackend::new(dims, examples.params.clone());
    let mut gpu = Staged::new(found, dims, &examples.params).block_on()?;
    let want = reference(&dims.with_batch(4999), &examples);
    let stats = gpu.calibrate(x).block_on()?;
    let Statistics { bnmean, bnvar } = &stats;
    compare(
        "bnmean",
        &f64s(bnmean),
        &want.acts.stats.bnmean,
        Tolerance::F32,
    )?;
    compare(
        "bnvar",
        &f64s(bnvar),
        &want.acts.stats.bnvar,
        Tolerance::F32,
    )?;
    // With the statistics of the very examples that it sees, evaluation is the training loss.
    let loss = want.acts.row_loss.iter().sum::<f64>() / y.len() as f64;
    compare(
        "gpu loss",
        &[gpu.evaluate(&stats, x, y).block_on()?],
        &[loss],
        Tolerance::F32,
    )?;
    compare(
        "cpu loss",
        &[cpu.evaluate(&stats, x, y).block_on()?],
        &[loss],
        Tolerance::F32,
    )?;
    Ok(())
}

/// A list of words with 5,504 characters. Each begins a word, so that a context has more targets than a row
/// may have.
fn thousands_of_characters(found: &Found) -> Outcome {
    let characters: Vec<char> = ('\u{4e00}'..).take(5504).collect();
    let words: String = (0..2 * characters.len())
        .map(|i| {
            let at = |i: usize| characters[i % characters.len()];
            format!("{}{}\n", at(i), at(i * i))
        })
        .collect();
    let names = data::load(&data::Options {
        source: data::Source::Bytes {
            name: "words.txt",
            bytes: words.as_bytes(),
            format: data::Format::Detect,
        },
        ..data::Options::default()
    })?;
    let recipe = Recipe {
        steps: 30,
        n_hidden: 24,
        ..Recipe::default()
    };
    let dims = recipe.dims(names.vocab.len())?;
    assert_eq!(dims.vocab, 5505);
    let Batch { x, y } = names.train.range(0..names.train.len());
    let rows = Rows::merged(&x, Some(&y), dims.block);
    assert_eq!(rows.targets(0).len(), Rows::MOST_TARGETS);
    let params = Params::init(&dims, &mut TorchGenerator::manual_seed(1));
    let rate = LearningRate {
        lr: 0.1,
        lr_final: 0.1,
        decay_at: 0,
    };
    let generator = TorchGenerator::manual_seed(2);
    let steps = Stream::new(&names.train, generator, rate, dims.batch).take(30);
    let mut cpu = CpuBackend::new(dims, params.clone());
    let mut gpu = Staged::new(found, dims, &params).block_on()?;
    let (mut want, mut got) = (Vec::new(), Vec::new());
    cpu.train(&steps, &mut want).block_on()?;
    gpu.train(&steps, &mut got).block_on()?;
    compare("losses", &f64s(&got), &f64s(&want), Tolerance::F32_PASS)?;
    let trained = cpu.params().block_on()?;
    let got = gpu.params().block_on()?;
    compare_params(
        "trained",
        &got,
        &trained.map(f64::from),
        Tolerance::F32_PASS,
    )?;
    // With the same parameters.
    gpu.set_params(&trained).block_on()?;
    let stats = cpu.calibrate(&x).block_on()?;
    let want = cpu.evaluate(&stats, &x, &y).block_on()?;
    let got = gpu.evaluate(&stats, &x, &y).block_on()?;
    compare("evaluation", &[got], &[want], Tolerance::F32)?;
    Ok(())
}

fn same_bits(found: &Found) -> Outcome {
    let (params, steps) = lecture_steps(100)?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let mut device = Staged::new(found, Dims::LECTURE, &params).block_on()?;
        let mut losses = Vec::new();
        device.train(&steps, &mut losses).block_on()?;
        runs.push(bits(&device.params().block_on()?));
    }
    if runs[0] != runs[1] || runs[0] != runs[2] {
        return Err("three runs of the same steps gave different parameters".into());
    }
    if runs[0] == bits(&params) {
        return Err("the parameters did not move".into());
    }
    Ok(())
}

fn chunks(found: &Found) -> Outcome {
    let (params, steps) = lecture_steps(50)?;
    let mut device = Staged::new(found, Dims::LECTURE, &params).block_on()?;
    // One by one, no submission overlaps another.
    let mut want = Vec::new();
    for i in 0..steps.len() {
        device
            .train(&part(&steps, i..i + 1), &mut want)
            .block_on()?;
    }
    let want = (want, bits(&device.params().block_on()?));
    for most in [1, 7, 16, 50] {
        device.set_most(most);
        device.set_params(&params).block_on()?;
        let mut losses = Vec::new();
        for range in [0..1, 1..20, 20..50] {
            device.train(&part(&steps, range), &mut losses).block_on()?;
        }
        if want != (losses, bits(&device.params().block_on()?)) {
            return Err(format!("50 steps in submissions of {most} gave different bits").into());
        }
    }
    Ok(())
}

fn two_thousand_steps(found: &Found) -> Outcome {
    common::two_thousand_steps(|params| Staged::new(found, Dims::LECTURE, params).block_on())
}
