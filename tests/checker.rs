//! The checker checked: a check that cannot fail proves nothing.

mod common;

use common::{Tolerance, compare, ulps};

const WANT: [f64; 4] = [1.0, -2.0, 0.0, 1e-3];

#[test]
fn equal_tensors_pass() {
    assert_eq!(compare("t", &WANT, &WANT, Tolerance::F32), Ok(()));
}

#[test]
fn one_perturbed_element_fails_and_is_named() {
    for i in 0..WANT.len() {
        let mut got = WANT;
        got[i] += 1e-4;
        let error = compare("t", &got, &WANT, Tolerance::F32).unwrap_err();
        assert!(error.starts_with(&format!("t[{i}]")), "{error}");
    }
}

#[test]
fn a_nan_or_an_infinity_fails_on_either_side() {
    for bad in [f64::NAN, f64::INFINITY] {
        let mut got = WANT;
        got[2] = bad;
        assert!(compare("t", &got, &WANT, Tolerance::F32).is_err());
        assert!(compare("t", &WANT, &got, Tolerance::F32).is_err());
    }
}

#[test]
fn another_length_fails() {
    assert!(compare("t", &WANT[..3], &WANT, Tolerance::F32).is_err());
    assert!(compare("t", &[], &WANT, Tolerance::F32).is_err());
}

#[test]
fn the_worst_element_is_the_one_reported() {
    let got = [1.0, -2.1, 0.0, 2e-3];
    let error = compare("t", &got, &WANT, Tolerance::F32).unwrap_err();
    assert!(error.starts_with("t[1]"), "{error}");
}

#[test]
fn ulps_count_representable_values() {
    assert_eq!(ulps(1.0, 1.0 + f32::EPSILON), 1);
    assert_eq!(ulps(-0.0, 0.0), 0);
    assert_eq!(ulps(f32::from_bits(1), -f32::from_bits(1)), 2);
}
