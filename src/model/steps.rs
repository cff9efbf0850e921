//! Training steps as a backend gets them, and the learning rate of each.

use super::dims::Token;

/// The learning rate of each step.
#[derive(Clone, Copy, Debug)]
pub struct LearningRate {
    /// Of the first steps.
    pub lr: f64,
    /// From `decay_at` on.
    pub lr_final: f64,
    /// First step with `lr_final`.
    pub decay_at: u64,
}

impl LearningRate {
    /// `lr = 0.1 if i < 100000 else 0.01`
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.decay_at {
            self.lr
        } else {
            self.lr_final
        }
    }
}

/// A run of consecutive training steps, drawn by the host.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Number of the first step in the run, for messages.
    pub first: u64,
    /// Context tokens, `(steps, batch, block)`.
    pub x: Vec<Token>,
    /// Target tokens, `(steps, batch)`.
    pub y: Vec<Token>,
    /// Learning rate of each step, `(steps)`.
    pub lr: Vec<f32>,
}

impl Steps {
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.lr.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lr.is_empty()
    }

    /// Contexts, targets and learning rate of step `i`.
    pub fn step(&self, i: usize) -> (&[Token], &[Token], f32) {
        let (xs, ys) = (self.x.len() / self.len(), self.y.len() / self.len());
        (
            &self.x[i * xs..(i + 1) * xs],
            &self.y[i * ys..(i + 1) * ys],
            self.lr[i],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_falls_at_its_step() {
        let schedule = LearningRate {
            lr: 0.1,
            lr_final: 0.01,
            decay_at: 5,
        };
        assert_eq!(schedule.lr(4), 0.1);
        assert_eq!(schedule.lr(5), 0.01);
    }
}
