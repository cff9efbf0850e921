//! The hunt: a planted mistake of which the page tells only what it does.

use gpu_makemore::gradcheck::hunt::{self, Guess};
use gpu_makemore::gradcheck::mistakes::Mistake;
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::failure;
use crate::messages::Judged;
use crate::trial::crossing;

/// How many mistakes can be hunted. They are numbered from 1.
#[wasm_bindgen]
pub fn hunts() -> usize {
    hunt::hunted().len()
}

/// Judges a guess: a line, from 1, of a file under `shaders/`.
///
/// # Errors
///
/// There is no mistake of this number.
#[wasm_bindgen]
pub fn hunt_guess(number: usize, file: &str, line: usize) -> Result<Ts<Judged>, JsError> {
    let mistake = planted(number)?;
    let (found, told) = match hunt::judge(mistake, file, line) {
        Guess::Found => (true, format!("Found: {}.", mistake.name)),
        Guess::Near => (false, "Not this line, but near.".to_owned()),
        Guess::InTheFile => (false, "Not this line: elsewhere in this file.".to_owned()),
        Guess::OtherFile => (false, format!("It is not in {file}.")),
    };
    let judged = Judged {
        found,
        told,
        mistake: found.then(|| crossing(mistake)),
    };
    Ok(judged.into_ts()?)
}

/// The mistake of a number.
pub fn planted(number: usize) -> Result<&'static Mistake, JsError> {
    let mistake = hunt::numbered(number);
    mistake.ok_or_else(|| failure(format!("there is no mistake {number} to hunt")))
}
