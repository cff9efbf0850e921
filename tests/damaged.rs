//! Damaged and hostile files: each is refused with the reason, and none takes more memory than
//! twice its length.

mod common;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use common::memory::{Counting, peak_of};
use common::readers;
use gpu_makemore::checkpoint::{
    Best, Checkpoint, CheckpointError as E, Config, MAX_FILE_BYTES, MAX_HEADER_BYTES, METADATA_KEY,
    MetricsMark, Training,
};
use gpu_makemore::cli::model_file::{self, ModelFileError};
use gpu_makemore::cli::sweep::manifest::Manifest;
use gpu_makemore::cli::sweep::results::{self, Record, Results, Status};
use gpu_makemore::gpu::kernels::Changed;
use gpu_makemore::gradcheck::against::{AgainstError, Given};
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::recipe::Recipe;
use gpu_makemore::rng::TorchGenerator;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a load may take beside twice the length of a file that this program has written and that
/// was damaged since: the path, and the message with its reason.
const MESSAGE: usize = 4 << 10;

// ------------------------------------------------------------------------------ undamaged files

/// A model of the lecture's size, or of another, with values that no training would give.
fn model(dims: Dims) -> Checkpoint {
    let letters = ('a'..='z').chain('\u{e0}'..);
    Checkpoint {
        config: Config {
            vocab: std::iter::once('.')
                .chain(letters)
                .take(dims.vocab)
                .collect(),
            recipe: Recipe {
                block_size: dims.block as u64,
                n_embd: dims.embd as u64,
                n_hidden: dims.hidden as u64,
                batch_size: dims.batch as u64,
                data: "towns \"of\" Spain.csv".to_owned(),
                column: Some("name".to_owned()),
                ..Recipe::default()
            },
            backend: "cpu".to_owned(),
            version: "0.1.0".to_owned(),
            data_sha256: Some("0".repeat(64)),
        },
        params: Params::init(&dims, &mut TorchGenerator::manual_seed(1)),
        bnmean: vec![0.25; dims.hidden],
        bnvar: vec![1.5; dims.hidden],
        training: None,
    }
}

/// The model of [`model`] in the middle of a run, with all that it takes to continue.
fn unfinished(dims: Dims) -> Checkpoint {
    let mut checkpoint = model(dims);
    checkpoint.config.recipe.steps = 120_000;
    checkpoint.training = Some(Training {
        steps: 200_000,
        log_every: 10_000,
        checkpoint_every: 20_000,
        eval_every: None,
        tensorboard: false,
        ratios_every: None,
        adapter_option: Some("llvmpipe".to_owned()),
        schedule: Some("resident".to_owned()),
        tuning: Some("resident:workers=8,lanes=8".to_owned()),
        adapter: "llvmpipe (LLVM 15.0.6, 256 bits)".to_owned(),
        driver: "Mesa 22.3.6".to_owned(),
        data_sha256: "0".repeat(64),
        shaders: Some(Changed {
            files: vec!["tanh.wgsl".to_owned()],
            sha256: "1".repeat(64),
        }),
        data_path: Some("../words.txt".to_owned()),
        seconds: 2.5,
        metrics: MetricsMark {
            bytes: 900,
            sum: 20_000.5,
            count: 9_999,
        },
        val_loss: Some(2.2),
        best: Some(Best {
            step: 100_000,
            val_loss: 2.125,
        }),
        init_loss: None,
        bucket: None,
        generator: TorchGenerator::manual_seed(3).words_ahead(),
        losses: vec![330.25; 121],
    });
    checkpoint
}

/// The bytes of a file with the model of [`model`].
fn file(dims: Dims) -> Vec<u8> {
    saved(&model(dims))
}

fn saved(checkpoint: &Checkpoint) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model_file::save(checkpoint, &path).unwrap();
    fs::read(path).unwrap()
}

/// A finished model and a run that is not, of the lecture's size.
fn both() -> [Vec<u8>; 2] {
    [model(Dims::LECTURE), unfinished(Dims::LECTURE)].map(|checkpoint| saved(&checkpoint))
}

const SMALL: Dims = Dims {
    vocab: 5,
    block: 2,
    embd: 2,
    hidden: 3,
    batch: 4,
};

/// Header (behind its length) and body.
fn split(file: &[u8]) -> (&str, &[u8]) {
    let (prefix, rest) = file.split_first_chunk().unwrap();
    let (header, body) = rest.split_at(u64::from_le_bytes(*prefix) as usize);
    (str::from_utf8(header).unwrap(), body)
}

fn join(header: &str, body: &[u8]) -> Vec<u8> {
    let prefix = (header.len() as u64).to_le_bytes();
    [&prefix, header.as_bytes(), body].concat()
}

/// The file with its header edited.
fn edited(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (header, body) = split(file);
    assert!(header.contains(from), "{header} has no {from}");
    join(&header.replacen(from, to, 1), body)
}

/// The entry of a tensor: `"b1":{"dtype":…}`.
fn entry<'a>(header: &'a str, name: &str) -> &'a str {
    let start = header.find(&format!("\"{name}\":{{\"dtype\"")).unwrap();
    let end = start + header[start..].find('}').unwrap() + 1;
    &header[start..end]
}

/// Where the body has the values of a tensor.
fn place(header: &str, name: &str) -> std::ops::Range<usize> {
    let (_, offsets) = entry(header, name).rsplit_once('[').unwrap();
    let (from, to) = offsets.trim_end_matches("]}").split_once(',').unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

/// What is wrong with a file, whose checksum is put right first if that is all.
fn refusal(file: &[u8]) -> E {
    match readers::load(file) {
        Err(error) => match readers::sealed(file, &error) {
            Some(sealed) => readers::load(&sealed).expect_err("a file that should be refused"),
            None => error,
        },
        Ok(_) => panic!("a file that should be refused was loaded"),
    }
}

/// The file is refused for the reason of the pattern, with a message that has the part.
macro_rules! assert_refused {
    ($file:expr, $variant:pat $(if $guard:expr)?) => {
        assert_refused!($file, $variant $(if $guard)?, "")
    };
    ($file:expr, $variant:pat $(if $guard:expr)?, $part:expr) => {{
        let error = refusal(&$file);
        let message = error.to_string();
        assert!(matches!(error, $variant $(if $guard)?), "{message}");
        assert!(message.contains(&$part[..]), "{message}");
    }};
}

// --------------------------------------------------------------------------------------- damage

/// Whether a file is refused, and with how much memory beyond twice its length.
fn refused(path: &Path, what: impl Fn() -> String) -> E {
    let (loaded, peak) = peak_of(|| model_file::load(path));
    let length = fs::metadata(path).unwrap().len() as usize;
    assert!(
        peak <= 2 * length + MESSAGE,
        "{}: {peak} bytes were taken for {length}",
        what()
    );
    reason(loaded, what)
}

/// Why a file was not loaded, which is something in it.
fn reason(loaded: Result<Checkpoint, ModelFileError>, what: impl Fn() -> String) -> E {
    match loaded {
        Err(ModelFileError::Load { source, .. }) => source,
        Err(error) => panic!("{}: {error}", what()),
        Ok(_) => panic!("{}: loaded", what()),
    }
}

#[test]
fn a_checkpoint_cut_at_any_byte_is_refused() {
    both().iter().for_each(|whole| cut(whole));
}

fn cut(whole: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let header = split(whole).0.len();
    fs::write(&path, whole).unwrap();
    assert!(model_file::load(&path).is_ok());
    let on_disk = OpenOptions::new().write(true).open(&path).unwrap();
    for length in (0..whole.len()).rev() {
        on_disk.set_len(length as u64).unwrap();
        let error = refused(&path, || format!("cut at {length}"));
        match error {
            E::NotSafetensors(_) => assert!(length < 8, "{error}"),
            E::Length {
                found, expected, ..
            } => {
                let told = if length < 8 + header {
                    8 + header
                } else {
                    whole.len()
                };
                assert_eq!((found, expected), (length as u64, told as u64));
            }
            other => panic!("cut at {length}: {other}"),
        }
    }
}

#[test]
fn a_checkpoint_with_any_bit_of_the_header_flipped_is_refused() {
    both().iter().for_each(|whole| flip_header(whole));
}

fn flip_header(whole: &[u8]) {
    let body = split(whole).1.len();
    let mut altered = whole.to_vec();
    for position in 0..whole.len() - body {
        for bit in 0..8 {
            altered[position] ^= 1 << bit;
            let (loaded, peak) = peak_of(|| Checkpoint::from_bytes(&altered));
            assert!(loaded.is_err(), "bit {bit} of byte {position}");
            let least = 2 * whole.len() + MESSAGE;
            assert!(peak <= least, "bit {bit} of byte {position}: {peak}");
            if position < 8 {
                // The length of the header: it ends elsewhere, or the file does.
                let error = loaded.unwrap_err();
                let told = matches!(
                    error,
                    E::HeaderTooLong { .. } | E::Length { .. } | E::NotSafetensors(_)
                );
                assert!(told, "bit {bit} of byte {position}: {error}");
            }
            altered[position] ^= 1 << bit;
        }
    }
    assert!(altered == whole);
}

#[test]
fn a_checkpoint_with_a_bit_of_the_body_flipped_is_refused() {
    both().into_iter().for_each(flip_body);
}

fn flip_body(mut altered: Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let body = split(&altered).1.len();
    let start = altered.len() - body;
    let mut drawn = [0; 2000];
    TorchGenerator::manual_seed(2).randint_into(8 * body as u32, &mut drawn);
    for bit in drawn.iter().map(|&bit| bit as usize) {
        altered[start + bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &altered).unwrap();
        let error = refused(&path, || format!("bit {bit}"));
        assert!(matches!(error, E::Checksum { .. }), "bit {bit}: {error}");
        altered[start + bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(&path, &altered).unwrap();
    assert!(model_file::load(&path).is_ok());
}

#[test]
fn a_whole_checkpoint_takes_twice_its_length_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let largest = Dims {
        vocab: 256,
        block: 16,
        embd: 128,
        hidden: 2048,
        batch: 4096,
    };
    for dims in [SMALL, Dims::LECTURE, largest] {
        for checkpoint in [model(dims), unfinished(dims)] {
            model_file::save(&checkpoint, &path).unwrap();
            let length = fs::metadata(&path).unwrap().len() as usize;
            let (loaded, peak) = peak_of(|| model_file::load(&path));
            assert_eq!(loaded.unwrap(), checkpoint);
            assert!(
                peak <= 2 * length + MESSAGE,
                "{dims}: {peak} bytes were taken for {length}"
            );
        }
    }
}

// -------------------------------------------------------------------- the rules of safetensors

#[test]
fn a_wrong_length_of_the_header_is_refused() {
    let whole = file(SMALL);
    let (header, _) = split(&whole);
    let long = header.len() as u64;
    let with = |length: u64| [&length.to_le_bytes(), &whole[8..]].concat();
    for length in [MAX_HEADER_BYTES + 1, 100_000_001, u64::MAX / 2, u64::MAX] {
        assert_refused!(with(length), E::HeaderTooLong { bytes, .. } if bytes == length);
    }
    for length in [whole.len() as u64 - 7, MAX_HEADER_BYTES] {
        assert_refused!(with(length), E::Length { expected, .. } if expected == 8 + length);
    }
    for length in 0..long {
        // Without some of its spaces it would be whole, but then the data do not begin there.
        let inside = header[length as usize..].trim_end_matches(' ').is_empty();
        match refusal(&with(length)) {
            E::NotSafetensors(_) => assert!(!inside),
            E::Length { .. } => assert!(inside),
            other => panic!("{length}: {other}"),
        }
    }
    for length in long + 1..whole.len() as u64 - 8 {
        assert_refused!(with(length), E::NotSafetensors(_), "in its header, ");
    }
}

#[test]
fn tensors_that_overlap_or_leave_a_hole_are_refused() {
    let whole = file(SMALL);
    let (header, body) = split(&whole);
    // The first two in the file, and the last.
    let first = place(header, "C");
    let second = place(header, "W1");
    let offsets = |range: &std::ops::Range<usize>| format!("[{},{}]", range.start, range.end);
    for (range, by, name) in [
        (&second, 4, "W1"),
        (&second, 1, "W1"),
        (&second, -4, "W1"),
        (&second, -1, "W1"),
        (&first, 4, "C"),
    ] {
        let moved = |at: usize| (at as isize + by) as usize;
        let moved = moved(range.start)..moved(range.end);
        let altered = edited(&whole, &offsets(range), &offsets(&moved));
        if moved.start == 0 || range.start != 0 || by > 0 {
            let part = format!("invalid offset for tensor `{name}`");
            assert_refused!(altered, E::NotSafetensors(_), part);
        }
    }
    // Both on the same bytes, and one the wrong way round.
    let altered = edited(&whole, &offsets(&second), &offsets(&first));
    assert_refused!(altered, E::NotSafetensors(_), "invalid offset for tensor");
    let turned = format!("[{},{}]", second.end, second.start);
    let altered = edited(&whole, &offsets(&second), &turned);
    assert_refused!(altered, E::NotSafetensors(_));
    // A hole at the end is a file with too few bytes; more bytes behind it are a hole, too.
    for bytes in [1, 4, 1000] {
        let more = [&whole[..], &vec![0; bytes]].concat();
        assert_refused!(more, E::Length { found, expected, .. }
            if found == expected + bytes as u64 && expected == whole.len() as u64);
    }
    assert_eq!(body.len(), header_end(header));
}

/// Where the tensors end, by the header.
fn header_end(header: &str) -> usize {
    [
        "C", "W1", "b1", "W2", "b2", "bngain", "bnbias", "bnmean", "bnvar",
    ]
    .map(|name| place(header, name).end)
    .into_iter()
    .max()
    .unwrap()
}

#[test]
fn a_wrong_type_or_shape_is_refused() {
    let whole = file(SMALL);
    let (header, _) = split(&whole);
    let b1 = entry(header, "b1");
    for dtype in ["I32", "U32"] {
        let altered = edited(&whole, b1, &b1.replace("F32", dtype));
        assert_refused!(altered, E::Dtype { name: "b1", .. }, dtype);
    }
    // Types of another length, by themselves and with a shape that makes up for it.
    let misfit = "the tensor 'b1' has 12 bytes, but ";
    for (dtype, shape, part) in [
        ("F16", "[6]", misfit),
        ("BF16", "[6]", misfit),
        ("U8", "[12]", misfit),
        ("F4", "[24]", "does not end up at a byte boundary"),
    ] {
        let wrong = b1.replace("F32", dtype);
        let altered = edited(&whole, b1, &wrong);
        assert_refused!(altered, E::NotSafetensors(_), part);
        let altered = edited(&whole, b1, &wrong.replace("[3]", shape));
        assert_refused!(altered, E::Dtype { name: "b1", .. }, dtype);
    }
    for dtype in ["F33", "f32", "", "float32"] {
        let altered = edited(&whole, b1, &b1.replace("F32", dtype));
        let part = format!("at the tensor 'b1', unknown variant `{dtype}`");
        assert_refused!(altered, E::NotSafetensors(_), part);
    }
    for shape in ["[1,3]", "[3,1]", "[1,1,3]"] {
        let altered = edited(&whole, b1, &b1.replace("[3]", shape));
        assert_refused!(altered, E::Shape { name: "b1", .. }, "[3] follows");
    }
    for shape in ["[2]", "[4]", "[]", "[0]", "[3,0]", "[3,2]"] {
        let altered = edited(&whole, b1, &b1.replace("[3]", shape));
        assert_refused!(altered, E::NotSafetensors(_), misfit);
    }
    for shape in ["[4294967296,4294967296]", "[18446744073709551615]"] {
        let altered = edited(&whole, b1, &b1.replace("[3]", shape));
        assert_refused!(altered, E::NotSafetensors(_), "overflow computing");
    }
    for shape in [
        "[-3]",
        "[3.0]",
        "[3e0]",
        "[18446744073709551616]",
        "[\"3\"]",
        "3",
        "null",
    ] {
        let altered = edited(&whole, b1, &b1.replace("[3]", shape));
        assert_refused!(altered, E::NotSafetensors(_), "at the tensor 'b1', ");
    }
    // Two tensors of the same size change their shapes, and two their places.
    let (w1, w2) = (entry(header, "W1"), entry(header, "W2"));
    let altered = edited(&whole, w1, &w1.replace("[4,3]", "[3,4]"));
    assert_refused!(altered, E::Shape { name: "W1", .. });
    let altered = edited(&whole, w2, &w2.replace("[3,5]", "[5,3]"));
    assert_refused!(altered, E::Shape { name: "W2", .. });
    let swapped = header
        .replace("\"bngain\"", "\"?\"")
        .replace("\"bnbias\"", "\"bngain\"")
        .replace("\"?\"", "\"bnbias\"");
    let error = readers::load(&join(&swapped, split(&whole).1)).unwrap_err();
    assert!(matches!(error, E::Checksum { .. }), "{error}");
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let whole = file(SMALL);
    let (header, _) = split(&whole);
    // A tensor: the same entry, an empty one, and one whose name is written with an escape.
    let b1 = entry(header, "b1");
    let empty = r#""b1":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let escaped = b1.replace("b1", r"b\u0031");
    for again in [b1, empty, &escaped] {
        for both in [format!("{b1},{again}"), format!("{again},{b1}")] {
            let altered = edited(&whole, b1, &both);
            assert_refused!(altered, E::NotSafetensors(_), "'b1' is there twice");
        }
    }
    for (field, again) in [
        ("dtype", r#""dtype":"F32""#),
        ("shape", r#""shape":[3]"#),
        ("data_offsets", r#""data_offsets":[0,12]"#),
    ] {
        let altered = edited(&whole, b1, &b1.replace('}', &format!(",{again}}}")));
        let part = format!("at the tensor 'b1', duplicate field `{field}`");
        assert_refused!(altered, E::NotSafetensors(_), part);
    }
    // The metadata, and the configuration in them.
    let end = header.find("},\"").unwrap() + 1;
    let metadata = &header[1..end];
    assert!(metadata.starts_with("\"__metadata__\"") && metadata.ends_with('}'));
    for again in [metadata, "\"__metadata__\":{}"] {
        let altered = edited(&whole, metadata, &format!("{metadata},{again}"));
        assert_refused!(
            altered,
            E::NotSafetensors(_),
            "'__metadata__' is there twice"
        );
    }
    let text = &metadata["\"__metadata__\":{".len()..metadata.len() - 1];
    let altered = edited(&whole, text, &format!("{text},{text}"));
    let part = format!("'{METADATA_KEY}' is there twice");
    assert_refused!(altered, E::NotSafetensors(_), part);
    for (field, value) in [
        ("format", "1"),
        ("sha256", r#"\"0\""#),
        ("vocab", r#"[\".\"]"#),
        ("block_size", "2"),
        ("n_embd", "2"),
        ("n_hidden", "3"),
        ("batch_size", "4"),
        ("steps", "1"),
        ("lr", "0.1"),
        ("lr_final", "0.1"),
        ("lr_decay_at", "1"),
        ("seed", "1"),
        ("data", r#"\"names\""#),
        ("column", "null"),
        ("clean", "true"),
        ("backend", r#"\"cpu\""#),
        ("version", r#"\"0\""#),
    ] {
        let again = format!(r#""gpu-makemore":"{{\"{field}\":{value},"#);
        let altered = edited(&whole, r#""gpu-makemore":"{"#, &again);
        let part = format!("duplicate field `{field}`");
        assert_refused!(altered, E::Metadata(_), part);
    }
}

#[test]
fn values_that_no_model_has_are_refused_under_a_right_checksum_too() {
    let whole = file(SMALL);
    let (header, _) = split(&whole);
    let start = 8 + header.len();
    for name in [
        "C", "W1", "b1", "W2", "b2", "bngain", "bnbias", "bnmean", "bnvar",
    ] {
        let place = place(header, name);
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut altered = whole.clone();
            let last = start + place.end - 4;
            altered[last..last + 4].copy_from_slice(&value.to_le_bytes());
            let error = readers::load(&altered).unwrap_err();
            assert!(matches!(error, E::Checksum { .. }), "{error}");
            assert_refused!(altered, E::NonFinite { name: found, index, .. }
                if found == name && index == place.len() / 4 - 1);
        }
    }
    let mut altered = whole.clone();
    let first = start + place(header, "bnvar").start;
    altered[first..first + 4].copy_from_slice(&(-1e-30_f32).to_le_bytes());
    assert_refused!(altered, E::NegativeVariance { index: 0, .. });
}

#[test]
fn tensors_too_few_or_too_many_are_refused() {
    let whole = file(SMALL);
    let (header, body) = split(&whole);
    let b1 = entry(header, "b1");
    let altered = edited(&whole, b1, &b1.replace("b1", "b9"));
    assert_refused!(altered, E::ExtraTensor { .. }, "'b9'");
    let end = body.len();
    let more = |name: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[{end},{end}]}}"#)
    };
    let altered = edited(&whole, b1, &format!("{b1},{}", more("b9")));
    assert_refused!(altered, E::ExtraTensor { .. }, "'b9'");
    let many: Vec<String> = (0..100).map(|i| more(&i.to_string())).collect();
    let altered = edited(&whole, b1, &format!("{b1},{}", many.join(",")));
    assert_refused!(altered, E::TooManyTensors);
    let other =
        r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    assert_refused!(join(other, &[0; 4]), E::NotOurs);
}

// ------------------------------------------------------------------------------- hostile files

/// Headers of the greatest length that make a careless reader take many times their length. Each
/// has to be refused in a moment, and `refusal` sees to the memory.
#[test]
fn hostile_headers_take_no_memory() {
    let room = MAX_HEADER_BYTES as usize - 1000;
    let fill = |part: &str| part.repeat(room / part.len());
    let text = |text: &str| format!(r#"{{"__metadata__":{{"gpu-makemore":"{text}"}}}}"#);
    let list = |part: &str| {
        let parts = fill(part);
        parts.strip_suffix(',').unwrap().to_owned()
    };
    let numbered = |start: &str, end: &str| {
        let parts: Vec<String> = (0..room / (start.len() + end.len() + 7))
            .map(|i| format!("{start}{i}{end}"))
            .collect();
        parts.join(",")
    };
    let info = r#"":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let formats = format!(r#"{{\"format\":1,\"sha256\":\"{}\","#, "0".repeat(64));
    let headers = [
        fill("["),
        fill("{\"\":"),
        format!("{{\"__metadata__\":{}", fill("[")),
        format!("{{\"a\":{}", fill("{\"a\":")),
        format!("{{\"{}\":1}}", fill("x")),
        format!("{{\"{}\":1}}", fill("\\n")),
        format!("{{\"{}\":1}}", fill("\\u00e9")),
        format!("{{\"{}", fill("\u{1F600}")),
        format!("{{\"a\":{{\"dtype\":\"{}\"}}}}", fill("F")),
        format!("{{\"a\":{{\"{}\":1}}}}", fill("s")),
        format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}]}}}}", list("1,")),
        format!(
            "{{\"a\":{{\"dtype\":\"F32\",\"data_offsets\":[{}]}}}}",
            list("1,")
        ),
        format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}]}}}}", fill("9")),
        format!("{{{}}}", numbered("\"", info)),
        format!("{{{}}}", list(&format!("\"a{info},"))),
        format!("{{\"__metadata__\":{{{}}}}}", numbered("\"", "\":\"\"")),
        format!("{{\"__metadata__\":{{{}}}}}", list("\"\":\"\",")),
        format!(
            "{{\"__metadata__\":{{{}}}}}",
            list("\"gpu-makemore\":\"\",")
        ),
        text(&fill("x")),
        text(&fill("\\n")),
        text(&fill("\\\"")),
        text(&fill("\\u0041")),
        text(&fill("[")),
        text(&fill("{\\\"\\\":")),
        text(&format!("[{}]", list("0,"))),
        text(&format!("{formats}\\\"data\\\":\\\"{}\\\"}}", fill("x"))),
        text(&format!(
            "{formats}\\\"data\\\":\\\"{}\\\"}}",
            fill("\\\\n")
        )),
        text(&format!(
            "{formats}\\\"vocab\\\":[{}]}}",
            list("\\\"x\\\",")
        )),
        text(&format!("{formats}\\\"vocab\\\":[{}]}}", list("1,"))),
        text(&format!("{formats}\\\"more\\\":[{}]}}", list("1,"))),
        text(&format!("{formats}\\\"lr\\\":{}}}", fill("9"))),
        text(&format!("{formats}{}}}", numbered("\\\"", "\\\":1"))),
        text(&format!("{{\\\"format\\\":{}}}", fill("9"))),
        text(&format!("{{\\\"sha256\\\":\\\"{}", fill("0"))),
        format!("{{}}{}", fill(" ")),
        format!("{{{}}}", fill(" ")),
    ];
    for header in &headers {
        assert!(header.len() <= MAX_HEADER_BYTES as usize);
        let error = refusal(&join(header, &[]));
        let known = matches!(
            error,
            E::NotSafetensors(_) | E::Metadata(_) | E::NotOurs | E::TooManyTensors
        );
        assert!(known, "{:.60}: {error}", header);
    }
}

/// A hostile value in one field while all others are right, so that reading gets as far as it can.
#[test]
fn hostile_configurations_take_no_memory() {
    let whole = file(SMALL);
    let (header, body) = split(&whole);
    // Strings and lists as long as they may be, each with an escape, which costs a copy.
    let long = format!("{}\\\\n", "x".repeat(8000));
    let filled = header
        .replace(r#"\"backend\":\"cpu"#, &format!(r#"\"backend\":\"{long}"#))
        .replace(
            r#"\"version\":\"0.1.0"#,
            &format!(r#"\"version\":\"{long}"#),
        )
        .replace(r#"\"column\":\"name"#, &format!(r#"\"column\":\"{long}"#))
        .replace(
            r#"\"data\":\""#,
            &format!(r#"\"data\":\"{}"#, long.replace("8", "")),
        );
    assert!(filled.len() > header.len() + 24_000);
    let error = readers::load(&join(&filled, body)).unwrap_err();
    assert!(
        readers::sealed(&join(&filled, body), &error).is_some(),
        "{error}"
    );
    let vocab = |count: usize| {
        let letters: String = ('\u{4e00}'..)
            .take(count)
            .map(|c| format!(r#",\"{c}\""#))
            .collect();
        header.replace(
            r#"\"vocab\":[\".\""#,
            &format!(r#"\"vocab\":[\".\"{letters}"#),
        )
    };
    assert_refused!(
        join(&vocab(65_531), body),
        E::Size(_),
        "vocabulary size is 65536"
    );
    assert_refused!(
        join(&vocab(70_000), body),
        E::Metadata(_),
        "more than 69631 values"
    );
    let longer = "x".repeat(8193);
    let altered = edited(
        &whole,
        r#"\"backend\":\"cpu"#,
        &format!(r#"\"backend\":\"{longer}"#),
    );
    assert_refused!(altered, E::Metadata(_), "longer than 8192 bytes");
    // Sizes that call for terabytes, with tensors to match and without.
    for (from, to) in [
        (r#"\"n_hidden\":3"#, r#"\"n_hidden\":18446744073709551615"#),
        (r#"\"n_embd\":2"#, r#"\"n_embd\":4294967296"#),
        (r#"\"block_size\":2"#, r#"\"block_size\":1000000000"#),
        (r#"\"batch_size\":4"#, r#"\"batch_size\":0"#),
    ] {
        assert_refused!(edited(&whole, from, to), E::Size(_));
    }
    let altered = edited(&whole, r#"\"n_hidden\":3"#, r#"\"n_hidden\":2048"#);
    assert_refused!(altered, E::Shape { .. });
    for (from, to) in [
        (r#"\"n_hidden\":3"#, r#"\"n_hidden\":18446744073709551616"#),
        (r#"\"n_hidden\":3"#, r#"\"n_hidden\":-3"#),
        (r#"\"n_hidden\":3"#, r#"\"n_hidden\":3.0"#),
        (r#"\"n_hidden\":3,"#, ""),
        (r#"\"lr\":0.1"#, r#"\"lr\":1e999"#),
        (r#"\"lr\":0.1"#, r#"\"lr\":null"#),
        (r#"\"clean\":false"#, r#"\"clean\":0"#),
        (r#"\"vocab\":[\".\""#, r#"\"vocab\":[\"..\""#),
    ] {
        assert_refused!(edited(&whole, from, to), E::Metadata(_));
    }
}

#[test]
fn a_file_longer_than_any_checkpoint_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let file = fs::File::create(&path).unwrap();
    file.set_len(MAX_FILE_BYTES + 1).unwrap(); // a hole on the disk
    let (loaded, peak) = peak_of(|| model_file::load(&path));
    assert!(matches!(reason(loaded, String::new), E::TooLarge { .. }));
    assert!(peak < MESSAGE);
    // As long as is allowed, and nothing but zeros: an empty header.
    file.set_len(MAX_FILE_BYTES).unwrap();
    let (loaded, peak) = peak_of(|| model_file::load(&path));
    assert!(matches!(reason(loaded, String::new), E::NotSafetensors(_)));
    assert!(peak < MESSAGE);
}

#[test]
fn the_memory_that_is_counted_is_the_memory_that_is_taken() {
    let (block, bytes) = peak_of(|| vec![1_u8; 5000]);
    assert_eq!((block.len(), bytes), (5000, 5000));
    let ((), bytes) = peak_of(|| drop((vec![0_u8; 3000], vec![1_u8; 4000])));
    assert_eq!(bytes, 7000);
    let (mut list, _) = peak_of(|| vec![0_u8; 1000]);
    let ((), bytes) = peak_of(|| list.reserve_exact(1000));
    assert_eq!(bytes, 2000, "the new block beside the old one");
    drop(block);
    let (_, bytes) = peak_of(|| ());
    assert_eq!(bytes, 0);
}

// ------------------------------------------------------------------------------ files of sweeps

/// A sweep of two models, one of which diverged, in a folder.
fn sweep(folder: &Path) -> Manifest {
    let point = |seed| Recipe {
        steps: 5,
        lr_decay_at: 2,
        seed,
        ..Recipe::default()
    };
    let manifest = Manifest {
        version: "0.1.0".to_owned(),
        data: "names".to_owned(),
        clean: false,
        data_sha256: "0".repeat(64),
        grid: [("--seeds".to_owned(), "1,2".to_owned())].into(),
        log: vec![],
        shaders: None,
        shard: "1/1".to_owned(),
        total: 2,
        points: vec![point(1), point(2)],
    };
    manifest.save(folder).unwrap();
    let (mut results, _) = Results::open(folder, &manifest).unwrap();
    for (i, loss) in [(0, Some(2.5)), (1, None)] {
        let record = Record {
            point: i,
            options: manifest.points[i].clone(),
            train_loss: loss,
            val_loss: loss,
            test_loss: loss,
            seconds: 0.5,
            status: [Status::Done, Status::Diverged][i],
            diverged: loss.is_none().then(|| "the loss is NaN".to_owned()),
            backend: "cpu".to_owned(),
            adapter: "CPU".to_owned(),
            schedule: None,
            tuning: None,
        };
        results.append(&record).unwrap();
    }
    manifest
}

/// They have no checksum: a digit may change unseen. But whatever is read is a result of the sweep.
#[test]
fn a_damaged_file_of_a_sweep_is_refused_or_makes_sense() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = sweep(folder.path());
    let path = folder.path().join(results::FILE);
    let whole = fs::read(&path).unwrap();
    let makes_sense = || match results::load(folder.path(), &manifest) {
        Ok(found) => {
            for record in &found.records {
                assert_eq!(record.options, manifest.points[record.point]);
                assert_eq!(record.val_loss.is_some(), record.status == Status::Done);
            }
            (found.records.len(), found.torn)
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("results.jsonl: line "), "{message}");
            (0, false)
        }
    };
    assert_eq!(makes_sense(), (2, false));
    let mut refused = 0;
    for bit in 0..8 * whole.len() {
        let mut altered = whole.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, altered).unwrap();
        refused += usize::from(makes_sense() == (0, false));
    }
    assert!(refused > 4 * whole.len(), "{refused}");
    // Cut off, it has the whole lines.
    let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = usize::from(length >= first);
        assert_eq!(makes_sense(), (lines, length != 0 && length != first));
    }
    let path = folder.path().join(Manifest::FILE);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        let message = Manifest::load(folder.path()).unwrap_err().to_string();
        assert!(message.contains("is not a sweep's manifest"), "{message}");
    }
    for bit in 0..8 * whole.len() {
        let mut altered = whole.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, altered).unwrap();
        match Manifest::load(folder.path()) {
            // What has changed is told when the sweep goes on, or is put beside another.
            Ok(found) => assert!(found.is_none_or(|found| found.points.len() == found.total)),
            Err(error) => assert!(error.to_string().contains("sweep.json"), "{error}"),
        }
    }
}

#[test]
fn a_result_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = sweep(folder.path());
    let path = folder.path().join(results::FILE);
    let whole = fs::read_to_string(&path).unwrap();
    for (from, to, part) in [
        ("\"done\"", "\"diverged\"", "line 1 contradicts itself"),
        ("\"diverged\",", "\"done\",", "line 2 contradicts itself"),
        (
            "\"val_loss\":2.5",
            "\"val_loss\":null",
            "line 1 contradicts itself",
        ),
        (
            "\"val_loss\":null",
            "\"val_loss\":1.5",
            "line 2 contradicts itself",
        ),
        (
            "\"val_loss\":2.5",
            "\"val_loss\":1e999",
            "line 1 is no result",
        ),
        (
            "\"val_loss\":2.5",
            "\"val_loss\":NaN",
            "line 1 is no result",
        ),
        ("\"point\":1", "\"point\":0", "line 2 is not of this sweep"),
        ("\"point\":1", "\"point\":2", "line 2 is not of this sweep"),
        (
            "\"point\":1",
            "\"point\":1,\"point\":1",
            "duplicate field `point`",
        ),
        ("\"lr\":0.1", "\"lr\":0.2", "line 1 is not of this sweep"),
    ] {
        assert!(whole.contains(from), "{whole}");
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        let message = results::load(folder.path(), &manifest).unwrap_err();
        let message = message.to_string();
        assert!(message.contains(part), "{from}: {message}");
    }
}

// ------------------------------------------------------------------------- gradcheck --against

#[test]
fn a_damaged_file_to_check_is_refused() {
    let whole = common::Fixture::open("step_tiny.safetensors")
        .bytes()
        .to_vec();
    let load = |bytes: &[u8]| Given::from_bytes(bytes);
    assert!(load(&whole).is_ok());
    for length in 0..whole.len() {
        let error = load(&whole[..length]).unwrap_err();
        assert!(matches!(error, AgainstError::NotSafetensors(_)), "{error}");
    }
    let longer = [&whole[..], b"\0"].concat();
    let message = load(&longer).unwrap_err().to_string();
    assert!(message.contains("behind the header"), "{message}");
    let (header, body) = split(&whole);
    let c = entry(header, "C");
    let twice = join(&header.replace(c, &format!("{c},{c}")), body);
    let message = load(&twice).unwrap_err().to_string();
    assert!(message.contains("'C' is there twice"), "{message}");
    // There is no checksum, so that PyTorch can write the file: what is not refused is checked.
    for bit in 0..8 * (whole.len() - body.len()) {
        let mut altered = whole.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        readers::against(&altered);
    }
}

// ----------------------------------------------------------------------- what a fuzzer has found

/// Every kept input goes through the function that the fuzzer calls.
fn replay(target: &str, reader: fn(&[u8])) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/corpus", target]
        .iter()
        .collect();
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        println!("{}", path.display()); // shown if it fails
        reader(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{count} inputs in {}", folder.display());
}

#[test]
fn the_checkpoint_reader_stands_what_a_fuzzer_found() {
    replay("checkpoint", readers::checkpoint);
}

#[test]
fn the_data_reader_stands_what_a_fuzzer_found() {
    replay("data", readers::data);
}

#[test]
fn the_csv_reader_stands_what_a_fuzzer_found() {
    replay("csv", readers::csv);
}

#[test]
fn gradcheck_against_stands_what_a_fuzzer_found() {
    replay("against", readers::against);
}
