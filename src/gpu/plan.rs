//! Where everything lies in the four buffers of the resident kernel ([`Plan`]), and the words of a chunk of
//! steps. [`WorkSplit`] says how the kernel shares a step out among its invocations.

use std::ops::Range;

use serde::Serialize;

use super::adapter::{Found, Needs};
use super::layout::{packed_words, uses_words};
use super::packing::list_uses;
use super::tuning::{MAX_STEPS, TILE_ROWS, WorkSplit};
use crate::backend::DeviceError;
use crate::model::dims::{Dims, Token};
use crate::model::params::{Params, Tensor};
use crate::model::steps::Steps;

/// Words that a chunk may have in one buffer, over all models: 16 MiB.
const MAX_WORDS: usize = 1 << 22;
/// Words of a chunk before those of its steps: see `shaders/resident/train.wgsl`.
const HEADER: usize = 2;
/// Storage buffers of the kernel, by their names there.
pub(super) const NAMES: [&str; 4] = ["inputs", "models", "scratch", "results"];

/// The `override` constants of `shaders/resident/train.wgsl`, under their names there.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Constants {
    pub(super) workers: usize,
    pub(super) lanes: usize,
    groups: usize,
    batch: usize,
    vocab: usize,
    embd: usize,
    fan_in: usize,
    hidden4: usize,
    vocab4: usize,
    fan_in4: usize,
    embd4: usize,
    hidden_groups: usize,
    vocab_groups: usize,
    fan_in_groups: usize,
    batch_tiles: usize,
    hidden_tiles: usize,
    fan_in_tiles: usize,
    slices: usize,
    slice4: usize,
    row_slices: usize,
    slice_rows: usize,
    row_workers: usize,
    pub(super) steps: usize,
    w1: usize,
    b1: usize,
    w2: usize,
    b2: usize,
    bngain: usize,
    bnbias: usize,
    pub(super) model4: usize,
    hprebn: usize,
    bnmean: usize,
    bnvar_inv: usize,
    h: usize,
    logits: usize,
    dlogits: usize,
    dhprebn: usize,
    dembcat: usize,
    partials: usize,
    scratch4: usize,
    pub(super) first_step: usize,
    pub(super) step_words: usize,
    y: usize,
    uses: usize,
    lr: usize,
    pub(super) losses: usize,
}

/// Sizes and places of everything in the kernel's buffers.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) dims: Dims,
    /// Models that there is room for.
    pub(super) models: usize,
    /// How the work of a step is shared out.
    pub(super) split: WorkSplit,
    pub(super) constants: Constants,
    /// Steps that a chunk may have.
    pub(super) capacity: usize,
}

impl Plan {
    /// The plan for `models` models of these sizes, with dispatches in which no invocation does more than
    /// `rounds` loop iterations.
    pub fn new(dims: Dims, models: usize, split: WorkSplit, rounds: usize) -> Self {
        let WorkSplit {
            workers,
            lanes,
            slices,
            row_slices,
            row_workers,
            steps,
        } = split;
        let Dims {
            vocab,
            block,
            embd,
            hidden,
            batch,
        } = dims;
        let fan_in = dims.fan_in();
        // A tile of a weight gradient has eight rows: all weights are padded to multiples of eight.
        let rows = |size: usize| size.next_multiple_of(TILE_ROWS);
        let (batch_rows, hidden_rows, fan_in_rows) = (rows(batch), rows(hidden), rows(fan_in));
        let (hidden4, fan_in4, vocab4) = (hidden_rows / 4, fan_in_rows / 4, vocab.div_ceil(4));
        let embd4 = embd.div_ceil(4);
        let slice4 = hidden4.div_ceil(slices.clamp(1, hidden4));
        let slices = hidden4.div_ceil(slice4);
        let slice_rows = batch.div_ceil(row_slices);
        let row_slices = batch.div_ceil(slice_rows);

        // The places follow each other in this order.
        let mut model = Places::default();
        let _c = model.take(vocab * embd4); // at 0, as the kernel knows
        let w1 = model.take(fan_in_rows * hidden4);
        let b1 = model.take(hidden4);
        let w2 = model.take(hidden_rows * vocab4);
        let b2 = model.take(vocab4);
        let bngain = model.take(hidden4);
        let bnbias = model.take(hidden4);
        let mut scratch = Places::default();
        let _embcat = scratch.take(batch_rows * fan_in4); // at 0, as the kernel knows
        let hprebn = scratch.take(batch_rows * hidden4);
        let bnmean = scratch.take(hidden4);
        let bnvar_inv = scratch.take(hidden4);
        let h = scratch.take(batch_rows * hidden4);
        let logits = scratch.take(slices * batch_rows * vocab4);
        let dlogits = scratch.take(batch_rows * vocab4);
        let dhprebn = scratch.take(batch_rows * hidden4);
        let dembcat = scratch.take(slices * batch_rows * fan_in4);
        let partials = scratch.take(3 * row_slices * hidden4);
        let mut step = Places::default();
        let _x = step.take(packed_words(batch * block)); // at 0, as the kernel knows
        let y = step.take(packed_words(batch));
        let uses = step.take(uses_words(&dims, batch));
        let lr = step.take(1);
        let fitting = MAX_WORDS / (models * step.0.max(batch));
        let capacity = fitting.clamp(1, MAX_STEPS);

        let constants = Constants {
            workers,
            lanes,
            groups: workers / lanes,
            batch,
            vocab,
            embd,
            fan_in,
            hidden4,
            vocab4,
            fan_in4,
            embd4,
            hidden_groups: hidden4.div_ceil(lanes),
            vocab_groups: vocab4.div_ceil(lanes),
            fan_in_groups: fan_in4.div_ceil(lanes),
            batch_tiles: batch_rows / TILE_ROWS,
            hidden_tiles: hidden_rows / TILE_ROWS,
            fan_in_tiles: fan_in_rows / TILE_ROWS,
            slices,
            slice4,
            row_slices,
            slice_rows,
            row_workers,
            steps: 0,
            w1,
            b1,
            w2,
            b2,
            bngain,
            bnbias,
            model4: model.0,
            hprebn,
            bnmean,
            bnvar_inv,
            h,
            logits,
            dlogits,
            dhprebn,
            dembcat,
            partials,
            scratch4: scratch.0,
            first_step: HEADER,
            step_words: step.0,
            y,
            uses,
            lr,
            losses: models * workers,
        };
        let mut plan = Self {
            dims,
            models,
            split,
            constants,
            capacity,
        };
        plan.constants.steps = (rounds / plan.rounds()).clamp(1, steps);
        plan
    }

    /// The plan for a driver that stops loops after `rounds` iterations.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Loops`] if a step is longer.
    pub fn for_driver(
        found: &Found,
        dims: Dims,
        models: usize,
        split: WorkSplit,
        rounds: u32,
    ) -> Result<Self, DeviceError> {
        // A margin, in case a compiler adds iterations of its own.
        let rounds = (rounds - rounds / 8) as usize;
        let plan = Self::new(dims, models, split, rounds);
        if plan.rounds() > rounds {
            return Err(DeviceError::Loops {
                adapter: found.info.name.clone(),
                needed: plan.rounds(),
                available: rounds,
            });
        }
        Ok(plan)
    }

    /// Whether the workgroup is one subgroup, whose invocations load for each other.
    pub(super) fn in_subgroups(&self) -> bool {
        self.split.in_subgroups()
    }

    /// Steps that a dispatch has at most.
    pub fn steps_of_a_dispatch(&self) -> usize {
        self.constants.steps
    }

    /// Bytes of the four buffers: inputs, models, scratch, results.
    pub(super) fn bytes(&self) -> [u64; NAMES.len()] {
        self.words(self.capacity).map(|words| 4 * words as u64)
    }

    /// Words of the four buffers for chunks of `steps` steps.
    fn words(&self, steps: usize) -> [usize; NAMES.len()] {
        let c = &self.constants;
        let steps = self.models * steps;
        [
            c.first_step + steps * c.step_words,
            self.models * 4 * c.model4,
            self.models * 4 * c.scratch4,
            c.losses + steps * self.dims.batch,
        ]
    }

    /// Whether the adapter can hold the models.
    pub(super) fn check(&self, found: &Found) -> Result<(), DeviceError> {
        let needs = Needs {
            storage_buffers: NAMES.len(),
            invocations: self.constants.workers,
            workgroups: self.models as u64,
            largest: self.bytes().into_iter().max().unwrap_or(0),
        };
        needs.check(&found.adapter.limits(), &found.info.name)
    }

    /// The constants of the kernel, by name.
    pub fn named(&self) -> Vec<(String, f64)> {
        match serde_json::to_value(self.constants) {
            Ok(serde_json::Value::Object(map)) => map
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_f64()?)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Loop iterations, those of nested loops included, of the busiest invocation in a step.
    fn rounds(&self) -> usize {
        let Dims {
            vocab,
            block,
            batch,
            ..
        } = self.dims;
        let c = &self.constants;
        let by_worker = |work: usize| work.div_ceil(c.workers);
        let by_group = |work: usize| work.div_ceil(c.groups);
        let embed = by_worker(batch * c.fan_in4);
        let first_layer = by_group(c.batch_tiles * c.hidden_groups) * (1 + c.fan_in4);
        // The rows of a column, and the slices of its sums.
        let column = |sums: usize| {
            by_worker(c.hidden4 * c.row_slices) * (1 + c.slice_rows + sums * c.row_slices)
        };
        let normalize = column(0) + column(1) + column(1);
        let second_layer = by_group(c.batch_tiles * c.vocab_groups * c.slices) * (1 + c.slice4);
        let add_slices = by_worker(batch * c.vocab4) * (1 + c.slices);
        let loss = by_worker(batch * c.row_workers) * (1 + 3 * c.vocab4);
        let through_second = by_group(c.batch_tiles * c.hidden_groups) * (1 + c.vocab4);
        let through_batchnorm =
            column(0) + column(2) + by_worker(c.hidden4) * (1 + 3 * c.row_slices);
        let rows = 2 * c.batch_tiles; // four at a time
        let second_update = by_group(c.hidden_tiles * c.vocab_groups) * (1 + rows) + batch;
        let through_first = by_group(c.batch_tiles * c.fan_in_groups * c.slices) * (1 + c.slice4);
        let first_update = by_group(c.fan_in_tiles * c.hidden_groups) * (1 + rows);
        let add_dembcat = if c.slices > 1 {
            by_worker(batch * c.fan_in4) * c.slices
        } else {
            0
        };
        // Each position has one token: an invocation visits it once for each of its vec4 of that token.
        let uses = c.embd4.div_ceil(c.workers) * batch * block;
        let embedding = by_worker(vocab * c.embd4) + uses;
        embed
            + first_layer
            + normalize
            + second_layer
            + add_slices
            + loss
            + through_second
            + through_batchnorm
            + second_update
            + through_first
            + add_dembcat
            + first_update
            + embedding
            + 1
    }

    /// The four buffers before the first dispatch of a chunk of steps of each model, in the order of their
    /// bindings, for tests that have something else than a device run the kernel.
    pub fn memory(&self, params: &[Params<f32>], steps: &[&Steps]) -> [Vec<u32>; NAMES.len()] {
        let count = steps.first().map_or(0, |steps| steps.len());
        let mut memory = self.words(count).map(|words| vec![0; words]);
        let [inputs, models, ..] = &mut memory;
        inputs[..HEADER].copy_from_slice(&[count as u32, 2]);
        let of_models = inputs[HEADER..].chunks_mut(count * self.constants.step_words);
        for (words, steps) in of_models.zip(steps) {
            self.pack_steps(steps, 0..count, words);
        }
        for (words, params) in models.chunks_mut(4 * self.constants.model4).zip(params) {
            words.copy_from_slice(bytemuck::cast_slice(&self.pack(params)));
        }
        memory
    }

    /// Where value `i` of a parameter lies in a model's part of the buffer.
    fn place(&self, tensor: Tensor) -> impl Fn(usize) -> usize {
        let Dims { hidden, vocab, .. } = self.dims;
        let record = &self.constants;
        let (at, cols, row4) = match tensor {
            Tensor::C => (0, self.dims.embd, record.embd4),
            Tensor::W1 => (record.w1, hidden, record.hidden4),
            Tensor::B1 => (record.b1, 1, 0),
            Tensor::W2 => (record.w2, vocab, record.vocab4),
            Tensor::B2 => (record.b2, 1, 0),
            Tensor::Bngain => (record.bngain, 1, 0),
            Tensor::Bnbias => (record.bnbias, 1, 0),
        };
        let (at, pitch) = (4 * at, 4 * row4);
        move |i| {
            if pitch == 0 {
                at + i
            } else {
                at + i / cols * pitch + i % cols
            }
        }
    }

    /// A model as the kernel has it.
    pub(super) fn pack(&self, params: &Params<f32>) -> Vec<f32> {
        let mut values = vec![0.0; 4 * self.constants.model4];
        for tensor in Tensor::ALL {
            let place = self.place(tensor);
            for (i, &value) in params.get(tensor).iter().enumerate() {
                values[place(i)] = value;
            }
        }
        values
    }

    /// The parameters of a model as the kernel left it.
    pub fn unpack(&self, values: &[f32]) -> Params<f32> {
        Params::from_fn(|tensor| {
            let place = self.place(tensor);
            (0..tensor.len(&self.dims))
                .map(|i| values[place(i)])
                .collect()
        })
    }

    /// Writes the words of some steps of a model, as the kernel reads them.
    pub(super) fn pack_steps(&self, steps: &Steps, range: Range<usize>, words: &mut [u32]) {
        let places = &self.constants;
        for (i, words) in range.zip(words.chunks_exact_mut(places.step_words)) {
            let (x, y, lr) = steps.step(i);
            let (tokens, uses) = words.split_at_mut(places.uses);
            let (uses, rate) = uses.split_at_mut(places.lr - places.uses);
            let tokens: &mut [Token] = bytemuck::cast_slice_mut(tokens);
            tokens[..x.len()].copy_from_slice(x);
            tokens[2 * places.y..][..y.len()].copy_from_slice(y);
            list_uses(&self.dims, 4 * places.fan_in4, x, uses);
            rate[0] = lr.to_bits();
        }
    }
}

/// Hands out places one after another.
#[derive(Default)]
struct Places(usize);

impl Places {
    fn take(&mut self, len: usize) -> usize {
        let at = self.0;
        self.0 += len;
        at
    }
}
