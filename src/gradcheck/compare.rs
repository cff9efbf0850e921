//! The one checker: how far a tensor is from what it should be. The `gradcheck` command and the
//! tests hold everything against everything with it.

/// How far a value may be from the expected one:
/// `|got - want| <= relative * |want| + of_largest * max |want| + absolute`.
///
/// The second term is for sums that cancel: their error is that of the terms, not of the result.
/// The third is for tensors that cancel as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Of the value itself.
    pub relative: f64,
    /// Of the largest value of the tensor.
    pub of_largest: f64,
    /// In any case.
    pub absolute: f64,
}

impl Tolerance {
    /// One f64 computation against another that sums in a different order.
    pub const F64: Tolerance = Tolerance {
        relative: 1e-11,
        of_largest: 1e-13,
        absolute: 0.0,
    };

    /// One operation in f32 against the same in f64, on the same inputs. The longest sums of the
    /// tests have some hundred terms, and f32 rounds at 6e-8.
    pub const F32: Tolerance = Tolerance {
        relative: 1e-5,
        of_largest: 2e-6,
        absolute: 0.0,
    };

    /// A whole pass in f32 against f64: the errors of 13 operations in a row.
    pub const F32_PASS: Tolerance = Tolerance {
        relative: 1e-4,
        of_largest: 2e-5,
        absolute: 0.0,
    };

    /// The difference that is allowed for one value of a tensor.
    pub fn allowed(&self, want: f64, largest: f64) -> f64 {
        self.relative * want.abs() + self.of_largest * largest + self.absolute
    }
}

/// One tensor held against another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Whether all values are equal as f32: `torch.all(dt == t.grad)`.
    pub exact: bool,
    /// `torch.allclose(dt, t.grad)`: within 1e-8 + 1e-5 of the expected value, everywhere.
    pub approximate: bool,
    /// Largest difference: `(dt - t.grad).abs().max()`.
    pub maxdiff: f64,
    /// Largest distance in units of the last place of f32.
    pub max_ulps: u64,
    /// The element that is farthest from what is allowed it, measured by that.
    pub worst: Element,
    /// Elements that are not within their tolerance.
    pub beyond: usize,
    /// Whether every element is within its tolerance.
    pub pass: bool,
}

/// One element of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Element {
    /// Index into the row-major values.
    pub index: usize,
    /// The value under test.
    pub got: f64,
    /// The expected value.
    pub want: f64,
    /// The difference allowed.
    pub allowed: f64,
}

/// Tensors that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Different lengths.
    #[error("{got} values, expected {want}")]
    Length {
        /// Values under test.
        got: usize,
        /// Values expected.
        want: usize,
    },
    /// Nothing to compare: a check of it would always pass.
    #[error("no values to compare")]
    Empty,
}

/// Compares two tensors. A NaN or an infinity on either side fails.
///
/// # Errors
///
/// The lengths differ, or there is nothing to compare.
pub fn compare(
    got: &[f64],
    want: &[f64],
    tolerance: Tolerance,
) -> Result<Comparison, CompareError> {
    if got.len() != want.len() {
        return Err(CompareError::Length {
            got: got.len(),
            want: want.len(),
        });
    }
    if got.is_empty() {
        return Err(CompareError::Empty);
    }
    let largest = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
    let mut result = Comparison {
        exact: true,
        approximate: true,
        maxdiff: 0.0,
        max_ulps: 0,
        worst: Element {
            index: 0,
            got: got[0],
            want: want[0],
            allowed: tolerance.allowed(want[0], largest),
        },
        beyond: 0,
        pass: true,
    };
    let mut worst_excess = -1.0;
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let difference = (got - want).abs();
        let allowed = tolerance.allowed(want, largest);
        result.exact &= got as f32 == want as f32;
        // `a <= b` and never `!(a > b)`: a NaN is not within any tolerance.
        result.approximate &= difference <= 1e-8 + 1e-5 * want.abs();
        let within = difference <= allowed && difference.is_finite();
        result.beyond += usize::from(!within);
        result.pass &= within;
        result.max_ulps = result.max_ulps.max(ulps(got as f32, want as f32));
        let excess = if difference == 0.0 {
            0.0
        } else if difference.is_finite() {
            difference / allowed
        } else {
            f64::INFINITY
        };
        if excess > worst_excess {
            worst_excess = excess;
            result.worst = Element {
                index,
                got,
                want,
                allowed,
            };
        }
        // `max` would pass over a NaN.
        if difference.is_nan() || difference > result.maxdiff {
            result.maxdiff = difference;
        }
    }
    Ok(result)
}

/// Distance of two f32 values in units of the last place: how many values lie between them.
pub fn ulps(a: f32, b: f32) -> u64 {
    let ordered = |x: f32| {
        let bits = i64::from(x.to_bits() as i32);
        if bits < 0 {
            i64::from(i32::MIN) - bits
        } else {
            bits
        }
    };
    ordered(a).abs_diff(ordered(b))
}

/// `[3, 17]`: an index into row-major values as the lecture would write it.
pub fn index(shape: &[usize], mut flat: usize) -> String {
    let mut parts = vec![0; shape.len()];
    for (part, &size) in parts.iter_mut().zip(shape).rev() {
        *part = flat % size;
        flat /= size;
    }
    format!("{parts:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANT: [f64; 4] = [1.0, -2.0, 0.0, 1e-3];

    fn check(got: &[f64], want: &[f64]) -> Comparison {
        compare(got, want, Tolerance::F32).unwrap()
    }

    #[test]
    fn equal_tensors_are_exact() {
        let same = check(&WANT, &WANT);
        assert!(same.pass && same.exact && same.approximate);
        assert_eq!((same.maxdiff, same.max_ulps, same.beyond), (0.0, 0, 0));
    }

    #[test]
    fn one_perturbed_element_fails_and_is_named() {
        for i in 0..WANT.len() {
            let mut got = WANT;
            got[i] += 1e-4;
            let result = check(&got, &WANT);
            assert!(!result.pass && !result.exact && !result.approximate);
            assert_eq!((result.worst.index, result.beyond), (i, 1));
            assert!((result.maxdiff - 1e-4).abs() < 1e-12);
        }
    }

    #[test]
    fn a_nan_or_an_infinity_fails_on_either_side() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut got = WANT;
            got[2] = bad;
            assert!(!check(&got, &WANT).pass);
            assert!(!check(&WANT, &got).pass);
            assert!(!check(&got, &got).pass);
            assert_eq!(check(&got, &WANT).beyond, 1);
            assert!(!check(&got, &WANT).approximate);
            assert!(!check(&got, &WANT).maxdiff.is_finite());
        }
    }

    #[test]
    fn another_length_or_none_is_an_error() {
        assert!(compare(&WANT[..3], &WANT, Tolerance::F32).is_err());
        assert!(compare(&WANT, &WANT[..3], Tolerance::F32).is_err());
        assert_eq!(compare(&[], &[], Tolerance::F32), Err(CompareError::Empty));
    }

    #[test]
    fn the_worst_element_is_the_one_farthest_beyond_its_tolerance() {
        let got = [1.0, -2.1, 0.0, 2e-3];
        let result = check(&got, &WANT);
        assert_eq!((result.worst.index, result.beyond), (1, 2));
    }

    #[test]
    fn within_the_tolerance_is_a_pass_without_being_exact() {
        let got = [1.0 + 1e-6, -2.0, 0.0, 1e-3];
        let result = check(&got, &WANT);
        assert!(result.pass && result.approximate && !result.exact);
        assert_eq!(result.max_ulps, 8);
    }

    #[test]
    fn ulps_count_representable_values() {
        assert_eq!(ulps(1.0, 1.0 + f32::EPSILON), 1);
        assert_eq!(ulps(-0.0, 0.0), 0);
        assert_eq!(ulps(f32::from_bits(1), -f32::from_bits(1)), 2);
    }
}
