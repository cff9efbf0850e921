//! What has to hold for any bytes that the readers are given: the tests call these functions with
//! files that are damaged in every way, and `tests/fuzz` with what a fuzzer comes up with.

use std::fmt::Display;

use gpu_makemore::checkpoint::plain::Plain;
use gpu_makemore::checkpoint::{Checkpoint, CheckpointError};
use gpu_makemore::data::{self, Examples, Format, Reading, Source, Vocabulary};
use gpu_makemore::gradcheck::against::Given;
use gpu_makemore::model::statistics::Statistics;
use gpu_makemore::sample::Sampler;
use gpu_makemore::text::one_line;

use super::memory::peak_of;

/// What the checkpoint reader may take beside twice the length of the file: the nine descriptions
/// of tensors and the texts and the list of characters of a configuration, none of which it lets
/// grow with the file, and the message.
pub const SLACK: usize = 64 << 10;

/// Bytes of a message at most: it may list twenty columns.
const LONGEST: usize = 4096;

/// The file in memory, loaded, within the memory that it may take.
pub fn load(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let (loaded, peak) = peak_of(|| Checkpoint::from_bytes(bytes));
    let allowed = 2 * bytes.len() + SLACK;
    assert!(
        peak <= allowed,
        "{peak} bytes were taken for a file of {}: {loaded:?}",
        bytes.len()
    );
    if let Err(error) = &loaded {
        check_message(error);
    }
    loaded
}

/// The file with the checksum that fits its content.
pub fn sealed(bytes: &[u8], error: &CheckpointError) -> Option<Vec<u8>> {
    let CheckpointError::Checksum {
        stored, computed, ..
    } = error
    else {
        return None;
    };
    // The text has zeros in its place when the sum is taken, so it stays the same.
    let at = bytes
        .windows(stored.len())
        .position(|part| part == stored.as_bytes())?;
    let mut sealed = bytes.to_vec();
    sealed[at..at + stored.len()].copy_from_slice(computed.as_bytes());
    Some(sealed)
}

/// Any bytes as a model from elsewhere: refused, or its parameters are numbers.
fn plain(bytes: &[u8]) {
    let (read, peak) = peak_of(|| Plain::from_bytes(bytes));
    // A tensor of F16 as F64, then as F32, beside all of them as F32.
    assert!(peak <= 8 * bytes.len() + SLACK, "{peak}: {read:?}");
    match read {
        Ok(Plain { dims, params, .. }) => {
            dims.validate().expect("sizes within their range");
            assert_eq!(params.first_non_finite(), None);
        }
        Err(error) => check_message(&error),
    }
}

/// Any bytes as a checkpoint: refused or a model that can be run, and the checksum hides nothing.
pub fn checkpoint(bytes: &[u8]) {
    plain(bytes);
    let loaded = match load(bytes) {
        Err(error) => match sealed(bytes, &error) {
            Some(sealed) => load(&sealed),
            None => Err(error),
        },
        loaded => loaded,
    };
    let Ok(Checkpoint {
        config,
        params,
        bnmean,
        bnvar,
        ..
    }) = loaded
    else {
        return;
    };
    let dims = config.dims().validate().expect("sizes within their range");
    let Ok(vocabulary) = Vocabulary::from_chars(config.vocab) else {
        return; // with a control character among its letters
    };
    assert_eq!(vocabulary.len(), dims.vocab);
    let mut sampler = Sampler::new(dims, params, Statistics { bnmean, bnvar }, 1);
    for token in sampler.name(&[]) {
        assert!(vocabulary.decode(token).is_some());
    }
}

/// Any bytes as a file for `gradcheck --against`.
pub fn against(bytes: &[u8]) {
    match Given::from_bytes(bytes) {
        Ok(given) => {
            given.inputs.dims.validate().expect("sizes in their range");
        }
        Err(error) => check_message(&error),
    }
}

/// Any bytes as a text with a word a line. The first byte chooses the options.
pub fn data(bytes: &[u8]) {
    let Some((&options, bytes)) = bytes.split_first() else {
        return;
    };
    words(bytes, "words.txt", Format::Detect, None, options);
}

/// Any bytes as a CSV file. The first byte chooses the options.
pub fn csv(bytes: &[u8]) {
    let Some((&options, bytes)) = bytes.split_first() else {
        return;
    };
    let column = [None, Some("word"), Some("name"), Some("")][usize::from(options >> 6)];
    words(bytes, "words.csv", Format::Table, column, options);
}

fn words(bytes: &[u8], name: &str, format: Format, column: Option<&str>, options: u8) {
    let options = data::Options {
        source: Source::Bytes {
            name,
            bytes,
            format,
        },
        reading: Reading {
            column: column.map(str::to_owned),
            clean: options & 1 == 1,
            skip_bad_lines: options & 32 == 32,
            ..Reading::default()
        },
        block: 1 + usize::from(options >> 1 & 15),
    };
    let dataset = match data::load(&options) {
        Ok(dataset) => dataset,
        Err(error) => return check_message(&error),
    };
    assert!((2..=65_535).contains(&dataset.vocab.len()));
    assert!(dataset.words.test > 0 && dataset.words.val > 0 && dataset.words.train > 0);
    for part in [&dataset.train, &dataset.val, &dataset.test] {
        let mut count = 0;
        for batch in part.parts(part.len()) {
            assert_eq!(batch.x.len(), batch.y.len() * options.block);
            count += batch.y.len();
            let mut tokens = batch.x.iter().chain(&batch.y);
            assert!(tokens.all(|&t| dataset.vocab.decode(t).is_some()));
        }
        assert_eq!(count, part.len());
    }
    // Each word ends once, and what is in the file is all that there is.
    let ends = |part: &Examples| part.y().filter(|&t| t == Vocabulary::END_TOKEN).count();
    assert_eq!(ends(&dataset.train), dataset.words.train);
    assert_eq!(ends(&dataset.val), dataset.words.val);
    assert_eq!(ends(&dataset.test), dataset.words.test);
    if !options.reading.clean {
        assert!(dataset.total() <= bytes.len() + dataset.words.of(data::Split::All));
    }
}

/// A message is a line of a length that a person will read.
fn check_message(error: &impl Display) {
    let message = error.to_string();
    assert_eq!(message, one_line(&message));
    assert!(message.len() <= LONGEST, "{message}");
}
