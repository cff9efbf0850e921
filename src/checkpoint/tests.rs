//! Checkpoints from bytes and to bytes.

use std::io;

use super::*;
use crate::gpu::kernels::Changed;
use crate::model::recipe::Recipe;

/// A model with small sizes, and with every kind of character that JSON escapes.
fn small() -> Checkpoint {
    let config = Config {
        vocab: vec!['.', '"', '\\', 'é', '😀'],
        recipe: Recipe {
            block_size: 2,
            n_embd: 2,
            n_hidden: 3,
            batch_size: 4,
            seed: u64::MAX,
            data: "names \"quoted\"\n".to_owned(),
            clean: true,
            ..Recipe::default()
        },
        backend: "cpu".to_owned(),
        version: "0.1.0".to_owned(),
        data_sha256: Some("0".repeat(64)),
    };
    let mut next = 0.0;
    let params = Params::from_fn(|t| {
        let count = t.len(&config.dims());
        std::iter::repeat_with(|| {
            next += 0.37;
            f32::sin(next)
        })
        .take(count)
        .collect()
    });
    Checkpoint {
        config,
        params,
        bnmean: vec![0.5, -1e-30, f32::MAX],
        bnvar: vec![0.0, f32::MIN_POSITIVE / 2.0, 2.0],
        training: None,
    }
}

/// The model of [`small`] in a run that has done 7 of 20 steps.
fn unfinished() -> Checkpoint {
    let mut checkpoint = small();
    checkpoint.config.recipe.steps = 7;
    checkpoint.training = Some(Training {
        steps: 20,
        log_every: 10,
        checkpoint_every: 2,
        eval_every: None,
        tensorboard: false,
        ratios_every: None,
        adapter_option: Some("llvm".to_owned()),
        schedule: Some("staged".to_owned()),
        tuning: Some("staged:invocations=1".to_owned()),
        adapter: "llvmpipe".to_owned(),
        driver: "Mesa".to_owned(),
        data_sha256: "0".to_owned(),
        shaders: Some(Changed {
            files: vec!["tanh.wgsl".to_owned()],
            sha256: "1".repeat(64),
        }),
        data_path: Some("../words.txt".to_owned()),
        seconds: 0.1 + 0.2,
        metrics: MetricsMark {
            bytes: 5,
            sum: 1.0 / 3.0,
            count: 7,
        },
        val_loss: Some(2.1),
        best: None,
        init_loss: None,
        bucket: None,
        generator: (0..STATE_WORDS as u32).map(|i| i << 22).collect(),
        losses: vec![
            1.0,
            f64::NEG_INFINITY,
            -0.0,
            0.1,
            f64::MIN,
            1e-300,
            2.0,
            0.0,
        ],
    });
    checkpoint
}

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    checkpoint.to_bytes().unwrap()
}

fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let read = Checkpoint::read(bytes.len() as u64, bytes);
    let taken = Checkpoint::from_bytes(bytes);
    assert_eq!(format!("{read:?}"), format!("{taken:?}"));
    read
}

/// Header (after its length) and body of a file.
fn split(bytes: &[u8]) -> (&str, &[u8]) {
    let (prefix, rest) = bytes.split_first_chunk().unwrap();
    let (header, body) = rest.split_at(u64::from_le_bytes(*prefix) as usize);
    (str::from_utf8(header).unwrap(), body)
}

fn join(header: &str, body: &[u8]) -> Vec<u8> {
    let prefix = (header.len() as u64).to_le_bytes();
    [&prefix, header.as_bytes(), body].concat()
}

/// The file of `small` with its header edited.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let file = bytes(&small());
    let (header, body) = split(&file);
    assert!(header.contains(from), "{header} has no {from}");
    join(&header.replace(from, to), body)
}

/// A file whose checksum is right, from metadata and tensors that may not be.
fn sealed(config: &Config, tensors: &[(&'static str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let parts = tensors
        .iter()
        .map(|(name, _, shape, data)| (*name, shape.as_slice(), data.as_slice()));
    let sha256 = digest(
        &metadata::to_text(config, None, ZERO_DIGEST).unwrap(),
        parts,
    );
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (*name, view)
    });
    let text = metadata::to_text(config, None, &sha256).unwrap();
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), text)]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// The tensors of `checkpoint` for [`sealed`].
fn raw(checkpoint: &Checkpoint) -> Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)> {
    layout(&checkpoint.config.dims(), None)
        .into_iter()
        .zip(checkpoint.data())
        .map(|((name, dtype, shape), data)| (name, dtype, shape, data))
        .collect()
}

#[track_caller]
fn assert_refused(file: &[u8], expected: &str) {
    let message = read(file).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn an_unfinished_run_is_loaded_with_all_that_it_takes_to_go_on() {
    let checkpoint = unfinished();
    let file = bytes(&checkpoint);
    let loaded = read(&file).unwrap();
    assert_eq!(loaded, checkpoint);
    let sums = loaded.training.unwrap().losses;
    assert_eq!(sums[2].to_bits(), (-0.0f64).to_bits());
    // It is part of what the checksum covers.
    let (header, body) = split(&file);
    let altered = header.replace("\\\"log_every\\\":10", "\\\"log_every\\\":11");
    assert_ne!(header, altered);
    assert_refused(&join(&altered, body), "the file was altered");
    let mut altered = file.clone();
    *altered.last_mut().unwrap() ^= 1; // the tensors of the narrowest type come last
    assert_refused(&altered, "the file was altered");
    // And part of its structure.
    let late = header.replace("\\\"steps\\\":7", "\\\"steps\\\":8");
    assert_refused(&join(&late, body), "'losses' has the shape [8], but [9]");
    let late = header.replace("\\\"steps\\\":7", "\\\"steps\\\":21");
    assert_refused(&join(&late, body), "it is 21 of 20 steps far");
    let other = header.replace("\"dtype\":\"U32\"", "\"dtype\":\"I32\"");
    assert_refused(
        &join(&other, body),
        "'generator' holds I32 values instead of U32",
    );
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let first = bytes(&small());
    for _ in 0..20 {
        assert_eq!(bytes(&small()), first);
    }
    assert_eq!(sealed(&small().config, &raw(&small())), first);
}

/// As the first versions wrote it.
#[test]
fn a_file_without_the_checksum_of_its_words_is_loaded() {
    let mut older = small();
    older.config.data_sha256 = None;
    let file = bytes(&older);
    assert!(!split(&file).0.contains("data_sha256"));
    assert_eq!(read(&file).unwrap(), older);
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let file = bytes(&small());
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "cut at {length}");
    }
    assert_refused(&file[..0], "only 0 bytes");
    assert_refused(&file[..100], "100 bytes long, but its header calls for");
    assert_refused(&file[..file.len() - 1], "cut short");
    assert_refused(&[&file[..], b"\0"].concat(), "something was added");
}

#[test]
fn a_file_with_any_bit_flipped_is_refused() {
    let file = bytes(&small());
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut altered = file.clone();
            altered[position] ^= 1 << bit;
            assert!(read(&altered).is_err(), "bit {bit} of byte {position}");
        }
    }
    let mut altered = file;
    *altered.last_mut().unwrap() ^= 1;
    assert_refused(&altered, "SHA-256");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let file = bytes(&small());
    let error = Checkpoint::read(file.len() as u64, &file[..file.len() - 4]);
    assert!(matches!(error, Err(CheckpointError::Read(_))));
}

#[test]
fn absurd_lengths_are_refused_before_anything_is_allocated() {
    for header in [MAX_HEADER_BYTES + 1, 200_000_000, u64::MAX] {
        assert_refused(&header.to_le_bytes(), "call for a header of");
    }
    assert_refused(&1000_u64.to_le_bytes(), "its header calls for 1008");
    let error = Checkpoint::read(MAX_FILE_BYTES + 1, io::empty());
    assert!(matches!(error, Err(CheckpointError::TooLarge { .. })));
    let giant = r#"{"C":{"dtype":"F32","shape":[576460752303423487],"data_offsets":[0,2305843009213693948]}}"#;
    assert_refused(&join(giant, b""), "calls for 23058430092136940");
    let overflow = giant.replace("[5764", "[99,5764");
    assert_refused(&join(&overflow, b""), "overflow");
}

#[test]
fn other_files_are_refused_with_the_reason() {
    assert_refused(b"\x89PNG\r\n\x1a\n____", "not a checkpoint of gpu-makemore");
    assert_refused(&join("not JSON", b""), "not a safetensors file");
    assert_refused(&join("{\"a\u{1b}[2J\n\":1}", b""), "not a safetensors file");
    assert_refused(&join("{}", b""), "without the metadata 'gpu-makemore'");
    let other = r#"{"__metadata__":{"format":"pt"}}"#;
    assert_refused(&join(other, b""), "without the metadata 'gpu-makemore'");
    let words = r#"{"__metadata__":{"gpu-makemore":"words"}}"#;
    assert_refused(&join(words, b""), "metadata 'gpu-makemore' cannot be read");
    let bare = r#"{"__metadata__":{"gpu-makemore":"{\"format\":1}"}}"#;
    assert_refused(&join(bare, b""), "missing field `sha256`");
    let nested = format!("{{\"__metadata__\":{}", "[".repeat(100_000));
    assert_refused(&join(&nested, b""), "not a safetensors file");
}

#[test]
fn edited_headers_are_refused_with_the_reason() {
    assert_refused(&edited(r#"format\":1"#, r#"format\":2"#), "has format 2");
    assert_refused(&edited(r#"sha256\":\""#, r#"sha256\":\"0"#), "64 hex");
    assert_refused(&edited("F32", "I32"), "holds I32 values instead of F32");
    assert_refused(&edited(r#""b1""#, r#""b3""#), "a tensor 'b3'");
    assert_refused(&edited(r#""b1""#, r#""b\u001b\n1""#), r"'b\u{1b}\n1'");
    assert_refused(&edited("[1,3]", "[3]"), "shape [3], but [1, 3] follows");
    assert_refused(&edited(r#"steps\":200000"#, r#"steps\":20"#), "SHA-256");
    assert_refused(&edited(r#"\"é\""#, r#"\"éa\""#), "expected a character");
    // Two tensors of one shape change places: only the checksum can tell.
    let file = bytes(&small());
    let (header, body) = split(&file);
    let header = header
        .replace("bngain", "?")
        .replace("bnbias", "bngain")
        .replace('?', "bnbias");
    assert_refused(&join(&header, body), "SHA-256");
}

#[test]
fn a_right_checksum_does_not_excuse_wrong_content() {
    let good = small();
    let refused = |change: fn(&mut Config), expected: &str| {
        let mut config = good.config.clone();
        change(&mut config);
        assert_refused(&sealed(&config, &raw(&good)), expected);
    };
    refused(|c| c.recipe.block_size = 17, "--block-size is 17");
    refused(|c| c.recipe.n_embd = 0, "--n-embd is 0");
    refused(|c| c.recipe.n_hidden = u64::MAX, "--n-hidden is 1844");
    refused(|c| c.recipe.batch_size = 1, "--batch-size is 1");
    refused(|c| c.vocab.truncate(1), "vocabulary size is 1");
    refused(|c| c.vocab[4] = 'é', "'é' twice");
    refused(|c| c.vocab[0] = 'é', "'é' twice");
    refused(
        |c| c.vocab.push('x'),
        "'C' has the shape [5, 2], but [6, 2]",
    );
    refused(|c| c.recipe.lr = f64::NAN, "invalid type: null");

    let mut lacking = raw(&good);
    lacking.retain(|(name, ..)| *name != "bnvar");
    assert_refused(&sealed(&good.config, &lacking), "no tensor 'bnvar'");
    let mut extra = raw(&good);
    extra.push(("b3", Dtype::F32, vec![0], vec![]));
    assert_refused(&sealed(&good.config, &extra), "a tensor 'b3'");
    let mut halves = raw(&good);
    halves[2] = ("b1", Dtype::F16, vec![3], vec![0; 6]);
    assert_refused(&sealed(&good.config, &halves), "'b1' holds F16");

    let mut nan = small();
    nan.params.w2[7] = f32::NAN;
    assert_refused(
        &sealed(&nan.config, &raw(&nan)),
        "value 7 of the tensor 'W2'",
    );
    let mut infinite = small();
    infinite.bnmean[1] = f32::NEG_INFINITY;
    assert_refused(
        &sealed(&infinite.config, &raw(&infinite)),
        "'bnmean' is -inf",
    );
    let mut negative = small();
    negative.bnvar[2] = -0.5;
    assert_refused(&sealed(&negative.config, &raw(&negative)), "never negative");
}

#[test]
fn what_would_be_refused_is_not_made() {
    let changes: [fn(&mut Checkpoint); 9] = [
        |c| c.config.recipe.n_hidden = 4,
        |c| c.config.recipe.batch_size = 1,
        |c| c.config.vocab[1] = '.',
        |c| c.config.recipe.lr = f64::INFINITY,
        |c| c.config.recipe.data = "x".repeat(MAX_HEADER_BYTES as usize),
        |c| {
            // Each of a length that is allowed, but not all of them together.
            let long = "\\".repeat(4090);
            c.config.recipe.data.clone_from(&long);
            c.config.backend.clone_from(&long);
            c.config.version.clone_from(&long);
            c.config.recipe.column = Some(long);
            c.config.vocab = ('\u{20000}'..).take(65_535).collect();
            c.params = Params::filled(&c.config.dims(), 0.5);
        },
        |c| c.params.c[0] = f32::NAN,
        |c| c.bnmean.push(0.0),
        |c| c.bnvar[0] = -1.0,
    ];
    for change in changes {
        let mut checkpoint = small();
        change(&mut checkpoint);
        assert!(checkpoint.to_bytes().is_err());
    }
}

/// Also with the longest text that a vocabulary can make, of characters of four bytes.
#[test]
fn vocabularies_of_thousands_come_back() {
    for (first, count) in [('\u{4e00}', 5505), ('\u{20000}', 65_535)] {
        let mut checkpoint = unfinished();
        checkpoint.config.vocab = (first..).take(count).collect();
        checkpoint.config.vocab[1] = '.';
        checkpoint.config.vocab[2] = '"';
        checkpoint.params = Params::filled(&checkpoint.config.dims(), 0.5);
        assert_eq!(read(&bytes(&checkpoint)).unwrap(), checkpoint);
    }
}

#[test]
fn the_largest_model_fits() {
    let mut checkpoint = small();
    let config = &mut checkpoint.config;
    config.vocab = ('.'..).take(256).collect();
    config.recipe.block_size = 16;
    config.recipe.n_embd = 128;
    config.recipe.n_hidden = 2048;
    let dims = config.dims();
    checkpoint.params = Params::filled(&dims, 0.5);
    checkpoint.bnmean = vec![0.0; 2048];
    checkpoint.bnvar = vec![1.0; 2048];
    let file = bytes(&checkpoint);
    assert!((file.len() as u64) < MAX_FILE_BYTES / 10);
    assert_eq!(read(&file).unwrap(), checkpoint);
}
