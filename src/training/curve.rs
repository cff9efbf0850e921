//! The curve of the lecture's picture of the loss, made while the training runs.

/// Points of a short run.
const FEW: u64 = 200;
/// Steps that a point of the lecture's picture stands for.
const LECTURE: u64 = 1000;
/// Points at most: more than the picture has columns for.
const MANY: u64 = 2000;

/// Mean log10 of the loss of each `bucket` steps.
///
/// The lecture draws `torch.tensor(lossi).view(-1, 1000).mean(1)` with
/// `lossi.append(loss.log10().item())`: 200 points, each the mean of 1,000 steps. Fewer steps
/// are cut into 200 points as well, of fewer steps each, so that a short run has a curve;
/// more steps give more points of 1,000 steps, up to 2,000 points. What is left over at the end and
/// makes no full bucket is dropped: its mean would be noisier than the others.
///
/// Only sums are kept, so that the memory of a run does not grow with its steps.
#[derive(Clone, Debug, PartialEq)]
pub struct LossCurve {
    /// Steps of the whole run.
    total: u64,
    /// Steps so far.
    steps: u64,
    /// Steps that one point stands for.
    bucket: u64,
    /// The sum of log10 of the losses of each bucket; the last is not full yet.
    sums: Vec<f64>,
}

impl LossCurve {
    /// The curve of a run of `total` steps, before the first of them.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            steps: 0,
            bucket: Self::bucket_of(total),
            sums: vec![0.0],
        }
    }

    /// Steps that a point of the curve of `total` steps stands for.
    pub fn bucket_of(total: u64) -> u64 {
        (total / FEW).clamp(1, LECTURE).max(total.div_ceil(MANY))
    }

    /// How many sums [`LossCurve::sums`] has after `steps` steps.
    pub fn sums_after(steps: u64, bucket: u64) -> usize {
        (steps / bucket.max(1)) as usize + 1
    }

    /// The curve after `steps` steps of `total`, from its sums; `None` if those are not as many as
    /// such a curve has.
    pub fn from_sums(steps: u64, total: u64, bucket: u64, sums: Vec<f64>) -> Option<Self> {
        (sums.len() == Self::sums_after(steps, bucket)).then_some(Self {
            total,
            steps,
            bucket,
            sums,
        })
    }

    /// The curve of a run whose number of steps is now `total`. The losses of single steps are gone, so each
    /// point still averages the steps it did, or several old points are joined into one. They never average
    /// more steps than in a run that had `total` steps from the start.
    #[must_use]
    pub fn with_total(self, total: u64) -> Self {
        if self.steps == 0 {
            return Self::new(total);
        }
        let times = (Self::bucket_of(total) / self.bucket).max(1);
        let sums = self.sums.chunks(times as usize);
        Self {
            total,
            bucket: self.bucket * times,
            sums: sums.map(|sums| sums.iter().sum()).collect(),
            ..self
        }
    }

    /// Adds the losses of the next steps, in order. How a run is cut into chunks makes no difference.
    pub fn add(&mut self, losses: &[f32]) {
        for &loss in losses {
            if let Some(sum) = self.sums.last_mut() {
                *sum += f64::from(loss).log10();
            }
            self.steps += 1;
            if self.steps.is_multiple_of(self.bucket) {
                self.sums.push(0.0);
            }
        }
    }

    /// Steps of the whole run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps that one point stands for.
    pub fn bucket(&self) -> u64 {
        self.bucket
    }

    /// Sums of log10 of the losses, of each bucket and of the one that is not full yet.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// The step in the middle of each full bucket and the mean of its log10 losses: not finite where
    /// a loss is not, or is zero.
    pub fn points(&self) -> Vec<(usize, f64)> {
        let full = self.sums.len() - 1;
        let middle = |i: usize| (i as u64 * self.bucket + self.bucket / 2) as usize;
        let sums = self.sums[..full].iter().enumerate();
        sums.map(|(i, sum)| (middle(i), sum / self.bucket as f64))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f32]) -> LossCurve {
        let mut curve = LossCurve::new(losses.len() as u64);
        curve.add(losses);
        curve
    }

    #[test]
    fn the_lecture_has_200_points_of_1000_steps() {
        let curve = curve(&vec![100.0; 200_000]);
        let points = curve.points();
        assert_eq!((curve.bucket(), points.len()), (1000, 200));
        assert_eq!(points[0], (500, 2.0));
        assert_eq!(points[199], (199_500, 2.0));
    }

    #[test]
    fn the_mean_is_taken_of_the_logarithms() {
        let curve = curve(&[1.0, 100.0].repeat(200));
        assert_eq!(curve.bucket(), 2);
        assert!(curve.points().iter().all(|p| p.1 == 1.0));
    }

    #[test]
    fn short_and_long_runs_have_buckets_that_suit_them() {
        for (steps, bucket, points) in [
            (0, 1, 0),
            (1, 1, 1),
            (399, 1, 399),
            (400, 2, 200),
            (1999, 9, 222),
            (100_000, 500, 200),
            (1_000_999, 1000, 1000),
            (2_000_000, 1000, 2000),
            (2_000_001, 1001, 1998),
            (3_000_000, 1500, 2000),
        ] {
            let curve = curve(&vec![1.0; steps]);
            assert_eq!((curve.bucket(), curve.points().len()), (bucket, points));
            let sums = LossCurve::sums_after(steps as u64, bucket);
            assert_eq!(curve.sums().len(), sums, "{steps}");
        }
        // The largest run that can be asked for has a curve too.
        assert_eq!(LossCurve::new(u64::MAX).sums().len(), 1);
    }

    #[test]
    fn chunks_and_a_pause_make_no_difference() {
        let losses: Vec<f32> = (0..1001).map(|i| 1.0 + (i % 17) as f32).collect();
        let whole = curve(&losses);
        for chunk in [1, 4, 5, 7, 1000] {
            let mut paused = LossCurve::new(1001);
            for losses in losses.chunks(chunk) {
                paused.add(losses);
                let (steps, sums) = (paused.steps(), paused.sums().to_vec());
                let bucket = paused.bucket();
                assert!(LossCurve::from_sums(steps, 1001, bucket, vec![]).is_none());
                paused = LossCurve::from_sums(steps, 1001, bucket, sums).unwrap();
            }
            assert_eq!(paused, whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_curve_that_gets_longer_keeps_its_points_or_joins_some() {
        // Logarithms that are whole numbers: their sums are exact in any order.
        let losses: Vec<f32> = (0..9000).map(|i| [1.0, 10.0, 100.0][i % 3]).collect();
        for (begun, total, bucket) in [
            (1000, 1500, 5), // a run of 1,500 steps would have 7
            (1000, 2000, 10),
            (1003, 2005, 10), // with steps left over
            (2000, 1500, 10), // shorter
            (300, 9000, 45),
        ] {
            let mut curve = LossCurve::new(begun as u64);
            let done = begun.min(total);
            curve.add(&losses[..done]);
            let mut curve = curve.with_total(total as u64);
            curve.add(&losses[done..total]);
            assert_eq!((curve.bucket(), curve.total()), (bucket, total as u64));
            assert_eq!(
                curve.sums().len(),
                LossCurve::sums_after(total as u64, bucket)
            );
            for ((_, mean), losses) in curve.points().iter().zip(losses.chunks(bucket as usize)) {
                let sum: f64 = losses.iter().map(|&loss| f64::from(loss).log10()).sum();
                assert_eq!(*mean, sum / bucket as f64);
            }
        }
        assert_eq!(LossCurve::new(1000).with_total(1500), LossCurve::new(1500));
    }
}
