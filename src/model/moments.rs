//! What a tensor's values look like: the numbers that the lecture prints of each.

use serde::Serialize;

/// Mean, spread and range of the values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moments {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation with Bessel's correction, as `torch.std`; NaN of a single value.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Moments {
    /// Those of values, of which there is one at least. The sums are taken in `f64`, and the spread around the
    /// mean in a second pass, since a difference of large squares would lose it.
    pub fn of<R: Copy + Into<f64>>(values: &[R]) -> Self {
        let values = values.iter().map(|&value| value.into());
        let n = values.len() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let squares: f64 = values.clone().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            std: (squares / (n - 1.0)).sqrt(),
            min: values.clone().fold(f64::INFINITY, f64::min),
            max: values.fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_a_sample() {
        let Moments {
            mean,
            std,
            min,
            max,
        } = Moments::of(&[1.0_f32, 2.0, 4.0, 5.0]);
        assert_eq!((mean, min, max), (3.0, 1.0, 5.0));
        assert!((std - (10.0_f64 / 3.0).sqrt()).abs() < 1e-12, "{std}");
        // As torch says of one value.
        assert!(Moments::of(&[7.0_f32]).std.is_nan());
        // Far from zero the spread is still there.
        let far = Moments::of(&[1e8_f64, 1e8 + 1.0]);
        assert!((far.std - 0.5_f64.sqrt()).abs() < 1e-12, "{far:?}");
    }
}
