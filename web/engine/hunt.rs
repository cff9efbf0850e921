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
    let (first, _) = hunt::lines(mistake);
    let (found, told) = match hunt::judge(mistake, file, line) {
        Guess::Found => (true, format!("Found: {}.", mistake.name)),
        Guess::Near => (
            false,
            "Not this line, but fewer than ten lines away.".to_owned(),
        ),
        Guess::InTheFile => (false, "Not this line, but it is in this file.".to_owned()),
        Guess::OtherFile => (false, format!("It is not in {file}.")),
        Guess::NoSuchFile => (false, format!("There is no file {file}.")),
    };
    let judged = Judged {
        found,
        told,
        mistake: found.then(|| crossing(mistake)),
        line: found.then_some(first),
    };
    Ok(judged.into_ts()?)
}

/// Tells the line and what is wrong in it, for one who gives up.
///
/// # Errors
///
/// There is no mistake of this number.
#[wasm_bindgen]
pub fn hunt_give_up(number: usize) -> Result<Ts<Judged>, JsError> {
    let mistake = planted(number)?;
    let (first, _) = hunt::lines(mistake);
    let judged = Judged {
        found: false,
        told: format!("It is line {first} of {}: {}.", mistake.file, mistake.name),
        mistake: Some(crossing(mistake)),
        line: Some(first),
    };
    Ok(judged.into_ts()?)
}

/// The mistake of a number.
pub fn planted(number: usize) -> Result<&'static Mistake, JsError> {
    let mistake = hunt::numbered(number);
    mistake.ok_or_else(|| failure(format!("there is no mistake {number} to hunt")))
}
