//! The program from outside, as its user meets it: what it accepts and writes, and how it refuses.
//!
//! Everything runs in a temporary folder of its own and on the CPU backend, with small models.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use gpu_makemore::checkpoint::Checkpoint;
use gpu_makemore::cli::model_file;
use gpu_makemore::data;
use gpu_makemore::model::dims::Token;
use gpu_makemore::model::params::{Params, Tensor};
use gpu_makemore::rng::TorchGenerator;
use gpu_makemore::sample::text;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use tempfile::TempDir;

// -------------------------------------------------------------------------------------- helpers

/// `train` with these options, and with what makes it a matter of milliseconds unless they say
/// otherwise.
fn train<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train"];
    for [option, value] in [
        ["--backend", "cpu"],
        ["--data", "words.txt"],
        ["--n-hidden", "16"],
        ["--steps", "30"],
        ["--log-every", "10"],
    ] {
        let given = |arg: &&str| arg.split('=').next() == Some(option);
        if !options.iter().any(given) {
            args.extend([option, value]);
        }
    }
    args.extend(options);
    args
}

/// `eval` of a model with these options.
fn eval<'a>(checkpoint: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let args = ["eval", "--backend", "cpu", "--checkpoint", checkpoint];
    [&args, options].concat()
}

/// `sample` from a model with these options.
fn sample<'a>(checkpoint: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&["sample", "--checkpoint", checkpoint], options].concat()
}

/// A folder to run the program in, with the small data set `words.txt`.
struct Place(TempDir);

impl Place {
    /// With nothing else.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("words.txt", words().join("\n") + "\n");
        place
    }

    /// With a trained model in the folder `old` too.
    fn with_model() -> Self {
        let place = Self::new();
        place.train(&["--out", "old"]);
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path().join(name);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    fn checkpoint(&self, name: &str) -> Checkpoint {
        model_file::load(self.path().join(name)).unwrap()
    }

    /// The names in a folder, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
        command.env("GPU_MAKEMORE_TUNE", "off");
        command.current_dir(self.path()).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that has to succeed, and returns its lines.
    #[track_caller]
    fn succeed(&self, args: &[&str]) -> Vec<String> {
        succeeded(&self.run(args))
    }

    /// Trains a small model.
    #[track_caller]
    fn train(&self, args: &[&str]) -> Vec<String> {
        self.succeed(&train(args))
    }

    /// Every file below the folder with its content, and every folder.
    fn snapshot(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let content = if path.is_dir() {
                    folders.push(path.clone());
                    None
                } else {
                    Some(fs::read(&path).unwrap())
                };
                found.insert(path.to_string_lossy().into_owned(), content);
            }
        }
        found
    }

    /// Runs a command that has to fail: with this exit code, with one line on stderr that has all
    /// of `parts` in it, with nothing on stdout, and without leaving or changing any file.
    #[track_caller]
    fn refuse(&self, args: &[&str], code: i32, parts: &[&str]) {
        self.refuse_command(&mut self.command(args), code, parts);
    }

    #[track_caller]
    fn refuse_command(&self, command: &mut Command, code: i32, parts: &[&str]) {
        let before = self.snapshot();
        let output = command.output().unwrap();
        failed(&output, code, parts);
        assert_eq!(stdout(&output), "", "results of a failed command");
        // Names first, for a message that fits the screen.
        let after = self.snapshot();
        let names = |found: &BTreeMap<String, _>| found.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "files came or went");
        assert!(after == before, "a file was changed");
    }
}

/// 321 of the lecture's names.
fn words() -> Vec<&'static str> {
    include_str!("../data/names.txt")
        .lines()
        .step_by(100)
        .collect()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Exit code 0, nothing on stderr, and plain text on stdout: no colours, no progress bar.
#[track_caller]
fn succeeded(output: &Output) -> Vec<String> {
    assert_eq!(stderr(output), "");
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(output);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn failed(output: &Output, code: i32, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.starts_with("error: "), "{message:?}");
    let lines = message.strip_suffix('\n').expect("a whole line");
    assert!(!lines.contains(char::is_control), "{message:?}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

/// The names among the lines of `train`: after the validation loss come 20, then two lines more.
fn names_of(lines: &[String]) -> &[String] {
    let start = lines.iter().position(|l| l.starts_with("val ")).unwrap() + 1;
    assert_eq!(lines.len(), start + 20 + 2);
    &lines[start..start + 20]
}

/// A loss as `train` and `eval` print it.
fn four_digits(loss: &Value) -> String {
    format!("{:.4}", loss.as_f64().unwrap())
}

// ------------------------------------------------------------------------------------- bad data

#[test]
#[rustfmt::skip] // the table is easier to read with a case a line
fn unusable_data_is_refused() {
    let place = Place::new();
    let ten = "a\n".repeat(10);
    let letters: Vec<String> = ('\u{f0000}'..).take(65_535).map(String::from).collect();
    fs::create_dir(place.path().join("folder")).unwrap();
    place.write("empty", "");
    place.write("blank", "\u{feff}\n\r\n  \n\t\n");
    place.write("utf16", b"\xff\xfea\0b\0\n\0");
    place.write("latin1", b"ab\nn\xe9\n");
    place.write("gzip", b"\x1f\x8b\x08not gzip");
    place.write("table", "anna;F\nbea;F\n".repeat(4));
    place.write("words.json", "[1]");
    place.write("image", b"ab\ncd\x00\x01\n");
    place.write("five", "a\nb\nc\nd\ne\n");
    place.write("letters", letters.join("\n"));
    place.write("two.csv", "id,word\n1,anna\n");
    place.write("quote.csv", format!("word\n{ten}\"b\n"));
    place.write("ragged.csv", format!("id,word\n1,{ten}"));
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("none", &[], &["none: no such file", "give the path of a text file"]),
        ("folder", &[], &["folder: is a directory", "give the path of a text file inside it"]),
        ("empty", &[], &["empty: is empty", "put one word on each line"]),
        ("blank", &[], &["blank: has no words", "put one word on each line"]),
        ("utf16", &[], &["utf16: too few words", "1, but at least 6"]),
        ("latin1", &[], &["latin1, line 2: byte 0xE9 (byte 4 of the file) is not UTF-8", "\"né\"", "--encoding windows-125", "--skip-bad-lines"]),
        ("latin1", &["--encoding", "euc-kr"], &["latin1, line 2: is not text in the encoding EUC-KR", "--encoding"]),
        ("latin1", &["--skip-bad-lines"], &["latin1: too few words", "1, but at least 6"]),
        ("gzip", &[], &["gzip: cannot be unpacked"]),
        ("table", &[], &["table, line 1: looks like a row of a table with 2 columns", "\"anna;F\"", "--column 1", "--as-text"]),
        ("table", &["--column", "3"], &["no column \"3\"", "these: \"anna\", \"F\"", "--column"]),
        ("words.json", &[], &["words.json, line 1: a word must be a string"]),
        ("names", &["--encoding", "latin1"], &["names: is built in", "leave out --encoding"]),
        ("names", &["--no-header"], &["names: is built in", "leave out --no-header"]),
        ("image", &[], &["image, line 2: control character U+0000", "give a text file"]),
        ("five", &[], &["five: too few words for three splits: 5", "at least 6 are needed"]),
        ("letters", &[], &["letters: 65535 distinct characters", "at most 65534", "use a part"]),
        ("two.csv", &[], &["two.csv: has several columns: \"id\", \"word\"", "choose one with --column"]),
        ("two.csv", &["--column", "name"], &["no column \"name\"", "these: \"id\", \"word\""]),
        ("two.csv", &["--column", "word"], &["two.csv: too few words", "1, but at least 6"]),
        ("names", &["--column", "name"], &["names: has no columns", "leave out --column name"]),
        ("municipalities", &["--column", "x"], &["no column \"x\"", "these: \"province\", \"name\""]),
        ("quote.csv", &[], &["quote.csv, line 12", "never closed", "close it"]),
        ("ragged.csv", &["--column", "word"], &["ragged.csv, line 3", "2 columns", "quote fields"]),
    ];
    for (data, options, parts) in cases {
        let options = [&["--out", "out", "--data", data], *options].concat();
        place.refuse(&train(&options), 1, parts);
    }
}

#[test]
fn thousands_of_characters_and_the_fewest_words_do() {
    let place = Place::new();
    let letters: Vec<String> = ('\u{4e00}'..).take(5504).map(String::from).collect();
    place.write("chinese", letters.join("\n"));
    // Until it knows that a word ends behind a letter: names of a thousand letters take their time.
    let lines = place.train(&["--data", "chinese", "--steps", "100", "--out", "most"]);
    assert_eq!(place.json("most/summary.json")["vocab_size"], 5505);
    // The line of the vocabulary has the first of them.
    let vocabulary = lines
        .iter()
        .find(|line| line.starts_with("vocabulary"))
        .unwrap();
    let listed: String = letters[..255].concat();
    assert_eq!(*vocabulary, format!("vocabulary  5505: .{listed}…"));
    // The model is as good as any.
    let names = place.succeed(&sample("most", &["--prefix", "一丁"]));
    assert!(names.iter().all(|name| name.starts_with("一丁")));
    let parts = [
        "--prefix",
        "'a'",
        &format!("characters are: {}…", letters[..256].concat()),
    ];
    place.refuse(&sample("most", &["--prefix", "a"]), 2, &parts);
    place.succeed(&eval("most", &[]));
    place.write("six", "a\na\na\na\na\na");
    place.train(&["--data", "six", "--out", "least"]);
    assert_eq!(place.json("least/summary.json")["vocab_size"], 2);
}

#[test]
fn a_full_stop_is_a_letter_like_any_other() {
    let place = Place::new();
    let saints = "St. John\nSt. Kitts\nJ.R.R.\nEtc.\n...\n";
    place.write("saints", saints.repeat(40));
    let lines = place.train(&["--data", "saints", "--steps", "1000", "--out", "new"]);
    let line = |head: &str| lines.iter().find(|line| line.starts_with(head)).unwrap();
    assert!(line("data").ends_with("; '.' is a letter, and ␃ marks the end of a word"));
    assert_eq!(line("vocabulary"), "vocabulary  15: ␃ .EJKRSchinost");
    let vocab = place.checkpoint("new/model.safetensors").config.vocab;
    assert_eq!(vocab[..3], ['␃', ' ', '.']);
    // What begins with a full stop goes on behind it, and no name has the end mark in it.
    let names = place.succeed(&sample("new", &["--prefix", "St.", "-n", "50"]));
    assert_eq!(names.len(), 50);
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("St.") && !name.contains('␃'))
    );
    assert!(names.iter().any(|name| name == "St. John"));
    place.refuse(&sample("new", &["--prefix", "␃"]), 2, &["--prefix", "'␃'"]);
    place.succeed(&eval("new", &[]));
    // A model without it does not know it, and one with it reads what has none.
    place.train(&["--out", "old"]);
    place.refuse(
        &eval("old", &["--data", "saints"]),
        1,
        &["saints, line 1", "'S'"],
    );
    place.write("dots", "anna\n".repeat(9) + "j.r.r.\n");
    place.refuse(
        &eval("old", &["--data", "dots"]),
        1,
        &["dots, line 10", "'.'", "\"j.r.r.\""],
    );
    place.write("john", "John\nSt\n".repeat(5));
    place.succeed(&eval("new", &["--data", "john"]));
    // Without it, all is as it was.
    let lines = place.train(&["--out", "plain"]);
    let line = lines.iter().find(|line| line.starts_with("data")).unwrap();
    assert!(line.ends_with(" to test"));
    assert_eq!(
        place.checkpoint("plain/model.safetensors").config.vocab[0],
        '.'
    );
}

// ---------------------------------------------------------------------- models to start from

/// The tensors of a model, as another program would write them.
fn plain(model: &Checkpoint, dtype: Dtype, leave_out: &[&str]) -> Vec<u8> {
    let dims = model.config.dims();
    let parameters = Tensor::ALL.map(|t| (t.name(), model.params.get(t), t.shape(&dims)));
    let row = |name, values| (name, values, vec![dims.hidden]);
    let statistics = [row("bnmean", &model.bnmean[..]), row("bnvar", &model.bnvar)];
    let bytes = |values: &[f32]| -> Vec<u8> {
        let bytes = values.iter().map(|&v| match dtype {
            Dtype::F64 => f64::from(v).to_le_bytes().to_vec(),
            Dtype::F16 => half::f16::from_f32(v).to_le_bytes().to_vec(),
            Dtype::BF16 => half::bf16::from_f32(v).to_le_bytes().to_vec(),
            _ => v.to_le_bytes().to_vec(),
        });
        bytes.flatten().collect()
    };
    let tensors: Vec<_> = parameters
        .into_iter()
        .chain(statistics)
        .filter(|(name, ..)| !leave_out.contains(name))
        .map(|(name, values, shape)| (name, bytes(values), shape))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, data, shape)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn a_run_starts_from_a_model() {
    let place = Place::with_model();
    let old = place.checkpoint("old/model.safetensors");
    // A learning rate of 0 changes nothing.
    let lines = place.train(&[
        "--init-from",
        "old",
        "--lr",
        "0",
        "--seed",
        "7",
        "--out",
        "still",
    ]);
    let still = place.checkpoint("still/model.safetensors");
    assert_eq!(still.params, old.params);
    let [before, after] = ["old", "still"].map(|run| place.json(&format!("{run}/summary.json")));
    assert_eq!(after["train_loss"], before["train_loss"]);
    assert_eq!(after["init_from"], "old");
    assert_eq!(after["init_sha256"], old.params.sha256());
    assert!(before.get("init_from").is_none());
    let loss = four_digits(&before["train_loss"]);
    let line = format!("start       old: loss over the training set {loss}");
    assert!(lines.contains(&line), "{lines:?}");

    // The initial values of a seed, from a file: the run is that of the seed.
    let mut first = old.clone();
    let mut generator = TorchGenerator::manual_seed(5);
    first.params = Params::init(&old.config.dims(), &mut generator);
    place.write("first.safetensors", plain(&first, Dtype::F32, &[]));
    place.train(&[
        "--init-from",
        "first.safetensors",
        "--seed",
        "5",
        "--out",
        "from-file",
    ]);
    place.train(&["--seed", "5", "--out", "drawn"]);
    let [from_file, drawn] =
        ["from-file", "drawn"].map(|run| place.checkpoint(&format!("{run}/model.safetensors")));
    assert_eq!(from_file.params, drawn.params);
    assert_eq!(
        place.read("from-file/metrics.jsonl"),
        place.read("drawn/metrics.jsonl")
    );

    // It goes further without the model, and with words that lack some of its characters.
    place.write("few.txt", "anna\nana\nann\nhanna\nhan\nnah\nann\nha\n");
    let few = [
        "--init-from",
        "old",
        "--data",
        "few.txt",
        "--lr-decay-at",
        "15",
    ];
    let whole = [
        &few[..],
        &[
            "--steps",
            "60",
            "--log-every",
            "10",
            "--checkpoint-every",
            "3",
        ],
    ];
    place.train(&[&whole.concat()[..], &["--out", "whole"]].concat());
    place.train(&[&few[..], &["--out", "further"]].concat());
    fs::remove_dir_all(place.path().join("old")).unwrap();
    place.succeed(&["train", "--resume", "further", "--steps", "60"]);
    for file in ["model.safetensors", "metrics.jsonl"] {
        let [a, b] = ["further", "whole"].map(|run| place.read(&format!("{run}/{file}")));
        assert!(a == b, "{file}");
    }
    place.succeed(&eval("whole", &[]));
}

#[test]
fn models_from_elsewhere_are_read() {
    let place = Place::with_model();
    let old = place.checkpoint("old/model.safetensors");
    let data = ["--data", "words.txt"];
    let losses = |lines: Vec<String>| lines[3..].join("\n");
    let expected = losses(place.succeed(&eval("old", &[])));
    let names = place.succeed(&sample("old", &[]));
    for (dtype, leave_out) in [
        (Dtype::F32, &[][..]),
        (Dtype::F64, &[]),
        (Dtype::F32, &["bnmean", "bnvar"]),
    ] {
        place.write("plain.safetensors", plain(&old, dtype, leave_out));
        let lines = place.succeed(&eval("plain.safetensors", &data));
        assert_eq!(losses(lines), expected, "{dtype:?} {leave_out:?}");
        assert_eq!(place.succeed(&sample("plain.safetensors", &data)), names);
    }
    for (dtype, digits) in [(Dtype::F16, 1e-2), (Dtype::BF16, 1e-1)] {
        let out = format!("{dtype:?}");
        place.write(
            "plain.safetensors",
            plain(&old, dtype, &["bnmean", "bnvar"]),
        );
        place.train(&[
            "--init-from",
            "plain.safetensors",
            "--lr",
            "0",
            "--out",
            &out,
        ]);
        let params = place.checkpoint(&format!("{out}/model.safetensors")).params;
        let pairs = old.params.w1.iter().zip(&params.w1);
        assert!(
            pairs
                .clone()
                .all(|(a, b)| (a - b).abs() <= digits * a.abs())
        );
        assert!(pairs.clone().any(|(a, b)| a != b));
    }
    // Its bias is taken out by batch norm: without it, nothing changes but the mean.
    place.write(
        "plain.safetensors",
        plain(&old, Dtype::F32, &["b1", "bnmean"]),
    );
    let lines = place.succeed(&eval("plain.safetensors", &data));
    assert_eq!(losses(lines), expected);
    place.train(&[
        "--init-from",
        "plain.safetensors",
        "--lr",
        "0",
        "--out",
        "b1",
    ]);
    let params = place.checkpoint("b1/model.safetensors").params;
    assert_eq!(
        (params.b1, params.w1),
        (vec![0.0; 16], old.params.w1.clone())
    );
}

#[test]
fn the_gradients_of_a_model_are_checked() {
    let place = Place::with_model();
    let old = place.checkpoint("old/model.safetensors");
    place.write("plain.safetensors", plain(&old, Dtype::F32, &[]));
    let check = |options: &[&'static str]| {
        let args = ["gradcheck", "--backend", "cpu", "--init-from"];
        [&args[..], options].concat()
    };
    let lines = place.succeed(&check(&["old"]));
    let sizes = format!("sizes     {}", old.config.dims());
    assert!(lines.contains(&sizes), "{lines:?}");
    let data = ["plain.safetensors", "--data", "words.txt"];
    assert_eq!(place.succeed(&check(&data)), lines);
    let upper = place.text("words.txt");
    place.write("upper.txt", upper.to_uppercase());
    let data = ["plain.safetensors", "--data", "upper.txt", "--lowercase"];
    assert_eq!(place.succeed(&check(&data)), lines);
    let args = ["gradcheck", "--backend", "cpu", "--lowercase"];
    place.refuse(&args, 2, &["need --init-from"]);
    let parts = ["plain.safetensors is from elsewhere", "--data says"];
    place.refuse(&check(&["plain.safetensors"]), 2, &parts);
    for option in ["--n-hidden", "--exercise"] {
        let parts = [option, "--init-from"];
        place.refuse(&check(&["old", option, "4"]), 2, &parts);
    }
}

#[test]
fn models_that_no_run_can_start_from_are_refused() {
    let place = Place::with_model();
    let old = place.checkpoint("old/model.safetensors");
    place.write("plain.safetensors", plain(&old, Dtype::F32, &[]));
    place.write("cut.safetensors", plain(&old, Dtype::F32, &["W2", "b2"]));
    place.write("text.safetensors", "words");
    place.write("few.txt", "anna\nana\nann\nhanna\nhan\nnah\nann\nha\n");
    place.write("more.txt", "anna\nana\nanné\nhanna\nhan\nnah\nann\nha\n");
    let start = |path, options: &[&'static str]| {
        let args = [
            "train",
            "--backend",
            "cpu",
            "--data",
            "words.txt",
            "--out",
            "out",
        ];
        [&args[..], &["--init-from", path], options].concat()
    };
    let missing = ["cannot load none: there is no such file"];
    place.refuse(&start("none", &[]), 1, &missing);
    let parts = [
        "cannot load cut.safetensors: ",
        "lacks W2, b2; a model has C,",
    ];
    place.refuse(&start("cut.safetensors", &[]), 1, &parts);
    place.refuse(
        &start("text.safetensors", &[]),
        1,
        &["not a safetensors file"],
    );
    for (option, value, own) in [
        ("--n-hidden", "200", "16"),
        ("--n-embd", "11", "10"),
        ("--block-size", "4", "3"),
    ] {
        for path in ["old", "plain.safetensors"] {
            let says = format!("{option} {value} with --init-from {path}: that model has {own}");
            place.refuse(&start(path, &[option, value]), 2, &[&says]);
        }
    }
    let both = ["train", "--resume", "old", "--init-from", "old"];
    place.refuse(&both, 2, &["--resume", "--init-from"]);
    let other = |path, data| {
        let args = [
            "train",
            "--backend",
            "cpu",
            "--out",
            "out",
            "--init-from",
            path,
        ];
        [&args[..], &["--data", data]].concat()
    };
    let parts = [
        "more.txt, line 3: 'é'",
        "not in the vocabulary of the trained model",
    ];
    place.refuse(&other("old", "more.txt"), 1, &parts);
    let rows = old.config.vocab.len();
    let parts = format!("C in plain.safetensors has {rows} rows, but few.txt has 4 characters");
    place.refuse(
        &other("plain.safetensors", "few.txt"),
        1,
        &[&parts, "--data"],
    );

    let parts = ["plain.safetensors is from elsewhere", "--data says"];
    place.refuse(&eval("plain.safetensors", &[]), 2, &parts);
    place.refuse(&sample("plain.safetensors", &[]), 2, &parts);
    let parts = ["this model has a vocabulary of its own"];
    place.refuse(&sample("old", &["--data", "words.txt"]), 2, &parts);
    place.refuse(&sample("old", &["--clean"]), 2, &parts);
    let mut broken = old.clone();
    broken.params.w2[3] = f32::NAN;
    place.write("plain.safetensors", plain(&broken, Dtype::F32, &[]));
    let parts = ["value 3 of the tensor 'W2' is NaN"];
    place.refuse(&start("plain.safetensors", &[]), 1, &parts);
    // Finite, but not in what follows from it.
    broken.params.w2.fill(3e38);
    place.write("plain.safetensors", plain(&broken, Dtype::F32, &[]));
    let parts = [
        "the loss of plain.safetensors over the training set is",
        "nothing can start",
    ];
    place.refuse(&start("plain.safetensors", &[]), 1, &parts);
}

// ---------------------------------------------------------------------------------- bad options

#[test]
fn sizes_out_of_range_are_refused_with_the_range() {
    let place = Place::new();
    for (option, min, max) in [
        ("--batch-size", 2, 4096),
        ("--block-size", 1, 16),
        ("--n-embd", 1, 128),
        ("--n-hidden", 1, 2048),
    ] {
        let [below, above] = [min - 1, max + 1].map(|value: i32| value.to_string());
        let range = format!("must be a whole number from {min} to {max}");
        for value in [
            &below,
            &above,
            "-1",
            "1.5",
            "ten",
            "",
            "99999999999999999999",
        ] {
            place.refuse(
                &train(&["--out", "out", option, value]),
                2,
                &[option, &format!("'{value}'"), &range],
            );
        }
        for value in [min, max] {
            let value = value.to_string();
            let out = format!("out{option}{value}");
            // The others as small as can be, for the largest to be quick.
            let mut options = vec!["--steps", "1", "--out", &out];
            for (other, smallest) in [
                ("--batch-size", "2"),
                ("--block-size", "1"),
                ("--n-embd", "1"),
                ("--n-hidden", "1"),
            ] {
                options.extend([other, if other == option { &value } else { smallest }]);
            }
            place.train(&options);
        }
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let place = Place::with_model();
    type Command = for<'a> fn(&[&'a str]) -> Vec<&'a str>;
    let train: Command = |options| train(&[&["--out", "out"], options].concat());
    let sample: Command = |options| sample("old", options);
    let refuse = |command: Command, option: &str, values: &[&str], rule: &str| {
        for value in values {
            let parts = [option, &format!("'{value}'"), rule];
            place.refuse(&command(&[&format!("{option}={value}")]), 2, &parts);
            // Without the equals sign, `-inf` is taken for options.
            if *value != "-inf" {
                place.refuse(&command(&[option, value]), 2, &parts);
            }
        }
    };
    let whole = ["-1", "1.5", "ten", "", "99999999999999999999", "nan"];
    for option in ["--steps", "--log-every", "--eval-every", "--ratios-every"] {
        let values = [&["0"], &whole[..]].concat();
        refuse(train, option, &values, "must be a whole number from 1");
    }
    for option in ["--seed", "--lr-decay-at"] {
        refuse(train, option, &whole, "must be a whole number from 0");
    }
    for option in ["--lr", "--lr-final"] {
        // The last is a number, but not as f32.
        let values = ["nan", "inf", "-inf", "-1", "-0.1", "fast", "", "1e39"];
        refuse(train, option, &values, "must be a number from 0");
    }
    // The last is a number, but not as f32.
    let values = ["-1", "-0.1", "nan", "inf", "warm", "", "1e300"];
    refuse(sample, "--temperature", &values, "must be a number from 0");
    refuse(sample, "--seed", &whole, "must be a whole number from 0");
    let values = [&["0"], &whole[..]].concat();
    refuse(sample, "--top-k", &values, "must be a whole number from 1");
    let values = [&["1001"], &whole[..]].concat();
    refuse(sample, "--min-len", &values, "from 0 to 1000");
    refuse(
        sample,
        "--max-len",
        &[&["0"], &values[..]].concat(),
        "from 1 to 1000",
    );
    for value in ["0", "-1", "1.5", "all"] {
        let parts = [
            "-n <N>",
            &format!("'{value}'"),
            "must be a whole number from 1",
        ];
        place.refuse(&sample(&["-n", value]), 2, &parts);
    }
}

#[test]
fn unknown_options_and_commands_are_refused() {
    let place = Place::new();
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["train", "--step", "5"],
            &["'--step'", "'--steps'", "--help"],
        ),
        (&["train", "--momentum"], &["'--momentum'", "--help"]),
        (&["train", "names"], &["'names'", "--help"]),
        (&["train", "--out"], &["'--out <DIR>'", "--help"]),
        (&["train", "--lr", "--clean"], &["'--lr <RATE>'", "--help"]),
        (
            &["train", "--seed", "1", "--seed", "2"],
            &["'--seed <SEED>'"],
        ),
        (
            &["train", "--backend", "webgpu"],
            &["'webgpu'", "vulkan", "metal", "cpu"],
        ),
        (&["teach"], &["'teach'", "--help"]),
        (&["learn"], &["a folder", "--help"]),
        (&["--verbose"], &["'--verbose'", "--help"]),
        (&["eval"], &["--checkpoint <PATH>", "--help"]),
        (&["sample"], &["--checkpoint <PATH>", "--help"]),
        (&["show"], &["<PATH>", "--help"]),
        (&["show", "a", "b"], &["'b'", "--help"]),
        (&["man"], &["<DIR>", "--help"]),
        (&["completions"], &["<SHELL>", "--help"]),
        (&["completions", "csh"], &["'csh'", "bash", "--help"]),
        (&["page", "--port", "0"], &["'0'", "--port", "--help"]),
        (&["page", "--port", "65536"], &["'65536'", "--help"]),
        (
            &["eval", "--checkpoint", "m", "--split", "dev"],
            &["\"dev\"", "train, val, test and all"],
        ),
        (
            &["train", "--backend", "cpu", "--adapter", "x"],
            &["--adapter", "--backend cpu"],
        ),
    ];
    for (args, parts) in cases {
        place.refuse(args, 2, parts);
    }
}

#[test]
fn without_a_command_there_is_help_on_stderr() {
    let place = Place::new();
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("Usage: gpu-makemore <COMMAND>"));
}

/// Paths can hold anything, and must neither break the line nor reach the terminal as commands.
#[cfg(unix)] // elsewhere such a path is no path
#[test]
fn control_characters_are_not_passed_on() {
    let place = Place::new();
    let args = train(&["--out", "out", "--data", "a\nb\x1b[2J"]);
    place.refuse(&args, 1, &["a b\\u{1b}[2J: no such file"]);
    place.refuse(&["train", "--a\nb\x1b[2J"], 2, &["unexpected argument"]);
}

// ------------------------------------------------------------------------------------- adapters

#[test]
fn an_unknown_adapter_is_refused_with_those_there_are() {
    let place = Place::new();
    // A table with at least two spaces between its columns, and after it an empty line.
    let lines = place.succeed(&["adapters"]);
    let rows = lines.iter().take_while(|line| !line.is_empty()).skip(1);
    let mut parts: Vec<String> = rows
        .filter_map(|row| {
            let mut columns = row.split("  ").map(str::trim).filter(|c| !c.is_empty());
            let (_, backend) = (columns.next()?, columns.next()?);
            let (name, kind) = (columns.next()?, columns.next()?);
            Some(format!("'{name}' ({backend}, {kind})"))
        })
        .collect();
    if lines[0].starts_with("No GPU adapter") {
        parts = vec!["found: none".to_owned()];
    }
    parts.push("--adapter 'no such GPU'".to_owned());
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    assert!(parts.len() > 1);
    let args = ["train", "--out", "out", "--adapter", "no such GPU"];
    place.refuse(&args, 1, &parts);
    // By number, in one field, or by wgpu's variable.
    let found = [&["found: "], &parts[..parts.len() - 1]].concat();
    for (option, part) in [
        ("99", "--adapter 99: no adapter has the number 99"),
        (
            "name:no such",
            "--adapter 'name:no such': no adapter has 'no such' in its name",
        ),
        ("driver:none", "no adapter has 'none' in its driver"),
    ] {
        let args = ["train", "--out", "out", "--adapter", option];
        place.refuse(&args, 1, &[&[part], &found[..]].concat());
    }
    let parts = ["where 4090 is part of a name, write name:4090"];
    place.refuse(&["train", "--out", "out", "--adapter", "4090"], 1, &parts);
    for text in ["", " ", "0", "name:", "driver:"] {
        place.refuse(
            &["train", "--adapter", text],
            2,
            &["--adapter", "must be a number"],
        );
    }
    let mut command = place.command(&["train", "--out", "out"]);
    command.env("WGPU_ADAPTER_NAME", "no such GPU");
    let parts = ["WGPU_ADAPTER_NAME='no such GPU': no adapter has"];
    place.refuse_command(&mut command, 1, &parts);
    let mut command = place.command(&["train", "--out", "out"]);
    command.env("WGPU_BACKEND", "vulkan,fast");
    place.refuse_command(
        &mut command,
        2,
        &["WGPU_BACKEND=vulkan,fast: 'fast' is no API"],
    );
    // They stand for options that are not given.
    let mut command = place.command(&train(&["--backend", "cpu", "--out", "out"]));
    command
        .env("WGPU_ADAPTER_NAME", "x")
        .env("WGPU_BACKEND", "x");
    let lines = succeeded(&command.output().unwrap());
    assert!(
        lines[1].starts_with("why         --backend cpu"),
        "{lines:?}"
    );
}

/// Each row of the table by its number, and by wgpu's variables: the lines about the device say which it is.
#[test]
fn an_adapter_is_taken_by_its_number_and_by_variables() {
    let place = Place::with_model();
    let lines = place.succeed(&["adapters"]);
    let rows = lines.iter().take_while(|line| !line.is_empty()).skip(1);
    for row in rows.filter(|row| !row.contains("To get one") && !row.contains("no compute")) {
        let columns: Vec<&str> = row
            .split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        let [number, backend, name, ..] = columns[..] else {
            panic!("{row}");
        };
        let evaluated = |options: &[&str], variables: &[(&str, &str)]| {
            let args = [&["eval", "--checkpoint", "old"], options].concat();
            let mut command = place.command(&args);
            command.envs(variables.iter().copied());
            let lines = succeeded(&command.output().unwrap());
            let device = format!("device  {name}, {backend}; ");
            assert!(lines[0].starts_with(&device), "{number}: {lines:?}");
            lines[1].clone()
        };
        let why = evaluated(&["--adapter", number], &[]);
        assert!(
            why.starts_with(&format!("why     --adapter {number}; ")),
            "{why}"
        );
        let shouted = name.to_uppercase();
        let variables = [("WGPU_BACKEND", backend), ("WGPU_ADAPTER_NAME", &shouted)];
        let why = evaluated(&[], &variables);
        let said = format!("why     WGPU_BACKEND={backend}, WGPU_ADAPTER_NAME=");
        assert!(why.starts_with(&said) && why.contains(&shouted), "{why}");
        // The number is that of the whole list, and on another API there is no such adapter.
        let other = if backend == "gl" { "vulkan" } else { "gl" };
        let args = [
            "eval",
            "--checkpoint",
            "old",
            "--backend",
            other,
            "--adapter",
            number,
        ];
        let parts = ["--backend", number, name, "is on another API"];
        place.refuse(&args, 1, &parts);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_api_of_another_system_is_refused_with_what_brings_an_adapter() {
    let place = Place::new();
    for (backend, name) in [
        ("metal", "no Metal adapter"),
        ("dx12", "no Direct3D 12 adapter"),
    ] {
        let args = ["train", "--out", "out", "--backend", backend];
        place.refuse(&args, 1, &[name, "found", "mesa-vulkan-drivers"]);
    }
}

/// On a machine without a desktop, a layer of Mesa's complains once for each Vulkan instance. The
/// program goes without that layer, unless the user has told it which GPU to take.
#[cfg(target_os = "linux")]
#[test]
fn without_a_desktop_nothing_complains_of_it() {
    let place = Place::new();
    let complaint = |set: &[(&str, &str)]| {
        let mut command = place.command(&["adapters"]);
        for name in [
            "XDG_RUNTIME_DIR",
            "WAYLAND_DISPLAY",
            "NODEVICE_SELECT",
            "MESA_VK_DEVICE_SELECT",
            "DRI_PRIME",
        ] {
            command.env_remove(name);
        }
        let output = command.envs(set.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        stderr(&output).to_owned()
    };
    assert_eq!(complaint(&[]), "");
    assert_eq!(complaint(&[("XDG_RUNTIME_DIR", "not/absolute")]), "");
    assert_eq!(complaint(&[("NODEVICE_SELECT", "1")]), "");
}

/// Linux only: there, variables hide the drivers from Vulkan (two names, by the loader's age) and
/// from OpenGL.
#[cfg(target_os = "linux")]
#[test]
fn without_any_adapter_only_the_cpu_is_left() {
    let place = Place::new();
    let hidden = |args: &[&str]| {
        let mut command = place.command(args);
        for name in [
            "VK_DRIVER_FILES",
            "VK_ICD_FILENAMES",
            "__EGL_VENDOR_LIBRARY_FILENAMES",
        ] {
            command.env(name, "/none");
        }
        command
    };
    let refuse = |options: &[&str], parts: &[&str]| {
        let args = train(&[&["--out", "out"], options].concat());
        place.refuse_command(&mut hidden(&args), 1, parts);
    };
    for backend in ["vulkan", "gl"] {
        let parts = ["adapter was found", "none", "mesa-vulkan-drivers"];
        refuse(&["--backend", backend], &parts);
        let options = ["--backend", backend, "--adapter", "llvmpipe"];
        refuse(&options, &["'llvmpipe'", "found: none"]);
    }
    let lines = succeeded(&hidden(&["adapters"]).output().unwrap());
    assert!(lines[0].starts_with("No GPU adapter was found"));
    assert!(lines[1].contains("mesa-vulkan-drivers"), "{lines:?}");
    let args = train(&["--backend", "auto", "--out", "out"]);
    let lines = succeeded(&hidden(&args).output().unwrap());
    assert!(lines[0].contains("CPU"), "{lines:?}");
    let why = |line: &String| line.contains("no GPU was found");
    assert!(lines.iter().any(why), "{lines:?}");
    assert_eq!(place.json("out/summary.json")["backend"], "cpu");
    for (options, parts) in [
        (
            vec!["--profile"],
            ["--profile is about GPUs", "no GPU was found"],
        ),
        (
            vec!["--schedule", "staged"],
            ["--schedule staged is about GPUs", "no GPU was found"],
        ),
    ] {
        let args = train(&[vec!["--backend", "auto", "--out", "auto"], options].concat());
        place.refuse_command(&mut hidden(&args), 2, &parts);
    }
}

#[test]
fn what_is_about_gpus_is_refused_on_the_cpu() {
    let place = Place::new();
    for (options, part) in [
        (&["--profile"][..], "--profile is about GPUs"),
        (
            &["--schedule", "resident"],
            "--schedule resident is about GPUs",
        ),
    ] {
        let args = train(&[&["--out", "out"], options].concat());
        place.refuse(&args, 2, &[part, "on the CPU: --backend cpu"]);
    }
}

// -------------------------------------------------------------------------------- output folder

#[test]
fn an_earlier_run_is_not_overwritten() {
    let place = Place::with_model();
    let args = train(&["--out", "old"]);
    place.refuse(&args, 1, &["old already holds a run", "another --out"]);
    // One file of it is enough.
    fs::create_dir(place.path().join("other")).unwrap();
    place.write("other/metrics.jsonl", "");
    let args = train(&["--out", "other"]);
    place.refuse(&args, 1, &["other already holds a run (metrics.jsonl)"]);
}

#[test]
fn a_file_in_the_way_of_the_folder_is_refused() {
    let place = Place::new();
    let args = train(&["--out", "words.txt"]);
    place.refuse(&args, 1, &["words.txt is a file", "another --out"]);
    let args = train(&["--out", "words.txt/a"]);
    place.refuse(&args, 1, &["words.txt", "choose a folder", "with --out"]);
}

/// In `/proc`, where the system shows its processes, nobody can make a file. A folder without
/// permission to write would not do: to the superuser, as whom tests run in many containers,
/// nothing is forbidden.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_is_refused() {
    let place = Place::new();
    for (out, part) in [
        ("/proc", "cannot write into /proc:"),
        ("/proc/run", "cannot create the folder /proc/run:"),
    ] {
        place.refuse(
            &train(&["--out", out]),
            1,
            &[part, "that you can write to with --out"],
        );
    }
}

/// The rows of a `metrics.jsonl`; each line must be whole.
#[track_caller]
fn rows(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "half a row");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Those of training steps.
#[track_caller]
fn training_rows(text: &str) -> Vec<Value> {
    let mut rows = rows(text);
    rows.retain(|row| !row["loss"].is_null());
    rows
}

/// Those of checkpoints.
#[track_caller]
fn validation_rows(text: &str) -> Vec<Value> {
    let mut rows = rows(text);
    rows.retain(|row| !row["val_loss"].is_null());
    rows
}

/// A limit on the size of files stands for a full disk: what fits is written, and then there is
/// an error. `trap` keeps the signal away with which the system would end the program.
#[cfg(unix)]
#[test]
fn a_file_that_does_not_fit_leaves_no_half_of_it() {
    let place = Place::new();
    let limited = |options: &[&str]| {
        // 16 KiB or 32 KiB, as shells differ: less than the larger model or 500 rows.
        let script = r#"trap "" XFSZ; ulimit -f 32; exec "$0" "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_gpu-makemore")]);
        command.current_dir(place.path()).args(train(options));
        command.output().unwrap()
    };
    let output = limited(&["--n-hidden", "200", "--out", "model"]);
    failed(
        &output,
        1,
        &["cannot write model/last.safetensors: File too large"],
    );
    assert!(!stdout(&output).contains("the model is in"));
    assert!(!place.path().join("model").exists());

    let output = limited(&["--steps", "500", "--log-every", "1", "--out", "rows"]);
    failed(
        &output,
        1,
        &["cannot write rows/metrics.jsonl: File too large"],
    );
    let rows = training_rows(&place.text("rows/metrics.jsonl"));
    assert!((150..499).contains(&rows.len()), "{} rows", rows.len());
    let names = place.names("rows").join(" ");
    assert_eq!(names, "best.safetensors last.safetensors metrics.jsonl");

    // A record of an event file is longer than the row of metrics.
    let output = limited(&[
        "--steps",
        "500",
        "--log-every",
        "1",
        "--tensorboard",
        "--out",
        "events",
    ]);
    failed(
        &output,
        1,
        &[
            "cannot write events/events.out.tfevents.",
            ": File too large",
        ],
    );
    let name = &place.names("events")[1];
    let records = events(&place.read(&format!("events/{name}")));
    assert!(records.len() > 100, "{} records", records.len());
    place.succeed(&["train", "--resume", "events"]);
    assert_eq!(shown(&place, "events"), written(&place, "events"));
}

/// The real thing: a file system in memory with room for nothing but the first rows. It is
/// mounted for the program alone (`unshare`), so it is gone when the program is.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let place = Place::new();
    // The superuser may mount; others may too where they can be superuser of a namespace.
    let can_mount = |flags: &&str| {
        let probe = "mount -t tmpfs -o size=180k none .";
        let mut command = Command::new("unshare");
        let output = command
            .args([flags, "sh", "-c", probe])
            .current_dir(place.path());
        output.output().is_ok_and(|o| o.status.success())
    };
    let Some(flags) = ["-m", "-rm"].into_iter().find(can_mount) else {
        // Not `eprintln!`, which is captured and not shown when a test passes.
        let note = b"SKIPPED a_full_disk_is_an_error: cannot mount a tmpfs\n";
        let _ = io::Write::write_all(&mut io::stderr(), note);
        return;
    };
    fs::create_dir(place.path().join("disk")).unwrap();
    // Not even the first checkpoint fits; then the checkpoints and the model do, and the picture does
    // not; then nothing can be written at all; and with more room the run goes on.
    let script = r#"mount -t tmpfs -o size=32k none disk || exit 99
        "$0" "$@"; echo "code $?"; ls -A disk
        mount -o remount,size=180k disk || exit 99
        "$0" "$@"; echo "code $?"; ls -A disk/out
        mount -o remount,ro disk || exit 99
        "$0" train --resume disk/out; echo "code $?"; ls -A disk/out
        mount -o remount,rw,size=1m disk || exit 99
        "$0" train --resume disk/out; echo "code $?"; ls -A disk/out"#;
    let mut command = Command::new("unshare");
    command.args([
        flags,
        "sh",
        "-c",
        script,
        env!("CARGO_BIN_EXE_gpu-makemore"),
    ]);
    command.current_dir(place.path());
    command.args(train(&["--n-hidden", "200", "--out", "disk/out"]));
    let output = command.output().unwrap();
    let errors: Vec<&str> = stderr(&output).lines().collect();
    let full = "No space left on device (os error 28)";
    assert_eq!(
        errors,
        [
            format!("error: cannot write disk/out/last.safetensors: {full}"),
            format!(
                "error: cannot write disk/out/loss.png: {full}; the run is kept as it was after 30 \
                 steps: continue with: gpu-makemore train --resume disk/out"
            ),
            "error: cannot open disk/out/.lock: Read-only file system (os error 30)".to_owned(),
        ]
    );
    let lines: Vec<&str> = stdout(&output).lines().collect();
    let [first, second, read_only, last]: [Vec<&str>; 4] = lines
        .split(|line| line.starts_with("code "))
        .skip(1)
        .map(|listing| {
            let of_listing = |line: &&&str| line.contains(['.', '/']) && !line.contains(' ');
            let mut names: Vec<&str> = listing.iter().filter(of_listing).copied().collect();
            names.sort();
            names
        })
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(first, [""; 0], "the first run left something");
    let kept = "best.safetensors last.safetensors metrics.jsonl model.safetensors";
    assert_eq!(second.join(" "), kept);
    let whole =
        "best.safetensors last.safetensors loss.png metrics.jsonl model.safetensors summary.json";
    assert_eq!(read_only.join(" "), kept);
    assert_eq!(last.join(" "), whole);
    let codes: Vec<&&str> = lines
        .iter()
        .filter(|line| line.starts_with("code "))
        .collect();
    assert_eq!(codes, [&"code 1", &"code 1", &"code 1", &"code 0"]);
}

/// `/dev/full` is a file on which nothing fits.
#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_cannot_be_written_is_an_error() {
    let place = Place::with_model();
    for args in [
        train(&["--out", "out"]),
        eval("old", &[]),
        sample("old", &[]),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(&args);
        let part = "cannot write to standard output: No space left on device";
        place.refuse_command(command.stdout(full), 1, &[part]);
    }
}

// ---------------------------------------------------------------------------------- checkpoints

#[test]
fn unusable_checkpoints_are_refused() {
    let place = Place::with_model();
    fs::create_dir(place.path().join("folder")).unwrap();
    let model = place.read("old/model.safetensors");
    let half = model.len() / 2;
    place.write("nothing", "");
    place.write("half", &model[..half]);
    place.write("short", &model[..model.len() - 1]);
    place.write("long", [&model[..], b"\0"].concat());
    place.write("random", b"\x89PNG\r\n\x1a\n0123456789");
    // Safetensors as other programs write them: a header `{}` and nothing else.
    place.write("foreign", b"\x02\0\0\0\0\0\0\0{}");
    let altered = |at: usize| {
        let mut bytes = model.clone();
        bytes[at] ^= 1;
        bytes
    };
    place.write("value", altered(model.len() - 1));
    // In the header lies the seed, a number like any other.
    let seed = b"2147483647";
    let at = model.windows(seed.len()).position(|part| part == seed);
    place.write("seed", altered(at.unwrap()));
    let cases = [
        ("none", "no such file", "check the path"),
        ("folder", "no such file", "check the path"),
        ("words.txt", "not a checkpoint", "give the path"),
        ("random", "not a checkpoint", "give the path"),
        ("nothing", "only 0 bytes", "train a new model"),
        ("half", "cut short", "train a new model"),
        ("short", "cut short", "train a new model"),
        ("long", "something was added", "train a new model"),
        ("foreign", "without the metadata", "written by gpu-makemore"),
        ("value", "the file was altered", "train a new model"),
        ("seed", "the file was altered", "train a new model"),
    ];
    for (path, what, advice) in cases {
        let parts = [&format!("cannot load {path}"), what, advice];
        place.refuse(&sample(path, &[]), 1, &parts);
        place.refuse(&eval(path, &[]), 1, &parts);
    }
}

#[test]
fn data_that_the_model_cannot_read_is_refused() {
    let place = Place::with_model();
    place.write(
        "accents",
        "anna\nbeata\nbegoña\n".to_owned() + &"eva\n".repeat(10),
    );
    let parts = [
        "accents, line 3",
        "'ñ' (U+00F1)",
        "\"begoña\"",
        "try --lowercase or --clean",
    ];
    place.refuse(&eval("old", &["--data", "accents"]), 1, &parts);
    // The advice is good.
    place.succeed(&eval("old", &["--data", "accents", "--clean"]));
    // Without --data it is the data of the training, which may be gone.
    fs::remove_file(place.path().join("words.txt")).unwrap();
    place.refuse(&eval("old", &[]), 1, &["words.txt: no such file"]);
}

#[test]
fn a_prefix_that_the_model_cannot_read_is_refused() {
    let place = Place::with_model();
    for (prefix, character) in [
        ("Anna", "'A'"),
        ("a.b", "'.'"),
        ("ñ", "'ñ'"),
        ("a b", "' '"),
    ] {
        let args = sample("old", &["--prefix", prefix]);
        let parts = [
            "--prefix",
            character,
            "characters are: abcdefghijklmnopqrstuvwxyz",
        ];
        place.refuse(&args, 2, &parts);
    }
}

// ---------------------------------------------------------------------------------------- train

/// A short run with the lecture's names and sizes, for which the numbers are known, in the folder
/// `a/b`; and its lines.
fn lecture() -> (Place, Vec<String>) {
    let place = Place::new();
    let args = "train --backend cpu --steps 500 --log-every 200 --out a/b";
    let args: Vec<&str> = args.split(' ').collect();
    let lines = place.succeed(&args);
    (place, lines)
}

#[test]
fn train_prints_the_lectures_lines_and_writes_them_down() {
    let (place, lines) = lecture();
    let rows = training_rows(&place.text("a/b/metrics.jsonl"));
    let steps: Vec<u64> = rows.iter().map(|r| r["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 200, 400]);
    let lrs: Vec<f64> = rows.iter().map(|r| r["lr"].as_f64().unwrap()).collect();
    assert_eq!(lrs, [0.1, 0.1, 0.01], "the rate falls at half of the steps");
    for row in &rows {
        let fields: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["loss", "loss_mean", "lr", "step"]);
        let step = row["step"].as_u64().unwrap();
        let line = format!("{step:7}/    500: {}", four_digits(&row["loss"]));
        assert!(lines.contains(&line), "{line}");
    }
    assert!(lines.contains(&"      0/    500: 3.9508".to_owned()));
    // The mean over 200 minibatches, in which the loss falls from 3.95 to about 2.6.
    let [loss, mean] = ["loss", "loss_mean"].map(|field| rows[0][field].as_f64().unwrap());
    assert_eq!(loss as f32, mean as f32);
    let mean = rows[1]["loss_mean"].as_f64().unwrap();
    assert!((2.5..3.2).contains(&mean), "{mean}");
}

/// At each tenth of the run, in the file and on the screen; the last one is printed with the other
/// results, over the statistics of the whole training set.
#[test]
fn train_tells_the_validation_losses_along_the_way() {
    let (place, lines) = lecture();
    let text = place.text("a/b/metrics.jsonl");
    let found = validation_rows(&text);
    let steps: Vec<u64> = found.iter().map(|r| r["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [50, 100, 150, 200, 250, 300, 350, 400, 450, 500]);
    for row in &found {
        let fields: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["step", "val_loss"]);
        let step = row["step"].as_u64().unwrap();
        let line = format!("{step:7}/    500: val {}", four_digits(&row["val_loss"]));
        assert_eq!(lines.contains(&line), step < 500, "{line}");
    }
    assert_eq!(rows(&text).len(), found.len() + 3, "rows of a third kind");
    let all: Vec<u64> = rows(&text)
        .iter()
        .map(|r| r["step"].as_u64().unwrap())
        .collect();
    assert!(all.is_sorted(), "{all:?}");
    let last = found[9]["val_loss"].as_f64().unwrap();
    let whole = place.json("a/b/summary.json")["val_loss"].as_f64().unwrap();
    assert!((last - whole).abs() < 0.01, "{last} {whole}");
    let best = found.iter().map(|r| r["val_loss"].as_f64().unwrap());
    let best = best.fold(f64::INFINITY, f64::min);
    let saved = place.checkpoint("a/b/best.safetensors").training.unwrap();
    assert_eq!(saved.best.unwrap().val_loss, best);
}

/// Between checkpoints too, in the file and on the screen, and the training does not notice.
#[test]
fn train_measures_the_validation_loss_as_often_as_asked() {
    let place = Place::new();
    let args = [
        "--steps",
        "40",
        "--checkpoint-every",
        "10",
        "--lr-decay-at",
        "10",
    ];
    let train = |options: &[&str]| place.train(&[&args[..], options].concat());
    let steps_of = |run: &str| -> Vec<u64> {
        let rows = validation_rows(&place.text(&format!("{run}/metrics.jsonl")));
        rows.iter()
            .map(|row| row["step"].as_u64().unwrap())
            .collect()
    };
    train(&["--out", "none"]);
    assert_eq!(steps_of("none"), [10, 20, 30, 40]);
    for (every, expected) in [
        ("7", &[7, 10, 14, 20, 21, 28, 30, 35, 40][..]),
        ("1", &(1..=40).collect::<Vec<_>>()),
        ("41", &[10, 20, 30, 40]),
        ("18446744073709551615", &[10, 20, 30, 40]),
    ] {
        let lines = train(&["--eval-every", every, "--out", every]);
        assert_eq!(steps_of(every), expected);
        for file in ["model.safetensors", "metrics.jsonl"] {
            let read = |run: &str| match file {
                // The rows of the steps, and those of the checkpoints.
                "metrics.jsonl" => {
                    let mut rows = rows(&place.text(&format!("{run}/{file}")));
                    rows.retain(|row| {
                        let step = row["step"].as_u64().unwrap();
                        row["val_loss"].is_null() || step.is_multiple_of(10)
                    });
                    format!("{rows:?}").into_bytes()
                }
                _ => place.read(&format!("{run}/{file}")),
            };
            assert!(read(every) == read("none"), "{every}: {file}");
        }
        let at_7 = lines
            .iter()
            .any(|line| line.starts_with("      7/     40: val "));
        assert_eq!(at_7, expected.contains(&7), "{lines:?}");
    }
    // A run that is continued keeps the interval.
    let begun = ["--checkpoint-every", "10", "--lr-decay-at", "10"];
    let options = ["--steps", "20", "--eval-every", "7", "--out", "further"];
    place.train(&[&begun[..], &options].concat());
    place.succeed(&["train", "--resume", "further", "--steps", "40"]);
    for file in ["model.safetensors", "metrics.jsonl"] {
        let [a, b] = ["further", "7"].map(|run| place.read(&format!("{run}/{file}")));
        assert!(a == b, "{file}");
    }
}

// ------------------------------------------------------------------------------------ TensorBoard

/// What an event file has of a step: its number, and scalars or the mark of a start.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Version(String),
    Start(u64),
    Scalars(u64, Vec<(String, f32)>),
}

/// CRC-32C bit by bit, masked as in TensorFlow's `crc32c.h`.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The fields of a protobuf message: numbers, and numbers or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, length) = match key & 7 {
            0 => (varint(&mut bytes), 0),
            1 => (0, 8),
            2 => (0, varint(&mut bytes) as usize),
            5 => (0, 4),
            other => panic!("wire type {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        fields.push((key >> 3, number, content));
        bytes = rest;
    }
    fields
}

/// The records of an event file, whose checksums have to be right.
#[track_caller]
fn events(bytes: &[u8]) -> Vec<Event> {
    let mut rest = bytes;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        (taken, left.is_empty())
    };
    let mut events = Vec::new();
    loop {
        let (length, _) = take(8);
        let sum = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        assert_eq!(sum(take(4).0), masked_crc(length));
        let (message, _) = take(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let (crc, end) = take(4);
        assert_eq!(sum(crc), masked_crc(message));
        let all = fields(message);
        let of = |wanted: u64| all.iter().find(|(number, ..)| *number == wanted);
        let wall = f64::from_le_bytes(of(1).unwrap().2.try_into().unwrap());
        assert!(wall > 1.7e9, "{wall} is before this was written");
        let step = of(2).map_or(0, |(_, step, _)| *step);
        events.push(match (of(3), of(5), of(7)) {
            (Some((.., version)), None, None) => {
                Event::Version(String::from_utf8(version.to_vec()).unwrap())
            }
            (None, Some((.., summary)), None) => {
                let scalar = |(number, _, value): (u64, u64, &[u8])| {
                    let value = fields(value);
                    let [(1, _, tag), (2, _, number_)] = value[..] else {
                        panic!("{number}: {value:?}");
                    };
                    let tag = String::from_utf8(tag.to_vec()).unwrap();
                    (tag, f32::from_le_bytes(number_.try_into().unwrap()))
                };
                Event::Scalars(step, fields(summary).into_iter().map(scalar).collect())
            }
            (None, None, Some((.., log))) => {
                assert_eq!(fields(log), [(1, 1, &[][..])], "START");
                Event::Start(step)
            }
            other => panic!("{other:?}"),
        });
        if end {
            return events;
        }
    }
}

/// What TensorBoard shows of the event files in a folder: a start takes back the steps from its own on.
fn shown(place: &Place, run: &str) -> Vec<(u64, Vec<(String, f32)>)> {
    let mut shown: Vec<(u64, Vec<_>)> = Vec::new();
    let mut files = place.names(run);
    files.retain(|name| name.contains("tfevents"));
    for file in files {
        let events = events(&place.read(&format!("{run}/{file}")));
        assert_eq!(events[0], Event::Version("brain.Event:2".to_owned()));
        assert!(matches!(events[1], Event::Start(_)), "{:?}", events[1]);
        for event in events.into_iter().skip(1) {
            match event {
                Event::Start(from) => shown.retain(|(step, _)| *step < from),
                Event::Scalars(step, scalars) => shown.push((step, scalars)),
                Event::Version(version) => panic!("{version} again"),
            }
        }
    }
    shown
}

/// The same from `metrics.jsonl` and `summary.json`.
fn written(place: &Place, run: &str) -> Vec<(u64, Vec<(String, f32)>)> {
    let scalars = |from: &Value, names: &[(&str, &str)]| -> Vec<(String, f32)> {
        let scalar = |(tag, field): &(&str, &str)| {
            let value = from[*field].as_f64()?;
            Some(((*tag).to_owned(), value as f32))
        };
        names.iter().filter_map(scalar).collect()
    };
    let names = [
        ("loss/training", "loss"),
        ("loss/training_mean", "loss_mean"),
        ("learning_rate", "lr"),
        ("loss/validation", "val_loss"),
    ];
    let rows = rows(&place.text(&format!("{run}/metrics.jsonl")));
    let mut written: Vec<_> = rows
        .iter()
        .map(|row| (row["step"].as_u64().unwrap(), scalars(row, &names)))
        .collect();
    let summary = place.json(&format!("{run}/summary.json"));
    let names = [
        ("final/train", "train_loss"),
        ("final/val", "val_loss"),
        ("final/test", "test_loss"),
    ];
    written.push((
        summary["steps"].as_u64().unwrap(),
        scalars(&summary, &names),
    ));
    written
}

#[test]
fn tensorboard_gets_what_is_written_down() {
    let place = Place::new();
    let begun = ["--checkpoint-every", "10", "--lr-decay-at", "10"];
    let train = |options: &[&str]| place.train(&[&begun[..], options].concat());
    let further = |run: &str, options: &[&str]| {
        let args = ["train", "--resume", run, "--steps", "40"];
        place.succeed(&[&args[..], options].concat());
    };
    train(&[
        "--steps",
        "40",
        "--eval-every",
        "7",
        "--tensorboard",
        "--out",
        "whole",
    ]);
    let whole = shown(&place, "whole");
    assert_eq!(whole, written(&place, "whole"));
    assert_eq!(whole.len(), 4 + 9 + 1, "{whole:?}");
    assert_eq!(whole.last().unwrap().1.len(), 3);

    // A run that is continued has no step twice, and takes the option over.
    train(&[
        "--steps",
        "20",
        "--eval-every",
        "7",
        "--tensorboard",
        "--out",
        "further",
    ]);
    further("further", &[]);
    assert_eq!(shown(&place, "further"), whole);
    let files = place.names("further").join(" ");
    assert_eq!(files.matches("tfevents").count(), 2, "{files}");

    // One that had no event file before gets its whole curve.
    train(&["--steps", "20", "--eval-every", "7", "--out", "late"]);
    assert!(!place.names("late").join(" ").contains("tfevents"));
    further("late", &["--tensorboard"]);
    assert_eq!(shown(&place, "late"), whole);
}

// ---------------------------------------------------------------------------------------- compare

/// Three runs: `a`, finished; `b`, with another rate and size, of which the end is gone; `c`, diverged.
fn three_runs() -> Place {
    let place = Place::new();
    place.train(&["--out", "a"]);
    let other = ["--lr", "0.2", "--n-hidden", "24", "--eval-every", "7"];
    place.train(&[&other[..], &["--steps", "40", "--out", "b"]].concat());
    fs::remove_file(place.path().join("b/summary.json")).unwrap();
    let output = place.run(&train(&["--lr", "1e30", "--out", "c"]));
    assert_eq!(output.status.code(), Some(1));
    place
}

#[test]
fn runs_are_put_side_by_side() {
    let place = three_runs();
    let lines = place.succeed(&[
        "compare",
        "a",
        "b/last.safetensors",
        "c",
        "--out",
        "abc.png",
    ]);
    let row = |label: &str| -> Vec<String> {
        let line = lines
            .iter()
            .find(|line| line.trim_start().starts_with(label));
        let line = line.unwrap_or_else(|| panic!("no {label} in {lines:#?}"));
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(row("--steps"), ["30", "40", "unknown"]);
    assert_eq!(row("--lr "), ["0.1", "0.2", "1e30"]);
    assert_eq!(row("--n-hidden"), ["16", "24", "16"]);
    assert_eq!(row("--eval-every"), ["not", "given", "7", "unknown"]);
    for same in [
        "--seed",
        "--batch-size",
        "--log-every",
        "--data",
        "--backend",
        "words",
    ] {
        let found = lines
            .iter()
            .find(|line| line.trim_start().starts_with(same));
        assert_eq!(found, None);
    }
    let summary = place.json("a/summary.json");
    for (label, field) in [
        ("train", "train_loss"),
        ("val", "val_loss"),
        ("test", "test_loss"),
    ] {
        assert_eq!(
            row(label),
            [&four_digits(&summary[field]), "-", "-"],
            "{label}"
        );
    }
    assert_eq!(row("device"), ["CPU", "CPU", "-"]);
    let text = lines.join("\n");
    for part in [
        "b: not finished at step 40 of 40",
        "c: diverged; its last good model is of step",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.ends_with("the curves are in abc.png"), "{text}");

    let image = png::Decoder::new(io::Cursor::new(place.read("abc.png")));
    let mut image = image.read_info().unwrap();
    let mut pixels = vec![0; image.output_buffer_size().unwrap()];
    image.next_frame(&mut pixels).unwrap();
    // Of the third, nothing is finite; the legend has its dash.
    for (colour, least) in [
        ([0x1f, 0x77, 0xb4], 300),
        ([0xff, 0x7f, 0x0e], 300),
        ([0x2c, 0xa0, 0x2c], 10),
    ] {
        let rgb = pixels.as_chunks::<3>().0;
        let count = rgb.iter().filter(|pixel| **pixel == colour).count();
        assert!(count >= least, "{count} pixels of {colour:?}");
    }
}

#[test]
fn a_comparison_is_json_if_asked_for() {
    let place = three_runs();
    let lines = place.succeed(&["compare", "a", "b", "--json"]);
    let report: Value = serde_json::from_str(&lines.join("\n")).unwrap();
    let differences = ["n_hidden", "steps", "lr", "lr_final", "lr_decay_at"];
    let intervals = ["checkpoint_every", "eval_every"];
    let expected = [&differences[..], &intervals].concat();
    assert_eq!(report["differences"], serde_json::json!(expected));
    assert_eq!(report["picture"], "compare.png");
    assert!(place.read("compare.png").starts_with(b"\x89PNG"));
    let [a, b] = [0, 1].map(|i| &report["runs"][i]);
    let summary = place.json("a/summary.json");
    for field in [
        "train_loss",
        "val_loss",
        "test_loss",
        "steps_per_second",
        "adapter",
    ] {
        assert_eq!(a[field], summary[field], "{field}");
    }
    assert_eq!((&a["name"], &a["state"]), (&"a".into(), &"finished".into()));
    assert_eq!(a["options"]["n_hidden"], 16);
    assert_eq!(
        (&b["state"], &b["steps_done"]),
        (&"unfinished".into(), &40.into())
    );
    assert_eq!(
        (&b["val_loss"], &b["options"]["eval_every"]),
        (&Value::Null, &7.into())
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = three_runs();
    fs::create_dir(place.path().join("empty")).unwrap();
    for (runs, code, parts) in [
        (
            &["a"][..],
            2,
            &["1 runs were given", "2 to 20", "`eval`"][..],
        ),
        (&["a"; 21], 2, &["21 runs were given"]),
        (&["a", "./a/model.safetensors"], 2, &["./a was given twice"]),
        (&["a", "none"], 1, &["there is no run none"]),
        (&["a", "empty"], 1, &["empty is no run"]),
        (&["a", "words.txt"], 1, &["words.txt is no run"]),
        (&["a", "a/metrics.jsonl"], 1, &["a/metrics.jsonl is no run"]),
    ] {
        let args = [&["compare"], runs].concat();
        place.refuse(&args, code, parts);
    }
    let metrics = place.text("b/metrics.jsonl");
    let damage = |text: String, parts: &[&str]| {
        place.write("b/metrics.jsonl", text);
        place.refuse(&["compare", "a", "b"], 1, parts);
    };
    let third = metrics.lines().nth(2).unwrap();
    let bad = "{\"step\": }                                               ";
    damage(
        metrics.replace(third, bad),
        &["b/metrics.jsonl is damaged: line 3 "],
    );
    damage(
        metrics[..60].to_owned(),
        &["b/metrics.jsonl is damaged: it has 60 bytes"],
    );
    // What a killed run was about to write does not count.
    place.write("b/metrics.jsonl", metrics + "{\"st");
    place.succeed(&["compare", "a", "b"]);
    place.write("a/summary.json", "{}");
    place.refuse(
        &["compare", "a", "b"],
        1,
        &["cannot read a/summary.json: missing field"],
    );
}

/// Whatever the rate is, it falls.
#[test]
fn the_last_rate_is_a_tenth_of_the_first_unless_it_is_given() {
    let place = Place::new();
    for (out, options, last) in [
        ("small", &["--lr", "0.001"][..], 0.0001),
        ("odd", &["--lr", "0.7"], 0.07),
        ("zero", &["--lr", "0"], 0.0),
        ("given", &["--lr", "0.001", "--lr-final", "0.01"], 0.01),
        ("lecture", &[], 0.01),
    ] {
        let lines = place.train(&[&["--out", out], options].concat());
        let summary = place.json(&format!("{out}/summary.json"));
        assert_eq!(summary["lr_final"], last, "{out}");
        assert_eq!(
            place
                .checkpoint(&format!("{out}/model.safetensors"))
                .config
                .recipe
                .lr_final,
            last
        );
        let rows = training_rows(&place.text(&format!("{out}/metrics.jsonl")));
        assert_eq!(rows.last().unwrap()["lr"], last, "{out}");
        let line = format!("from step 15 on {last:?};");
        assert!(lines.iter().any(|l| l.contains(&line)), "{out}: {lines:?}");
    }
}

/// In a sweep, each model has its own.
#[test]
fn the_last_rates_of_a_sweep_follow_the_first() {
    let place = Place::new();
    let sweep = |options: &[&'static str]| {
        let common = "sweep --backend cpu --data words.txt --n-hidden 4 --steps 10";
        let args: Vec<&str> = common.split(' ').chain(options.iter().copied()).collect();
        place.run(&args)
    };
    let rates = |out: &str| -> Vec<(f64, f64)> {
        let manifest = place.json(&format!("{out}/sweep.json"));
        let points = manifest["points"].as_array().unwrap();
        let rate = |point: &Value, name: &str| point[name].as_f64().unwrap();
        points
            .iter()
            .map(|point| (rate(point, "lr"), rate(point, "lr_final")))
            .collect()
    };
    succeeded(&sweep(&["--lr", "0.1,0.001", "--out", "follows"]));
    assert_eq!(rates("follows"), [(0.1, 0.01), (0.001, 0.0001)]);
    let given = ["--lr", "0.1,0.001", "--lr-final", "0.01", "--out", "given"];
    succeeded(&sweep(&given));
    assert_eq!(rates("given"), [(0.1, 0.01), (0.001, 0.01)]);
    // Another sweep, and refused as such. With the rate that its manifest has, it is continued.
    let parts = ["--lr-final is 0.01 there and a tenth of --lr now"];
    failed(&sweep(&["--lr", "0.1,0.001", "--out", "given"]), 1, &parts);
    succeeded(&sweep(&given));
    // With a single rate, the default is the number.
    succeeded(&sweep(&["--seeds", "2", "--out", "seeds"]));
    assert_eq!(place.json("seeds/sweep.json")["grid"]["--lr-final"], "0.01");
    // What follows from another option has no column and no plot of its own.
    let report = place.succeed(&["sweep", "report", "follows"]);
    assert!(
        !report.iter().any(|line| line.contains("lr_final")),
        "{report:?}"
    );
    let drawn = ["--lr", "0.01..0.3:log", "--random", "3", "--out", "drawn"];
    succeeded(&sweep(&drawn));
    for (lr, lr_final) in rates("drawn") {
        assert!(
            (lr_final * 10.0 / lr - 1.0).abs() < 1e-12,
            "{lr} {lr_final}"
        );
    }
}

#[test]
fn there_are_twenty_rows_unless_another_number_is_asked_for() {
    let place = Place::new();
    for (steps, apart) in [("1000", 50), ("19", 1), ("21", 2)] {
        let args = [
            "train",
            "--backend",
            "cpu",
            "--data",
            "words.txt",
            "--n-hidden",
            "4",
        ];
        place.succeed(&[&args[..], &["--steps", steps, "--out", steps]].concat());
        let rows = training_rows(&place.text(&format!("{steps}/metrics.jsonl")));
        let found: Vec<u64> = rows.iter().map(|r| r["step"].as_u64().unwrap()).collect();
        let all: Vec<u64> = (0..steps.parse().unwrap()).step_by(apart).collect();
        assert_eq!(found, all);
    }
}

#[test]
fn train_sums_the_run_up() {
    let (place, lines) = lecture();
    let summary = place.json("a/b/summary.json");
    for (field, value) in [
        ("steps", Value::from(500)),
        ("seed", Value::from(2_147_483_647_u64)),
        ("vocab_size", Value::from(27)),
        ("block_size", Value::from(3)),
        ("n_embd", Value::from(10)),
        ("n_hidden", Value::from(200)),
        ("batch_size", Value::from(32)),
        ("parameters", Value::from(12_297)),
        ("backend", Value::from("cpu")),
        ("version", Value::from(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(summary[field], value, "{field}");
    }
    for field in ["adapter", "driver"] {
        assert!(!summary[field].as_str().unwrap().is_empty(), "{field}");
    }
    let number = |field: &str| summary[field].as_f64().unwrap();
    for field in ["train_loss", "val_loss", "test_loss"] {
        assert!((2.0..3.0).contains(&number(field)), "{field}");
    }
    // Nothing is compiled on the CPU.
    assert!((0.0..0.1).contains(&number("setup_seconds")), "{summary}");
    let speed = number("steps") / number("seconds");
    assert!((number("steps_per_second") / speed - 1.0).abs() < 1e-6);
    for (split, field) in [("train", "train_loss"), ("val  ", "val_loss")] {
        let line = format!("{split} {}", four_digits(&summary[field]));
        assert!(lines.contains(&line), "{line}");
    }
}

#[test]
fn train_draws_the_loss_and_leaves_five_files() {
    let (place, lines) = lecture();
    let image = png::Decoder::new(io::Cursor::new(place.read("a/b/loss.png")));
    let mut image = image.read_info().unwrap();
    assert_eq!((image.info().width, image.info().height), (960, 540));
    let mut pixels = vec![0; image.output_buffer_size().unwrap()];
    image.next_frame(&mut pixels).unwrap();
    let rgb = pixels.as_chunks::<3>().0;
    let blue = rgb.iter().filter(|p| **p == [0x1f, 0x77, 0xb4]).count();
    assert!(blue > 500, "a curve has more than {blue} pixels");

    let last = lines.last().unwrap();
    assert!(
        last.contains("a/b") && last.ends_with("model.safetensors"),
        "{last}"
    );
    let model = place.checkpoint("a/b/model.safetensors");
    assert_eq!(model.config.recipe.steps, 500);
    let files =
        "best.safetensors last.safetensors loss.png metrics.jsonl model.safetensors summary.json";
    let names = place.names("a/b").join(" ");
    assert_eq!(names, files, "and no temporary file");
}

/// Rows further apart have the mean of those in between.
#[test]
fn loss_mean_covers_every_step_since_the_row_before() {
    let place = Place::new();
    place.train(&["--out", "each", "--log-every", "1"]);
    place.train(&["--out", "tens", "--log-every", "10"]);
    let [each, tens] =
        ["each", "tens"].map(|out| training_rows(&place.text(&format!("{out}/metrics.jsonl"))));
    assert_eq!((each.len(), tens.len()), (30, 3));
    for (i, row) in tens.iter().enumerate().skip(1) {
        let losses = &each[10 * i - 9..=10 * i];
        let sum: f64 = losses.iter().map(|r| r["loss"].as_f64().unwrap()).sum();
        assert!((row["loss_mean"].as_f64().unwrap() - sum / 10.0).abs() < 1e-6);
        assert_eq!(row["loss"], each[10 * i]["loss"]);
    }
}

#[test]
fn without_out_the_folder_is_named_after_the_time() {
    let place = Place::new();
    place.train(&[]);
    let lines = place.train(&[]);
    let runs = place.names("runs");
    assert_eq!(runs.len(), 2, "a folder for each run: {runs:?}");
    for run in &runs {
        let shape = run[..19].replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00_00-00-00");
        place.checkpoint(&format!("runs/{run}/model.safetensors"));
    }
    let last = lines.last().unwrap();
    assert!(runs.iter().any(|run| last.contains(run)), "{last}");
}

#[test]
fn a_folder_with_other_files_can_be_used() {
    let place = Place::new();
    fs::create_dir(place.path().join("notes")).unwrap();
    place.write("notes/plan.txt", "train");
    place.train(&["--out", "notes"]);
    assert_eq!(place.text("notes/plan.txt"), "train");
    place.checkpoint("notes/model.safetensors");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let place = Place::new();
    for out in ["first", "second"] {
        place.train(&["--out", out]);
    }
    place.train(&["--out", "other", "--seed", "1"]);
    let [first, second, other] =
        ["first", "second", "other"].map(|out| place.read(&format!("{out}/model.safetensors")));
    assert!(first == second);
    assert!(first != other);
    let [first, second] =
        ["first", "second"].map(|out| place.read(&format!("{out}/metrics.jsonl")));
    assert!(first == second);
}

#[test]
fn the_municipalities_train() {
    let place = Place::new();
    let lines = place.train(&["--data", "municipalities", "--out", "towns"]);
    let vocabulary = "vocabulary  29: . -abcdefghijklmnopqrstuvwxyz";
    assert!(lines.iter().any(|line| line == vocabulary), "{lines:?}");
    assert_eq!(place.json("towns/summary.json")["vocab_size"], 29);
    let lines = place.succeed(&eval("towns", &["--split", "all"]));
    assert_eq!(evaluated(&lines)[0].2, 106_404);
}

/// The same words give the same model, however they are written down.
#[test]
fn the_form_of_the_file_makes_no_difference() {
    let place = Place::new();
    let words = words();
    place.write(
        "dos.txt",
        format!("\u{feff}\r\n{}", words.join("\r\n\r\n  ")),
    );
    let records: String = (1..)
        .zip(&words)
        .map(|(id, word)| format!("{id},\"{word}\",x\r\n"))
        .collect();
    place.write(
        "table.csv",
        format!("\u{feff}id,word,note\r\n\r\n{records}"),
    );
    // A name that does not end in .csv: --column says what it is.
    place.write("table", format!("word,n\n{},1", words.join(",1\n")));

    place.train(&["--out", "plain"]);
    let plain = place.checkpoint("plain/model.safetensors");
    let cases: [&[&str]; 3] = [
        &["--data", "dos.txt"],
        &["--data", "table.csv", "--column", "word"],
        &["--data", "table", "--column", "word"],
    ];
    for (i, options) in cases.into_iter().enumerate() {
        let out = format!("out{i}");
        place.train(&[&["--out", &out], options].concat());
        let model = place.checkpoint(&format!("{out}/model.safetensors"));
        assert!(model.params == plain.params, "{options:?}");
        assert!(model.bnmean == plain.bnmean && model.bnvar == plain.bnvar);
        let [of_plain, of_model] =
            ["plain", &out].map(|out| place.json(&format!("{out}/summary.json")));
        assert_eq!(of_model["test_loss"], of_plain["test_loss"]);
        // The checkpoint remembers the column as well.
        place.succeed(&eval(&out, &[]));
    }
}

// ----------------------------------------------------------------------------------- divergence

#[test]
fn a_run_that_diverges_keeps_the_last_good_model() {
    let place = Place::new();
    // All is well until step 10, whose update is absurd.
    let schedule = ["--lr-decay-at", "10", "--lr-final", "1e30"];
    let args = train(&[&["--steps", "500", "--out", "out"], &schedule[..]].concat());
    let output = place.run(&args);
    let cause = "the loss is NaN at step 11 with learning rate 1e30";
    let parts = [cause, "try a smaller --lr", "last-good.safetensors"];
    failed(&output, 1, &parts);
    let good = place.checkpoint("out/last-good.safetensors");
    let steps = good.config.recipe.steps;
    assert!((1..=10).contains(&steps), "{steps}");
    let message = stderr(&output);
    assert!(
        message.contains(&format!("after {steps} steps")),
        "{message}"
    );
    // It is as good as said: its loss is that of a model which has hardly learnt.
    let lines = place.succeed(&eval("out/last-good.safetensors", &[]));
    for (split, loss, _) in evaluated(&lines) {
        assert!((3.0..3.6).contains(&loss), "{split} {loss}");
    }
    for file in ["out/model.safetensors", "out/summary.json", "out/loss.png"] {
        assert!(!place.path().join(file).exists(), "{file}");
    }
}

/// From the first update on there is nothing to keep; if the message names a model all the same,
/// it can be loaded.
#[test]
fn a_run_that_diverges_at_once_names_no_model_that_is_not_there() {
    let place = Place::new();
    let output = place.run(&train(&["--lr", "1e30", "--out", "out"]));
    let cause = "training diverged: the loss is NaN at step 1 with learning rate 1e30";
    failed(&output, 1, &[cause, "try a smaller --lr"]);
    if stderr(&output).contains("last-good") {
        place.succeed(&eval("out/last-good.safetensors", &[]));
    } else {
        assert!(!place.path().join("out/last-good.safetensors").exists());
    }
}

/// Every number is finite, and the model is of no use: the loss has risen by orders of magnitude.
#[test]
fn a_run_that_ends_far_above_the_untrained_model_has_diverged() {
    let place = Place::new();
    let output = place.run(&train(&["--lr", "50", "--steps", "500", "--out", "out"]));
    let parts = [
        "training diverged: after 500 steps the loss over the training set is ",
        "and that of the untrained model was 3.",
        "try a smaller --lr than 50.0",
        "The last good model, after 0 steps, is in out/last-good.safetensors",
    ];
    failed(&output, 1, &parts);
    let files = "best.safetensors last-good.safetensors metrics.jsonl";
    assert_eq!(place.names("out").join(" "), files);
    let lines = place.succeed(&eval("out/last-good.safetensors", &[]));
    for (split, loss, _) in evaluated(&lines) {
        assert!((3.0..3.6).contains(&loss), "{split} {loss}");
    }

    // All is well for 400 steps, and one of the checkpoints is kept.
    let late = ["--lr-decay-at", "400", "--lr-final", "50", "--steps", "500"];
    let output = place.run(&train(&[&late[..], &["--out", "late"]].concat()));
    failed(&output, 1, &["training diverged", "than 50.0"]);
    let good = place.checkpoint("late/last-good.safetensors");
    assert!(
        (50..=400).contains(&good.config.recipe.steps),
        "{}",
        good.config.recipe.steps
    );
    let lines = place.succeed(&eval("late/last-good.safetensors", &[]));
    for (split, loss, _) in evaluated(&lines) {
        assert!((2.0..2.9).contains(&loss), "{split} {loss}");
    }
}

/// On the way the loss rises to several times that of the untrained model, and comes down again.
#[test]
fn a_run_that_recovers_has_not_diverged() {
    let place = Place::new();
    let high = ["--lr", "10", "--n-hidden", "16", "--steps", "4000"];
    place.train(&[&high[..], &["--log-every", "100", "--out", "out"]].concat());
    let rows = training_rows(&place.text("out/metrics.jsonl"));
    let losses = rows.iter().map(|row| row["loss_mean"].as_f64().unwrap());
    let highest = losses.fold(0.0, f64::max);
    assert!(highest > 7.0, "{highest}");
    // Nor has one that was not trained at all, or hardly.
    place.train(&["--lr", "0", "--out", "zero"]);
    // This one is far up after 30 steps, as the first of them overshoot, and trained after 20,000.
    let hardly = ["--lr", "0.3", "--batch-size", "2", "--n-hidden", "1000"];
    place.train(&[&hardly[..], &["--out", "hardly"]].concat());
    let loss = place.json("hardly/summary.json")["train_loss"].as_f64();
    assert!(loss.unwrap() > 11.0, "{loss:?}");
    for steps in ["1", "5", "20"] {
        for lr in ["0.1", "0.3"] {
            let out = format!("{steps}-{lr}");
            place.train(&[
                "--lr",
                lr,
                "--batch-size",
                "2",
                "--steps",
                steps,
                "--out",
                &out,
            ]);
        }
    }
}

/// A sweep says of the same models that they diverged.
#[test]
fn a_sweep_has_the_same_idea_of_divergence() {
    let place = Place::new();
    let args =
        "sweep --backend cpu --data words.txt --n-hidden 16 --steps 500 --lr 0.1,50 --out out";
    let args: Vec<&str> = args.split(' ').collect();
    place.succeed(&args);
    let records = rows(&place.text("out/results.jsonl"));
    for record in records {
        let bad = record["options"]["lr"] == 50.0;
        assert_eq!(record["status"], if bad { "diverged" } else { "done" });
        assert_eq!(record["val_loss"].is_null(), bad);
        if bad {
            let what = record["diverged"].as_str().unwrap();
            let part = "in the end, and that of the untrained model was 3.";
            assert!(what.contains(part), "{what}");
        }
    }
}

// ------------------------------------------------------------------------------ eval and sample

/// The lines of `eval` that have a loss, without those about its set-up.
fn losses(lines: &[String]) -> Vec<&String> {
    let with_loss = |line: &&String| line.ends_with(" examples)");
    lines.iter().filter(with_loss).collect()
}

/// Split, loss and number of examples, from the lines of `eval`.
#[track_caller]
fn evaluated(lines: &[String]) -> Vec<(&str, f64, usize)> {
    losses(lines)
        .into_iter()
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let count = fields[2].trim_start_matches('(');
            (
                fields[0],
                fields[1].parse().unwrap(),
                count.parse().unwrap(),
            )
        })
        .collect()
}

#[test]
fn eval_gives_the_losses_of_the_training() {
    let place = Place::with_model();
    let summary = place.json("old/summary.json");
    let expected = [
        ("train", "train_loss", 1794),
        ("val", "val_loss", 223),
        ("test", "test_loss", 232),
    ];
    // The folder of the run, or the file in it.
    for checkpoint in ["old", "old/model.safetensors"] {
        let lines = place.succeed(&eval(checkpoint, &[]));
        let expected = expected.map(|(split, field, count)| {
            let loss = four_digits(&summary[field]);
            format!("{split:<7} {loss}  ({count} examples)")
        });
        assert_eq!(losses(&lines), expected.each_ref());
    }
    // All the examples together have the mean of the three losses, by their numbers.
    let lines = place.succeed(&eval("old", &["--split", "all"]));
    let [(split, loss, count)] = evaluated(&lines)[..] else {
        panic!("{lines:?}");
    };
    assert_eq!((split, count), ("all", 1794 + 223 + 232));
    let sum = expected.map(|(_, field, count)| summary[field].as_f64().unwrap() * f64::from(count));
    let mean = sum.iter().sum::<f64>() / count as f64;
    assert!((loss - mean).abs() < 1e-4, "{loss} {mean}");
}

/// Words in another order are split otherwise: a validation loss would be one over words of the training.
#[test]
fn eval_splits_only_the_words_of_the_training() {
    let place = Place::with_model();
    fs::copy(place.path().join("words.txt"), place.path().join("moved")).unwrap();
    let moved = place.succeed(&eval("old", &["--data", "moved", "--split", "val"]));
    assert_eq!(evaluated(&moved)[0].2, 223);

    let mut sorted = words();
    sorted.sort_unstable();
    place.write("sorted", sorted.join("\n"));
    for split in ["train", "val", "test"] {
        place.refuse(
            &eval("old", &["--data", "sorted", "--split", split]),
            1,
            &[
                "sorted: are not the words",
                &format!("its {split} split"),
                "--split all",
            ],
        );
    }
    let all = place.succeed(&eval("old", &["--data", "sorted"]));
    let [("all", _, 2249)] = evaluated(&all)[..] else {
        panic!("{all:?}");
    };
    assert!(
        all.iter()
            .any(|line| line.ends_with("so they are not split")),
        "{all:?}"
    );
    // Changed in place is changed.
    place.write("words.txt", sorted.join("\n"));
    place.refuse(
        &eval("old", &["--split", "val"]),
        1,
        &["words.txt: are not the words"],
    );
}

/// Words from a pipe, with what there is to say of them.
#[test]
fn standard_input_is_read() {
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"))
        .args([
            "train",
            "--backend",
            "cpu",
            "--data",
            "-",
            "--steps",
            "10",
            "--out",
            "piped",
        ])
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!(
        "\u{feff}{}\r\n\r\n#x\r\nRene\u{301}\r\n",
        words().join("\r\n")
    );
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let wanted = "1 word with accents composed (NFC), 1 line that begins with '#' kept as a word";
    assert!(printed.contains(wanted), "{printed}");
    assert!(printed.contains(", 1 empty\n"), "{printed}");
}

#[test]
fn sample_gives_the_names_of_the_training() {
    let place = Place::new();
    let lines = place.train(&["--out", "run"]);
    assert_eq!(place.succeed(&sample("run", &[])), names_of(&lines));
    // Its seed is that of the training and 10, as in the lecture.
    let lines = place.train(&["--seed", "5", "--out", "five"]);
    assert_eq!(
        place.succeed(&sample("five", &["--seed", "15"])),
        names_of(&lines)
    );
}

#[test]
fn sample_does_what_its_options_say() {
    let place = Place::with_model();
    let names = |options: &[&str]| place.succeed(&sample("old", options));
    let twenty = names(&[]);
    assert_eq!(names(&[]), twenty, "a seed gives the same names");
    assert_eq!(names(&["-n", "3"]), twenty[..3]);
    assert_eq!(names(&["-n", "25"])[..20], twenty);
    assert_ne!(names(&["--seed", "1"]), twenty);
    assert_ne!(names(&["--temperature", "0.5"]), twenty);
    // At this temperature only the likeliest letter is left, whatever the seed.
    let cold = ["--temperature", "1e-30", "-n", "1", "--seed"];
    let [one, two] = ["1", "2"].map(|seed| names(&[&cold[..], &[seed]].concat()));
    assert_eq!(one, two);
    let prefixed = names(&["--prefix", "anne"]);
    assert_eq!(prefixed.len(), 20);
    assert!(prefixed.iter().all(|name| name.starts_with("anne")));
    assert!(prefixed.iter().any(|name| name.len() > 4));
    // Options that change nothing leave every bit.
    let same = [
        "--top-k",
        "1000",
        "--min-len",
        "0",
        "--max-len",
        "1000",
        "--temperature",
        "1",
    ];
    assert_eq!(names(&same), twenty);
    // The likeliest characters, whatever the seed.
    let likeliest = names(&["--temperature", "0", "-n", "2"]);
    assert_eq!(likeliest[0], likeliest[1]);
    assert_eq!(
        likeliest,
        names(&["--top-k", "1", "-n", "2", "--seed", "7"])
    );
    assert_eq!(likeliest, names(&["--temperature", "1e-300", "-n", "2"]));
    let lengths = |options: &[&str]| -> BTreeSet<usize> {
        names(options).iter().map(|name| name.len()).collect()
    };
    assert!(
        lengths(&["-n", "500"]).contains(&0),
        "the lecture's empty names"
    );
    assert!(!lengths(&["-n", "500", "--min-len", "1"]).contains(&0));
    let between = [
        "-n",
        "100",
        "--min-len",
        "2",
        "--max-len",
        "4",
        "--prefix",
        "a",
    ];
    assert_eq!(lengths(&between), [2, 3, 4].into());
    for (options, parts) in [
        (
            &["--min-len", "3", "--max-len", "2"][..],
            &["--min-len 3", "--max-len 2"][..],
        ),
        (
            &["--prefix", "anna", "--max-len", "3"],
            &["--prefix has 4", "--max-len", "3"],
        ),
        (&["--data", "names"], &["--data", "--new", "--json"]),
        (&["--column", "name"], &["--column", "--new", "--json"]),
        (&["--clean"], &["--clean", "--new", "--json"]),
    ] {
        place.refuse(&sample("old", options), 2, parts);
    }
}

/// A model of ten short words, which it draws often; eight of them are those it was trained on.
#[test]
fn sample_knows_the_words_of_the_training() {
    let place = Place::new();
    let ten = "ab\nba\na\nb\naa\nbb\naab\nabb\nbab\nbaa\n";
    place.write("ten.txt", ten);
    place.train(&["--data", "ten.txt", "--out", "old"]);
    let source = data::Source::Bytes {
        name: "ten.txt",
        bytes: ten.as_bytes(),
        format: data::Format::Detect,
    };
    let options = data::Options {
        source,
        ..data::Options::default()
    };
    let dataset = data::load(&options).unwrap();
    let tokens: Vec<Token> = dataset.train.y().collect();
    let words = tokens.split(|&token| token == 0);
    let known: BTreeSet<String> = words
        .filter(|word| !word.is_empty())
        .map(|word| text(&dataset.vocab, word))
        .collect();
    assert_eq!(known.len(), 8);

    let names = |more: &[&'static str]| {
        let options = [&["-n", "100", "--min-len", "1"], more].concat();
        place.succeed(&sample("old", &options))
    };
    let all = names(&[]);
    let new = names(&["--new"]);
    let wanted: Vec<&String> = all.iter().filter(|name| !known.contains(*name)).collect();
    // Neither all of the names are known nor none, and two words of the file are not.
    assert!((1..100).contains(&wanted.len()), "{all:?}");
    assert!(
        new.iter().any(|name| ten.lines().any(|word| word == name)),
        "{new:?}"
    );
    assert_eq!(new.len(), 100);
    assert!(new.iter().zip(&wanted).all(|(new, wanted)| new == *wanted));
    assert!(!new.iter().any(|name| known.contains(name)));
    let unique = names(&["--unique"]);
    assert_eq!(unique.iter().collect::<BTreeSet<_>>().len(), 100);
    assert!(unique.iter().any(|name| known.contains(name)));
    // Other words.
    place.write("other.txt", format!("{ten}{}", "aaaa\n".repeat(9)));
    assert_ne!(names(&["--new", "--data", "other.txt"]), new);

    // As JSON the same names, with what the model thinks of them.
    for (line, name) in names(&["--json"]).iter().zip(&all) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["name"], **name);
        assert_eq!(line["training_word"], known.contains(name));
        let [p, log] = ["probability", "log_probability"].map(|f| line[f].as_f64().unwrap());
        assert!(0.0 < p && p < 1.0 && (p.ln() - log).abs() < 1e-9, "{line}");
    }

    // What cannot be done ends, and has printed what there is.
    let short = ["", "a", "b"].iter().filter(|name| !known.contains(**name));
    for (options, printed, parts) in [
        (
            &["--temperature", "0", "--unique", "-n", "2"][..],
            1,
            [" of 2 names: the name is left out", "leave out --unique"],
        ),
        (
            &["--max-len", "1", "--unique", "--new", "-n", "9"],
            short.count(),
            [
                " of 9 names: none of 10000 draws",
                "leave out --new or --unique",
            ],
        ),
    ] {
        let output = place.run(&sample("old", options));
        assert_eq!(stdout(&output).lines().count(), printed);
        let only = format!("only {printed}");
        failed(&output, 1, &[&[&only[..]], &parts[..]].concat());
    }

    // The words are gone.
    fs::remove_file(place.path().join("ten.txt")).unwrap();
    let parts = ["--new", "ten.txt", "no such file", "--data"];
    place.refuse(&sample("old", &["--new"]), 1, &parts);
    let lines = names(&["--json"]);
    assert!(lines[0].ends_with("\"training_word\":null}"), "{lines:?}");
    place.refuse(
        &sample("old", &["--json", "--data", "none.txt"]),
        1,
        &["none.txt"],
    );
}

// --------------------------------------------------------------------- whoever reads the output

/// What `gpu-makemore train | head -1` does: the reader leaves, and the training goes on.
#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::with_model();
    let help = vec!["--help"];
    let commands = [
        train(&["--out", "out"]),
        eval("old", &[]),
        sample("old", &[]),
        vec!["show", "old"],
        vec!["completions", "bash"],
        help,
    ];
    for args in commands {
        // A pipe whose reader has left before the program starts: its first line fails already.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = place.command(&args).stdout(writer).output().unwrap();
        assert_eq!(succeeded(&output), [""; 0]);
    }
    place.checkpoint("out/model.safetensors");

    // A reader that leaves after the first line, long before the last.
    let mut command = place.command(&train(&["--steps", "5000", "--out", "long"]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    assert!(first.starts_with("device "), "{first}");
    succeeded(&child.wait_with_output().unwrap());
    assert_eq!(
        place
            .checkpoint("long/model.safetensors")
            .config
            .recipe
            .steps,
        5000
    );
}

// ---------------------------------------------------------------------------- what a model is

/// The rows that have ratios, by step.
fn ratio_rows(text: &str) -> Vec<Value> {
    let mut rows = rows(text);
    rows.retain(|row| !row["ratios"].is_null());
    rows
}

#[test]
fn ratios_are_recorded_beside_the_same_training() {
    let place = Place::with_model();
    place.train(&["--ratios-every", "7", "--out", "new"]);
    for file in ["model.safetensors", "loss.png"] {
        let [old, new] = ["old", "new"].map(|run| place.read(&format!("{run}/{file}")));
        assert!(old == new, "{file} is another one");
    }
    let text = place.text("new/metrics.jsonl");
    let ratios = ratio_rows(&text);
    let steps: Vec<&Value> = ratios.iter().map(|row| &row["step"]).collect();
    assert_eq!(steps, [0, 7, 14, 21, 28]);
    let mut others = rows(&text);
    others.retain(|row| row["ratios"].is_null());
    assert_eq!(others, rows(&place.text("old/metrics.jsonl")));
    // All rows lie in the order of their steps.
    let steps = rows(&text).into_iter().map(|row| row["step"].as_u64());
    assert!(steps.is_sorted(), "{text}");
    for (tensor, ratio) in ratios[1]["ratios"].as_object().unwrap() {
        let number = |name: &str| ratio[name].as_f64().unwrap();
        let [grad, data] = ["grad_std", "data_std"].map(number);
        assert!((number("grad_to_data") / (grad / data) - 1.0).abs() < 1e-9);
        let update = (f64::from(0.1_f32) * grad / data).log10();
        assert!((number("log10_update_to_data") - update).abs() < 1e-9);
        // All but b1, whose gradient is rounding, move by about a thousandth.
        let moves = (-4.5..-1.0).contains(&update);
        assert_eq!(moves, tensor != "b1", "{tensor}: {update}");
    }
    // A run that is continued has the rows of one that is not.
    place.train(&[
        "--ratios-every",
        "7",
        "--steps",
        "15",
        "--lr-decay-at",
        "15",
        "--out",
        "cut",
    ]);
    place.succeed(&[
        "train",
        "--backend",
        "cpu",
        "--resume",
        "cut",
        "--steps",
        "30",
    ]);
    assert_eq!(ratio_rows(&place.text("cut/metrics.jsonl")), ratios);
}

/// `show` of this path, as JSON.
#[track_caller]
fn show_json(place: &Place, args: &[&str]) -> Value {
    let lines = place.succeed(&[&["show", "--json"], args].concat());
    serde_json::from_str(&lines.join("\n")).unwrap()
}

/// The pictures that are said to be written; each is one.
#[track_caller]
fn pictures(place: &Place, shown: &Value) -> Vec<String> {
    let pictures = shown["pictures"].as_array().unwrap().iter();
    pictures
        .map(|path| {
            let path = path.as_str().unwrap();
            let bytes = place.read(path);
            let mut reader = png::Decoder::new(io::Cursor::new(bytes))
                .read_info()
                .unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            let (rgb, _) = pixels.as_chunks::<3>();
            assert!(
                rgb.iter().any(|pixel| *pixel != [255; 3]),
                "{path} is blank"
            );
            path.to_owned()
        })
        .collect()
}

#[test]
fn show_tells_what_a_run_is_and_draws_it() {
    let place = Place::new();
    place.train(&["--ratios-every", "10", "--n-embd", "3", "--out", "run"]);
    let lines = place.succeed(&["show", "run"]);
    let line = |name: &str| {
        let found = lines
            .iter()
            .find(|line| line.split_whitespace().next() == Some(name));
        found.unwrap_or_else(|| panic!("no {name} in {lines:#?}"))
    };
    assert!(line("model").contains("run/model.safetensors; written 20"));
    let model = place.checkpoint("run/model.safetensors");
    let dims = model.config.dims();
    let expected = format!("embd 3, hidden 16: {} parameters", dims.parameter_count());
    assert!(line("sizes").ends_with(&expected));
    assert!(line("made").contains("30 steps with --backend cpu (CPU; "));
    assert!(
        line("choices").ends_with(
            "the lecture's, but for --n-embd 3 --n-hidden 16 --steps 30 --data words.txt"
        )
    );
    assert!(line("vocabulary").contains(": .abc"));
    assert!(
        !lines.iter().any(|line| line.starts_with("left out")),
        "{lines:#?}"
    );

    let shown = show_json(&place, &["run"]);
    let files = ["embeddings", "tanh-histogram", "tanh-saturation", "ratios"];
    assert_eq!(
        pictures(&place, &shown),
        files.map(|name| format!("run/{name}.png"))
    );
    let summary = place.json("run/summary.json");
    for split in ["train", "val", "test"] {
        assert_eq!(shown["losses"][split], summary[format!("{split}_loss")]);
    }
    assert_eq!(shown["recorded_ratios"], 3);
    let first = &shown["tensors"][0];
    let sum: f64 = model.params.c.iter().map(|&value| f64::from(value)).sum();
    let mean = sum / model.params.c.len() as f64;
    assert!(
        (first["mean"].as_f64().unwrap() - mean).abs() < 1e-12,
        "{first}"
    );
    assert_eq!(
        (&first["name"], &first["shape"][0], &first["shape"][1]),
        (&"C".into(), &27.into(), &3.into())
    );
    let found = &shown["activations"];
    let examples = data_examples(&place);
    assert_eq!(found["examples"], examples);
    assert!(
        (0.2..1.0).contains(&found["std"].as_f64().unwrap()),
        "{found}"
    );
    // Where the words are when the run is seen from elsewhere is in its checkpoint.
    fs::create_dir(place.path().join("below")).unwrap();
    let mut elsewhere = place.command(&["show", "../run", "--out", "pictures"]);
    elsewhere.current_dir(place.path().join("below"));
    let lines = succeeded(&elsewhere.output().unwrap());
    assert!(
        !lines.iter().any(|line| line.starts_with("left out")),
        "{lines:#?}"
    );
    let names = place.names("below/pictures");
    assert_eq!(names.len(), 4, "{names:?}");
}

/// Training examples of `words.txt`, as `train` counts them.
fn data_examples(place: &Place) -> usize {
    let lines = place.train(&["--steps", "1", "--out", "counted"]);
    let line = lines.iter().find(|line| line.starts_with("data ")).unwrap();
    let count = line.split("; ").nth(1).unwrap();
    count.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn show_says_what_it_cannot_draw_and_why() {
    let place = Place::with_model();
    let left_out = |shown: &Value| -> Vec<String> {
        let all = shown["left_out"].as_array().unwrap().iter();
        all.map(|left| format!("{}: {}", left["pictures"][0], left["why"]))
            .collect()
    };
    let has = |found: &Value, parts: &[&str]| {
        let found = left_out(found);
        assert_eq!(found.len(), parts.len(), "{found:?}");
        for (found, part) in found.iter().zip(parts) {
            assert!(found.contains(part), "no {part:?} in {found}");
        }
    };
    // A run without a record of ratios; and a model from elsewhere.
    has(
        &show_json(&place, &["old"]),
        &["no record of them; `train --ratios-every N`"],
    );
    let old = place.checkpoint("old/model.safetensors");
    place.write("plain.safetensors", plain(&old, Dtype::F32, &["bnmean"]));
    let found = show_json(&place, &["plain.safetensors"]);
    has(&found, &["--data does", "in the folder of a run"]);
    assert_eq!(pictures(&place, &found), ["plain-embeddings.png"]);
    assert_eq!(found["vocabulary"], Value::Null);
    // With its words it is as before.
    let found = show_json(
        &place,
        &["plain.safetensors", "--data", "words.txt", "--out", "out"],
    );
    assert_eq!(pictures(&place, &found).len(), 3);
    assert_eq!(
        found["activations"],
        show_json(&place, &["old"])["activations"]
    );
    // A checkpoint of the run beside the finished model.
    let found = show_json(&place, &["old/last.safetensors"]);
    assert_eq!(pictures(&place, &found)[0], "old/last-embeddings.png");
    assert_eq!(found["made"]["steps"], 30);
    assert!(found["losses"]["val"].is_number(), "{found}");
    // Other words in the file, and none at all; then --data can still name some.
    place.write("words.txt", words()[1..].join("\n"));
    let found = show_json(&place, &["old"]);
    has(&found, &["words.txt has other words now", "no record"]);
    assert_eq!(found["activations"], Value::Null);
    fs::rename(
        place.path().join("words.txt"),
        place.path().join("others.txt"),
    )
    .unwrap();
    has(
        &show_json(&place, &["old"]),
        &["words.txt: no such file", "no record"],
    );
    let found = show_json(&place, &["old", "--data", "others.txt"]);
    has(&found, &["no record"]);
    let note = found["notes"][0].as_str().unwrap();
    assert!(note.starts_with("--data has other words"), "{note}");
    // A run that is not finished.
    fs::remove_file(place.path().join("old/model.safetensors")).unwrap();
    let found = show_json(&place, &["old"]);
    assert_eq!(found["model"], "old/last.safetensors");

    place.refuse(&["show", "none"], 1, &["none", "there is no such file"]);
    place.refuse(
        &["show", "others.txt"],
        1,
        &["others.txt", "give the path of a model.safetensors"],
    );
    let parts = ["plain.safetensors", "27 rows", "others.txt"];
    place.write("others.txt", "ab\nba\na\nb\naa\nbb\naab\nabb\nbab\nbaa\n");
    place.refuse(
        &["show", "plain.safetensors", "--data", "others.txt"],
        1,
        &parts,
    );
}

#[test]
fn help_and_version_go_to_stdout() {
    let place = Place::new();
    let version = format!("gpu-makemore {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.succeed(&["-V"]), [version.as_str()]);
    let long = place.succeed(&["--version"]);
    assert_eq!(long.len(), 3, "{long:?}");
    assert_eq!(long[0], version);
    // What the tests were linked with stands in the same lock file.
    let lock = include_str!("../Cargo.lock");
    let (_, after) = lock.split_once("name = \"wgpu\"\nversion = \"").unwrap();
    let wgpu = after.split('"').next().unwrap();
    assert_eq!(long[1], format!("wgpu {wgpu}"));
    let target = long[2].strip_prefix("built for ").unwrap();
    assert!(target.starts_with(std::env::consts::ARCH), "{target}");
    assert!(target.split('-').count() >= 3, "{target}");
    let help = place.succeed(&["--help"]).join("\n");
    for command in [
        "train",
        "eval",
        "sample",
        "show",
        "adapters",
        "shaders",
        "page",
        "completions",
        "man",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    for (command, option) in [
        ("train", "--lr-decay-at"),
        ("eval", "--split"),
        ("sample", "--temperature"),
        ("show", "--json"),
        ("adapters", "--help"),
        ("shaders", "<DIR>"),
        ("train", "--shaders"),
    ] {
        let help = place.succeed(&[command, "--help"]).join("\n");
        assert!(help.contains(option), "{help}");
    }
}

/// However wide the terminal is, or if there is none: lines of at most 80 columns, for a narrower pager
/// would break them inside words.
#[test]
fn help_fits_eighty_columns() {
    let place = Place::new();
    for command in [
        "",
        "train",
        "compare",
        "sweep",
        "sweep report",
        "eval",
        "sample",
        "show",
        "gradcheck",
        "adapters",
        "shaders",
        "page",
        "completions",
        "man",
    ] {
        for help in ["-h", "--help"] {
            let args: Vec<&str> = command.split_whitespace().chain([help]).collect();
            for columns in [None, Some("200")] {
                let mut command = place.command(&args);
                match columns {
                    Some(columns) => command.env("COLUMNS", columns),
                    None => command.env_remove("COLUMNS"),
                };
                for line in succeeded(&command.output().unwrap()) {
                    assert!(line.chars().count() <= 80, "{args:?}: {line}");
                }
            }
        }
    }
}

#[test]
fn help_tells_the_ranges_of_sizes() {
    let place = Place::new();
    for command in ["train", "sweep", "gradcheck"] {
        let help = place.succeed(&[command, "--help"]).join("\n");
        for range in ["[2 to 4096]", "[1 to 16]", "[1 to 128]", "[1 to 2048]"] {
            assert!(help.contains(range), "{command}: no {range} in {help}");
        }
    }
}

// --------------------------------------------------------------------- completions and man pages

/// What bash offers for the last word of a command line, in any order.
#[cfg(unix)]
fn completed(place: &Place, words: &[&str]) -> BTreeSet<String> {
    // What bash does when somebody presses the tab key: it looks up the function, and calls it with the words.
    const PRESS: &str = r#"
        source completions
        read -ra how < <(complete -p gpu-makemore)
        for ((i = 0; i < ${#how[@]}; i++)); do
            [ "${how[i]}" = -F ] && function=${how[i + 1]}
        done
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "$function" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        [ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", PRESS, "bash", "gpu-makemore"]);
    let output = bash.args(words).current_dir(place.path()).output().unwrap();
    succeeded(&output).into_iter().collect()
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_options_and_values() {
    let place = Place::new();
    let script = place.succeed(&["completions", "bash"]).join("\n");
    place.write("completions", script);
    for (words, offered) in [
        (&["tr"][..], &["train"][..]),
        (&["sh"], &["shaders", "show"]),
        (&["train", "--lr-"], &["--lr-decay-at", "--lr-final"]),
        (&["train", "--backend", "vu"], &["vulkan"]),
        (&["gradcheck", "--schedule", "a"], &["all", "auto"]),
        (&["sweep", "rep"], &["report"]),
        (&["learn", "check", "--j"], &["--json"]),
        (&["completions", "z"], &["zsh"]),
        (&["--vers"], &["--version"]),
        (&["train", "--nothing"], &[]),
    ] {
        let offered = offered.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(completed(&place, words), offered, "{words:?}");
    }
    let files = completed(&place, &["train", "--data", "wor"]);
    assert!(files.contains("words.txt"), "{files:?}");
}

#[test]
fn every_shell_has_completions_that_name_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.succeed(&["completions", shell]).join("\n");
        for word in ["gpu-makemore", "gradcheck", "report", "lr-decay-at"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
}

#[test]
fn man_pages_are_written_and_replaced() {
    let place = Place::new();
    let first = place.succeed(&["man", "share/man1"]);
    let pages = place.names("share/man1");
    assert_eq!(
        first[0],
        format!("{} man pages are in share/man1", pages.len())
    );
    for page in [
        "gpu-makemore.1",
        "gpu-makemore-train.1",
        "gpu-makemore-learn-check.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "{page}: {pages:?}");
    }
    let train = place.text("share/man1/gpu-makemore-train.1");
    for part in [
        "\n.TH \"gpu-makemore-train\" 1 \"\" \"gpu-makemore ",
        "\\-\\-lr\\-decay\\-at",
        "[2 to 4096]",
    ] {
        assert!(train.contains(part), "no {part} in {train}");
    }
    // Those of another version are replaced, whatever else they say.
    let old = train
        .lines()
        .next()
        .unwrap()
        .replace(env!("CARGO_PKG_VERSION"), "0.0.1");
    place.write("share/man1/gpu-makemore-train.1", old);
    place.succeed(&["man", "share/man1"]);
    assert_eq!(place.text("share/man1/gpu-makemore-train.1"), train);
}

#[test]
fn man_pages_replace_no_other_files() {
    let place = Place::new();
    fs::create_dir(place.path().join("man1")).unwrap();
    place.write("man1/gpu-makemore-train.1", "mine");
    place.refuse(
        &["man", "man1"],
        1,
        &[
            "gpu-makemore-train.1 is there already",
            "nothing was written",
        ],
    );
    place.refuse(&["man", "words.txt"], 1, &["words.txt is not a folder"]);
    place.refuse(
        &["man", "words.txt/below"],
        1,
        &["words.txt/below is not a folder"],
    );
}

/// By whichever of the programs that show man pages are here.
#[cfg(unix)]
#[test]
fn man_pages_are_free_of_mistakes() {
    let place = Place::new();
    place.succeed(&["man", "man1"]);
    let programs = [
        ("groff", "-ww -man -Kutf8 -Tutf8 -z"),
        ("mandoc", "-T lint -W error"),
    ];
    let mut shown = 0;
    for (program, options) in programs {
        let mut command = Command::new(program);
        command.args(options.split(' '));
        command.current_dir(place.path().join("man1"));
        let Ok(output) = command.args(place.names("man1")).output() else {
            continue; // not installed
        };
        shown += 1;
        let said = [stdout(&output), stderr(&output)].concat();
        assert_eq!(said, "", "{program}");
    }
    if shown == 0 {
        eprintln!("neither groff nor mandoc is installed; nothing was checked");
    }
}

// --------------------------------------------------------------------------------------- the page

#[cfg(not(feature = "page"))]
#[test]
fn a_program_without_the_page_says_how_to_get_it() {
    let place = Place::new();
    place.refuse(
        &["page"],
        1,
        &[
            "without the page",
            "web/build",
            "--features page",
            "web/serve",
        ],
    );
}
