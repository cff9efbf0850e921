//! Numbers of a report: means, deviations, and losses as text.

/// A loss with the lecture's four digits, or with two where it is enormous.
pub(super) fn loss(value: f64) -> String {
    if value < 1e4 {
        format!("{value:.4}")
    } else {
        format!("{value:.1e}")
    }
}

/// The mean, if there are values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation of a sample, with Bessel's correction; a single value has none.
pub(super) fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_those_of_a_sample() {
        let values = [1.0, 2.0, 4.0, 5.0];
        assert_eq!(mean(&values), Some(3.0));
        assert!((deviation(&values).unwrap() - (10.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((mean(&[]), deviation(&[1.0])), (None, None));
    }
}
