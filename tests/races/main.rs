//! Whether invocations of a kernel get in each other's way: every access of every kernel to shared memory,
//! looked at one by one, laid out as for a GPU. No adapter is needed.
//!
//! Software drivers cannot show this. They run the invocations of a workgroup one after another or in
//! lockstep, and a barrier that is missing may change nothing there.

#[path = "../common/mod.rs"]
mod common;

use std::collections::HashMap;

use common::{Inputs, SIZES, Tolerance, compare, compare_params, f64s, inputs, reference};
use gpu_makemore::gpu::chunked::CHUNKED;
use gpu_makemore::gpu::launch::{Cut, Invocations, Launch};
use gpu_makemore::gpu::layout::{Layout, Slot};
use gpu_makemore::gpu::plan::Plan;
use gpu_makemore::gpu::shader::{
    Module, Source, chunked_modules, resident_module, staged_modules, staged_modules_of,
};
use gpu_makemore::gpu::staged::{CALIBRATE, EVALUATE, step_of};
use gpu_makemore::gpu::tuning::{Cuts, Sharing, WorkSplit};
use gpu_makemore::interpreter::{Buffers, Finding, Kernel, Rules};
use gpu_makemore::model::contexts::Rows;
use gpu_makemore::model::dims::{Dims, Token};
use gpu_makemore::model::params::{Params, Tensor};
use gpu_makemore::model::steps::Steps;
use gpu_makemore::reference::Model;

/// A kernel's name, and what was wrong with it.
type Found = (&'static str, String);

/// A finding with its place in the files.
fn located(source: &Source, finding: &Finding) -> String {
    let (file, line) = source.locate(finding.line);
    format!("shaders/{file}:{line}: {}", finding.message)
}

/// The tensors of a model whose kernels are interpreted.
struct Tensors {
    layout: Layout,
    modules: Vec<Module>,
    /// Words of each buffer.
    memory: HashMap<Slot, Vec<u32>>,
    kernels: HashMap<(&'static str, Cut), Kernel>,
}

impl Tensors {
    /// A step's tensors before its first launch.
    fn new(layout: Layout, modules: Vec<Module>, params: &Params<f32>) -> Self {
        let mut tensors = Self {
            layout,
            modules,
            memory: HashMap::new(),
            kernels: HashMap::new(),
        };
        for tensor in Tensor::ALL {
            let slot = Slot::Param(tensor);
            let values = tensors.layout.with_pads(slot, params.get(tensor));
            let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            tensors.words_mut(slot)[..words.len()].copy_from_slice(&words);
        }
        tensors
    }

    /// The words of a tensor.
    fn words_mut(&mut self, slot: Slot) -> &mut [u32] {
        let (buffer, first) = self.layout.place(slot);
        let length = self.layout.len(buffer);
        let words = self.memory.entry(buffer).or_insert_with(|| vec![0; length]);
        &mut words[first..first + self.layout.len(slot)]
    }

    /// The first values of a tensor, without pads.
    fn values(&mut self, slot: Slot, count: usize) -> Vec<f32> {
        let (_, cols) = self.layout.extent(slot);
        let words = self.words_mut(slot);
        let rows = words.chunks(cols.next_multiple_of(4));
        let values = rows.flat_map(|row| &row[..cols.min(row.len())]);
        values
            .take(count)
            .map(|&bits| f32::from_bits(bits))
            .collect()
    }

    /// Uploads a minibatch in this many rows.
    fn write(&mut self, minibatch: &Rows, rows: usize, y: &[Token], lr: f32) {
        let packed = self
            .layout
            .pack_steps(std::slice::from_ref(minibatch), rows);
        for (slot, words) in [Slot::X, Slot::Uses, Slot::Targets].into_iter().zip(packed) {
            self.words_mut(slot)[..words.len()].copy_from_slice(&words);
        }
        self.words_mut(Slot::Lr)[0] = lr.to_bits();
        for (b, &token) in y.iter().enumerate() {
            self.words_mut(Slot::Y)[b / 2] |= u32::from(token) << (16 * (b % 2));
        }
    }

    /// Runs some launches over this many rows.
    fn run(&mut self, table: &[Launch], rows: usize) -> Result<(), Found> {
        for launch in table {
            let fail = |message: String| (launch.kernel, message);
            let cut = self
                .layout
                .cut_of(launch.invocations, self.layout.dims.batch);
            let mut module = self.modules.iter();
            let module = module.find(|m| m.entry_points.contains(&launch.kernel));
            let source = &module.expect("a module has the kernel").source;
            if !self.kernels.contains_key(&(launch.kernel, cut)) {
                let constants = self.layout.constants(cut);
                let kernel = Kernel::new(&source.text(), launch.kernel, &constants);
                let kernel = kernel.map_err(|refused| fail(refused.to_string()))?;
                self.kernels.insert((launch.kernel, cut), kernel);
            }
            let source = source.clone();
            let bindings = source.bindings();
            let number = |name| bindings.number(name, launch.kernel);
            let number = |name| number(name).map_err(|error| fail(error.to_string()));
            let mut buffers = Buffers::new();
            if !matches!(launch.invocations, Invocations::Params) {
                let shape = self
                    .layout
                    .shape(launch.layer, rows, self.layout.dims.batch);
                buffers.insert(number("shape")?, shape.to_vec());
            }
            for &(name, slot) in launch.binds {
                buffers.insert(number(name)?, self.words_mut(slot).to_vec());
            }
            let groups = self.layout.groups_of(launch.invocations, rows, cut);
            let kernel = &self.kernels[&(launch.kernel, cut)];
            let outcome = kernel.launch(&mut buffers, groups, &Rules::default());
            outcome.map_err(|finding| fail(located(&source, &finding)))?;
            for &(name, slot) in launch.binds {
                let words = &buffers[&number(name)?];
                self.words_mut(slot).copy_from_slice(words);
            }
        }
        Ok(())
    }
}

/// A minibatch in which some contexts come again.
fn merging(dims: &Dims, seed: u64) -> Inputs {
    let mut inputs = inputs(dims, seed);
    for b in 0..dims.batch {
        let from = b * b % (dims.batch / 2 + 1) * dims.block;
        inputs
            .x
            .copy_within(from..from + dims.block, b * dims.block);
    }
    inputs
}

/// The layouts that a step is run in: as on software adapters; and on a GPU with slices, and in parts.
fn layouts(dims: Dims) -> [Layout; 3] {
    let gpu = Cuts::hardware(&dims);
    [Cuts::WHOLE, gpu, gpu.with_parts(true)].map(|cuts| Layout::new(dims, cuts))
}

/// A step by kernels of `modules`: the rows merged and a few of them filled up, or one for each example.
fn step(layout: &Layout, modules: Vec<Module>, merged: bool) -> Result<(), Found> {
    const LR: f32 = 0.1;
    let dims = layout.dims;
    let given = merging(&dims, 5);
    let minibatch = match merged {
        true => Rows::merged(&given.x, Some(&given.y), dims.block),
        false => Rows::apart(&given.x, &given.y, dims.block),
    };
    let rows = (minibatch.len() + 3).min(dims.batch);
    let mut tensors = Tensors::new(layout.clone(), modules, &given.params);
    tensors.write(&minibatch, rows, &[], LR);
    tensors.run(step_of(layout), rows)?;

    // That the kernels ran, and not nothing, shows in what they computed.
    let wrong = |message| ("the step", message);
    let mut model = reference(&dims, &given);
    let losses = f64s(&tensors.values(Slot::Losses, rows));
    let loss = losses.iter().sum::<f64>() / dims.batch as f64;
    let want = model.acts.row_loss.iter().sum::<f64>() / dims.batch as f64;
    compare("loss", &[loss], &[want], Tolerance::F32).map_err(wrong)?;
    model.update(f64::from(LR));
    let params = Params::from_fn(|tensor| tensors.values(Slot::Param(tensor), tensor.len(&dims)));
    compare_params("after a step", &params, &model.params, Tolerance::F32_PASS).map_err(wrong)
}

/// Sizes at which a step takes no more than a second to interpret.
fn sizes() -> impl Iterator<Item = Dims> {
    let small = ["lecture", "odd", "long"];
    let characters = Dims {
        vocab: 301,
        block: 2,
        embd: 3,
        hidden: 9,
        batch: 6,
    };
    let sizes = SIZES.into_iter();
    sizes
        .filter(move |(name, _)| small.contains(name))
        .map(|(_, dims)| dims)
        .chain([characters])
}

#[test]
fn no_kernel_of_the_staged_schedule_races() {
    for dims in sizes() {
        for layout in layouts(dims) {
            for merged in [true, false] {
                if let Err((kernel, message)) = step(&layout, staged_modules(), merged) {
                    let parts = layout.cuts.in_parts();
                    panic!("{dims}, in parts {parts}, merged {merged}: {kernel}: {message}");
                }
            }
        }
    }
}

#[test]
fn no_kernel_of_an_evaluation_races() {
    for dims in sizes() {
        for cuts in [Cuts::WHOLE, Cuts::hardware(&dims)] {
            let given = merging(&dims, 9);
            let contexts = Rows::merged(&given.x, Some(&given.y), dims.block);
            let layout = Layout::new(dims, cuts);
            let mut tensors = Tensors::new(layout, staged_modules(), &given.params);
            tensors.write(&contexts, contexts.len(), &[], 0.0);
            let rows = contexts.len();
            let outcome = tensors
                .run(&CALIBRATE, rows)
                .and_then(|()| tensors.run(&EVALUATE, rows));
            if let Err((kernel, message)) = outcome {
                panic!("{dims}: {kernel}: {message}");
            }
            // With the statistics of the examples themselves, it is their loss in training.
            let losses = f64s(&tensors.values(Slot::Losses, rows));
            let want = reference(&dims, &given).acts.row_loss.iter().sum::<f64>();
            compare("loss", &[losses.iter().sum()], &[want], Tolerance::F32_PASS).unwrap();
        }
    }
}

#[test]
fn no_kernel_of_the_chunked_pass_races() {
    for dims in sizes() {
        for cuts in [Cuts::WHOLE, Cuts::hardware(&dims)] {
            let given = inputs(&dims, 6);
            let minibatch = Rows::apart(&given.x, &given.y, dims.block);
            let layout = Layout::new(dims, cuts);
            let mut tensors = Tensors::new(layout, chunked_modules(), &given.params);
            tensors.write(&minibatch, dims.batch, &given.y, 0.0);
            if let Err((kernel, message)) = tensors.run(&CHUNKED, dims.batch) {
                panic!("{dims}: {kernel}: {message}");
            }
            let want = reference(&dims, &given);
            for tensor in [
                Tensor::C,
                Tensor::W1,
                Tensor::W2,
                Tensor::Bngain,
                Tensor::Bnbias,
            ] {
                let got = tensors.values(Slot::Grad(tensor), tensor.len(&dims));
                let (name, want) = (tensor.name(), want.grads.get(tensor));
                compare(name, &f64s(&got), want, Tolerance::F32_PASS).unwrap();
            }
        }
    }
}

/// Some steps of two models by the resident kernel, in two dispatches.
fn resident(dims: Dims, split: WorkSplit, text: &str, source: &Source) -> Result<(), Found> {
    const STEPS: usize = 3;
    let kernel = "train_kernel";
    let fail = |message: String| (kernel, message);
    let given = [7, 8].map(|seed| inputs(&dims, seed));
    let steps = [20, 30].map(|seed| {
        let minibatches = (seed..).take(STEPS).map(|seed| merging(&dims, seed));
        let (x, y) = minibatches.map(|given| (given.x, given.y)).unzip();
        let (x, y): (Vec<_>, Vec<_>) = (x, y);
        Steps {
            first: 0,
            x: x.concat(),
            y: y.concat(),
            lr: vec![0.1; STEPS],
        }
    });
    let params = given.each_ref().map(|given| given.params.clone());
    // With this number of rounds a dispatch has two steps: the third needs another one.
    let of_a_dispatch = |rounds: usize| Plan::new(dims, 2, split, rounds).steps_of_a_dispatch();
    let rounds = (1..)
        .map(|i| 16 * i)
        .find(|&rounds| of_a_dispatch(rounds) == 2);
    let plan = Plan::new(
        dims,
        2,
        split,
        rounds.expect("two steps have some number of rounds"),
    );
    let memory = plan.memory(&params, &steps.each_ref());
    let mut buffers: Buffers = (0..).zip(memory).collect();
    let named = plan.named();
    let constants: Vec<(&str, f64)> = named.iter().map(|(name, v)| (name.as_str(), *v)).collect();
    let compiled = Kernel::new(text, kernel, &constants);
    let compiled = compiled.map_err(|refused| fail(refused.to_string()))?;
    for _ in 0..2 {
        let outcome = compiled.launch(&mut buffers, [2, 1, 1], &Rules::default());
        outcome.map_err(|finding| fail(located(source, &finding)))?;
    }
    let values: Vec<f32> = buffers[&1]
        .iter()
        .map(|&bits| f32::from_bits(bits))
        .collect();
    for ((values, given), steps) in values.chunks(values.len() / 2).zip(&given).zip(&steps) {
        let mut model = Model::new(dims, given.params.map(f64::from));
        for i in 0..STEPS {
            let (x, y, lr) = steps.step(i);
            model.step(x, y, f64::from(lr));
        }
        let got = plan.unpack(values);
        compare_params("after the steps", &got, &model.params, Tolerance::F32_PASS)
            .map_err(fail)?;
    }
    Ok(())
}

/// As on a GPU.
fn split(dims: &Dims) -> WorkSplit {
    WorkSplit::hardware(dims, &wgpu::Limits::default())
}

#[test]
fn the_resident_kernel_does_not_race() {
    let source = resident_module(false).source;
    for dims in sizes() {
        for split in [split(&dims), WorkSplit::software()] {
            if let Err((_, message)) = resident(dims, split, &source.text(), &source) {
                panic!("{dims}, {split:?}: {message}");
            }
        }
    }
}

/// At sizes of one tile and a half.
const SMALL: Dims = Dims {
    vocab: 27,
    block: 3,
    embd: 4,
    hidden: 20,
    batch: 12,
};

#[test]
fn no_layout_that_a_search_tries_races() {
    let limits = wgpu::Limits::default();
    let source = resident_module(false).source;
    let splits = WorkSplit::candidates(split(&SMALL), &limits, &SMALL);
    assert!(splits.len() > 10, "{splits:?}");
    for split in splits {
        if let Err((_, message)) = resident(SMALL, split, &source.text(), &source) {
            panic!("{split:?}: {message}");
        }
    }
    let all = Cuts::candidates(Cuts::hardware(&SMALL), &limits, None);
    assert!(
        all.iter().any(|cuts| cuts.sharing() == Sharing::Workgroup),
        "{all:?}"
    );
    for cuts in all {
        let modules = staged_modules_of(cuts.sharing());
        if let Err((kernel, message)) = step(&Layout::new(SMALL, cuts), modules, true) {
            panic!("{cuts:?}: {kernel}: {message}");
        }
    }
}

/// `text` without the occurrence number `i` of `what`.
fn without(text: &str, what: &str, i: usize) -> String {
    let (at, _) = text.match_indices(what).nth(i).expect("there are as many");
    let (before, after) = text.split_at(at);
    [before, &after[what.len()..]].concat()
}

#[test]
fn the_resident_kernel_without_one_of_its_barriers_races() {
    let dims = Dims {
        vocab: 7,
        block: 2,
        embd: 3,
        hidden: 18,
        batch: 11,
    };
    let source = resident_module(false).source;
    let text = source.text();
    let call = "        phase_ends();\n";
    let count = text.matches(call).count();
    assert_eq!(count, 14, "a step has as many phases");
    for i in 0..count {
        let mutated = without(&text, call, i);
        let (_, message) = resident(dims, split(&dims), &mutated, &source).expect_err("a race");
        assert!(message.contains("since the last barrier"), "{i}: {message}");
    }
    // A barrier for memory of another kind does not do.
    let mutated = text.replace("storageBarrier()", "workgroupBarrier()");
    assert!(resident(dims, split(&dims), &mutated, &source).is_err());
}

/// Takes the barriers of a file out of the staged kernels, one at a time.
fn staged_without_a_barrier_of(file: &str) {
    let dims = SIZES[0].1;
    let [_, sliced, in_parts] = layouts(dims);
    let mut tried = 0;
    for (m, module) in staged_modules().into_iter().enumerate() {
        for part in module
            .source
            .parts()
            .iter()
            .filter(|part| part.file == file)
        {
            for i in 0..part.text.matches(BARRIER).count() {
                let mut modules = staged_modules();
                let mutated = without(&part.text, BARRIER, i);
                modules[m].source = module
                    .source
                    .replaced(part.file, &part.text, &mutated)
                    .unwrap();
                let outcome =
                    step(&sliced, modules.clone(), true).and(step(&in_parts, modules, true));
                let (_, message) =
                    outcome.expect_err(&format!("{} without barrier {i}", part.file));
                assert!(message.contains("barrier"), "{message}");
                tried += 1;
            }
        }
    }
    assert!(tried > 0, "{file} has no barriers");
}

const BARRIER: &str = "workgroupBarrier();";

/// Rows that are handed out through workgroup memory: without the barrier, and with one place for all rounds.
#[test]
fn linear_layers_with_shared_rows_race_without_their_barrier_and_without_their_second_place() {
    const FILE: &str = "staged/through_workgroup.wgsl";
    let cuts = Cuts {
        lanes: 64,
        ..Cuts::hardware(&SMALL)
    };
    let layout = Layout::new(SMALL, cuts);
    for (from, to) in [(BARRIER, ""), ("round % 2u * 64u", "0u * round")] {
        let mut modules = staged_modules_of(cuts.sharing());
        let mut tried = 0;
        for module in &mut modules {
            if let Some(source) = module.source.replaced(FILE, from, to) {
                module.source = source;
                tried += 1;
            }
        }
        assert_eq!(tried, 1, "{from}");
        let (_, message) = step(&layout, modules, true).expect_err(from);
        assert!(message.contains("barrier"), "{message}");
    }
}

/// The files of the staged kernels that have barriers. Each has a test below.
const WITH_BARRIERS: [&str; 4] = [
    "staged/batchnorm.wgsl",
    "staged/embedding.wgsl",
    "staged/linear.wgsl",
    "staged/softmax_cross_entropy.wgsl",
];

#[test]
fn the_files_with_barriers_are_known() {
    let modules = staged_modules();
    let parts = modules.iter().flat_map(|module| module.source.parts());
    let with_barriers = parts.filter(|part| part.text.contains(BARRIER));
    let mut files: Vec<&str> = with_barriers.map(|part| part.file).collect();
    files.sort_unstable();
    files.dedup();
    let mut known = WITH_BARRIERS;
    known.sort_unstable();
    assert_eq!(files, known);
}

#[test]
fn batchnorm_without_one_of_its_barriers_races() {
    staged_without_a_barrier_of(WITH_BARRIERS[0]);
}

#[test]
fn embedding_without_one_of_its_barriers_races() {
    staged_without_a_barrier_of(WITH_BARRIERS[1]);
}

#[test]
fn linear_without_one_of_its_barriers_races() {
    staged_without_a_barrier_of(WITH_BARRIERS[2]);
}

#[test]
fn softmax_cross_entropy_without_one_of_its_barriers_races() {
    staged_without_a_barrier_of(WITH_BARRIERS[3]);
}

/// One launch of a kernel with 4 words of memory.
fn outcome(body: &str, groups: u32) -> Result<Vec<u32>, String> {
    let text = format!(
        "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
         var<workgroup> vectors: array<vec2<f32>, 2>;
         var<workgroup> shared_words: array<u32, 4>;
         @compute @workgroup_size(2) fn kernel(
             @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3<u32>) {{
             {body}
         }}"
    );
    let kernel = Kernel::new(&text, "kernel", &[]).map_err(|refused| refused.to_string())?;
    let mut buffers = Buffers::from([(0, vec![7; 4])]);
    let outcome = kernel.launch(&mut buffers, [groups, 1, 1], &Rules::default());
    outcome.map_err(|finding| finding.message)?;
    Ok(buffers.remove(&0).unwrap())
}

#[test]
fn the_interpreter_tells_races_from_what_is_allowed() {
    let fine = [
        ("data[i] = i;", 1, vec![0, 1, 7, 7]),
        (
            "vectors[i][1] = 2.0; data[i] = u32(vectors[i].y) + u32(vectors[i].x);",
            1,
            vec![2, 2, 7, 7],
        ),
        (
            "data[2u * group.x + i] = i + data[2u * group.x + i];",
            2,
            vec![7, 8, 7, 8],
        ),
        (
            "data[i] = 5u; storageBarrier(); data[2u + i] = data[1u - i];",
            1,
            vec![5; 4],
        ),
        (
            "shared_words[i] = i; workgroupBarrier(); data[i] = shared_words[1u - i];",
            1,
            vec![1, 0, 7, 7],
        ),
        // Both read the same word; one writes in a loop, the other leaves it early.
        (
            "var sum = data[3]; for (var k = 0u; k < 3u; k++) { if k > i { break; } sum += k; }
             data[i] = sum;",
            1,
            vec![7, 8, 7, 7],
        ),
        (
            "for (var k = 0u; k < 4u; k++) { if k % 2u != i { continue; } data[k] = k; }",
            1,
            vec![0, 1, 2, 3],
        ),
    ];
    for (body, groups, want) in fine {
        assert_eq!(outcome(body, groups), Ok(want), "{body}");
    }
    let wrong = [
        ("data[0] = i;", 1, "without a barrier"),
        (
            "data[i] = 5u; data[2u + i] = data[1u - i];",
            1,
            "has written since the last barrier",
        ),
        (
            "let x = data[1u - i]; data[i] = x;",
            1,
            "has read since the last barrier",
        ),
        ("data[i] = i;", 2, "which another one accesses"),
        (
            "data[2u * group.x + i] = data[2u - 2u * group.x];",
            2,
            "which workgroup 1 has written",
        ),
        (
            "shared_words[i] = i; storageBarrier(); data[i] = shared_words[1u - i];",
            1,
            "has written",
        ),
        (
            "data[i] = 5u; workgroupBarrier(); data[2u + i] = data[1u - i];",
            1,
            "has written",
        ),
        (
            "if data[i] > i + 6u { return; } storageBarrier(); data[i] = 1u;",
            1,
            "not all invocations",
        ),
        ("data[3u + i] = 1u;", 1, "beyond the end"),
        // A device may store the other components, too, as they were.
        ("vectors[0][i] = 1.0;", 1, "since the last barrier"),
        (
            "if i == 0u { vectors[0].x = 1.0; } else { data[0] = u32(vectors[0].y); }",
            1,
            "since the last barrier",
        ),
    ];
    for (body, groups, message) in wrong {
        let error = outcome(body, groups).expect_err(body);
        assert!(error.contains(message), "{body}: {error}");
    }
}
