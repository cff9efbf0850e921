//! Mistakes in the kernels, one at a time, that `gradcheck` has to find.

use gpu_makemore::cli::gradcheck::verdict;
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gradcheck::engine::Engine;
use gpu_makemore::gradcheck::mistakes::{By, Mistake};
use gpu_makemore::gradcheck::step::Code;
use gpu_makemore::gradcheck::{Row, check, check_chunked};
use libtest_mimic::Failed;
use pollster::FutureExt as _;

use crate::common::adapters::Outcome;
use crate::{default_inputs, large_logits};

/// What a mistake shows in.
pub trait Finds {
    /// The rows of the table.
    fn rows(self, engine: &Engine) -> Result<Vec<Row>, Failed>;

    /// The code that alone may be wrong, if only one has the mistake.
    fn alone(self) -> Option<Code>;
}

impl Finds for By {
    fn rows(self, engine: &Engine) -> Result<Vec<Row>, Failed> {
        let codes: &[Code] = match self {
            By::Gradcheck | By::LargeLogits => &[Code::Staged],
            By::Parts => &[Code::Staged, Code::InParts],
            By::Resident => &[Code::Resident],
            By::Exercise1 => return Ok(check_chunked(engine, &default_inputs()?).block_on()?.rows),
        };
        let inputs = match self {
            By::LargeLogits => large_logits()?,
            _ => default_inputs()?,
        };
        Ok(check(engine, &inputs, codes).block_on()?.rows)
    }

    fn alone(self) -> Option<Code> {
        match self {
            By::Parts => Some(Code::InParts),
            By::Resident => Some(Code::Resident),
            _ => None,
        }
    }
}

/// The mistakes that `tests/run` makes: one for each operation, and for each step that trains. It leaves
/// the others to `tests/run --all`, since each of them is compiled.
const QUICK: [&str; 8] = [
    "tokens unpacked from the wrong end",
    "nothing taken off at the target",
    "h for its transpose",
    "1-h for 1-h**2",
    "the mean term dropped",
    "dC set and not added to",
    "only the last part",
    "dC of the last use alone",
];

/// Whether a mistake is left to `tests/run --all`.
pub fn is_long(mistake: &Mistake) -> bool {
    !QUICK.contains(&mistake.name)
}

/// Whether `gradcheck` finds a mistake, and names the tensor that is wrong first.
pub fn is_caught(mistake: &Mistake, found: &Found) -> Outcome {
    let engine = mistake.engine(found)?;
    let rows = mistake.by.rows(&engine)?;
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.comparison.pass).collect();
    let first = wrong.first().map_or("nothing", |row| row.chunk.name());
    let expected = mistake.first.name();
    if first != expected {
        return Err(format!("{:?} names {first}, expected {expected}", mistake.by).into());
    }
    let alone = mistake.by.alone();
    if let Some(row) = wrong
        .iter()
        .find(|row| alone.is_some_and(|code| row.by != code))
    {
        return Err(format!("{} by {} is wrong too", row.label, row.by.name()).into());
    }
    Ok(())
}

/// Without a mistake, none of the ways to find one finds one.
pub fn no_mistake(found: &Found) -> Outcome {
    for by in [
        By::Gradcheck,
        By::Parts,
        By::Resident,
        By::Exercise1,
        By::LargeLogits,
    ] {
        verdict(&by.rows(&Engine::on(found))?)?;
    }
    Ok(())
}
