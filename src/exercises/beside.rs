//! A training with the learner's own gradients, beside one with the program's.

use std::rc::Rc;

use super::device::Device;
use super::train::{OwnGradients, TrainError};
use crate::backend::Backend;
use crate::cpu::CpuBackend;
use crate::data;
use crate::model::dims::Dims;
use crate::model::recipe::{Recipe, default_decay_at};
use crate::training::curve::LossCurve;
use crate::training::{Snapshot, Stream};

/// Two trainings on the lecture's names, from the same initial values, with the same minibatches.
pub struct SideBySide {
    own: OwnGradients,
    reference: CpuBackend,
    stream: Stream<'static>,
    steps: u64,
    mine: Losses,
    theirs: Losses,
}

/// The losses of one of them.
pub struct Losses {
    /// Each step's.
    pub all: Vec<f32>,
    /// Their curve.
    pub curve: LossCurve,
}

impl Losses {
    fn new(steps: u64) -> Self {
        Self {
            all: Vec::new(),
            curve: LossCurve::new(steps),
        }
    }

    fn add(&mut self, loss: f32) {
        self.all.push(loss);
        self.curve.add(&[loss]);
    }
}

impl SideBySide {
    /// A training of `steps` steps with `texts`, one for each of [`OwnGradients::exercises`]. Without a device the
    /// interpreter runs them.
    ///
    /// # Errors
    ///
    /// A text does not compile, or the device failed.
    pub async fn new(
        texts: &[String],
        device: Option<Rc<Device>>,
        steps: u64,
    ) -> Result<Self, TrainError> {
        let recipe = Recipe {
            steps,
            lr_decay_at: default_decay_at(steps),
            ..Recipe::default()
        };
        let dims = Dims::LECTURE;
        let names = data::names(dims.block)?;
        let Snapshot {
            params, generator, ..
        } = Snapshot::first(&dims, recipe.seed);
        Ok(Self {
            own: OwnGradients::new(params.clone(), texts, device).await?,
            reference: CpuBackend::new(dims, params),
            stream: Stream::new(names.train, generator, recipe.learning_rate(), dims.batch),
            steps,
            mine: Losses::new(steps),
            theirs: Losses::new(steps),
        })
    }

    /// Has both do a step, and gives the loss of the learner's.
    ///
    /// # Errors
    ///
    /// A function stopped on the way, the device failed, or the training diverged.
    pub async fn step(&mut self) -> Result<f32, TrainError> {
        let step = self.stream.take(1);
        let loss = self.own.train(&step).await?;
        let mut theirs = Vec::with_capacity(1);
        self.reference.train(&step, &mut theirs).await?;
        self.mine.add(loss);
        theirs.iter().for_each(|&loss| self.theirs.add(loss));
        Ok(loss)
    }

    /// Steps done.
    pub fn done(&self) -> u64 {
        self.mine.all.len() as u64
    }

    /// Steps of the whole.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The losses by the learner's gradients.
    pub fn mine(&self) -> &Losses {
        &self.mine
    }

    /// The losses by the program's.
    pub fn theirs(&self) -> &Losses {
        &self.theirs
    }

    /// The largest difference between two losses of the same step.
    pub fn apart(&self) -> f32 {
        let pairs = self.mine.all.iter().zip(&self.theirs.all);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}
