//! Thousands of command lines that nobody would type: whatever the options, the program ends by
//! itself, with exit code 0, 1 or 2, and with one line that says what was wrong.
//!
//! Case N is the same command line every time. `GPU_MAKEMORE_CASES=100000` runs that many of them,
//! `GPU_MAKEMORE_CASES=123..124` one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gpu_makemore::rng::TorchGenerator;
use rand::RngExt;

/// Cases without `GPU_MAKEMORE_CASES`.
const CASES: Range<usize> = 0..500;
/// Cases of the long test: some seventy seconds on two cores.
const MANY_CASES: Range<usize> = 0..10_000;
/// A case that takes longer hangs. The slowest open a software GPU and compile kernels.
const TIME: Duration = Duration::from_secs(60);

// ------------------------------------------------------------------------------------- chance

/// What a case is made of.
struct Chance(TorchGenerator);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

// -------------------------------------------------------------------------------- the options

/// What an option takes.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    /// One of these values, or a number that makes no sense.
    Number(&'static [&'static str]),
    /// As above, or a list or a range of them.
    Numbers(&'static [&'static str]),
    /// One of these words, or another.
    Word(&'static [&'static str]),
    /// A file that is read.
    Input(&'static [&'static str]),
    /// A file or a folder that is written.
    Output(&'static [&'static str]),
    /// Any text.
    Text(&'static [&'static str]),
}

use Takes::{Input, Nothing, Number, Numbers, Output, Text, Word};

type Options = &'static [(&'static str, Takes)];

/// The largest number that is read; the options that have it here are not those that cost time.
const MOST: &str = "18446744073709551615";

const DATA: Takes = Input(&["words.txt", "words.txt", "words.txt", "towns.csv"]);
const MODEL: Takes = Input(&[
    "model",
    "model/model.safetensors",
    "model",
    "bent.safetensors",
    "sweep",
]);
const SEED: Takes = Number(&["0", "1", "42", "4294967296", MOST]);
const LR: &[&str] = &[
    "0.1", "0", "1e-45", "1e-320", "5", "1e30", "3e38", ".5", "+0.1",
];
const BATCH: &[&str] = &["2", "3", "32", "33"];
const BLOCK: &[&str] = &["1", "2", "3", "5"];
const EMBD: &[&str] = &["1", "2", "10"];
const HIDDEN: &[&str] = &["1", "2", "8", "17"];
const STEPS: &[&str] = &["1", "2", "3", "5"];
const OUT: Takes = Output(&["out", "out/a/b", "out2", "./out", "sub/../out"]);

/// Which words, and how they are read.
const READING: Options = &[
    ("--data", DATA),
    ("--column", Text(&["name", "province", "1", "2"])),
    ("--delimiter", Text(&[",", ";", "tab", "，"])),
    ("--no-header", Nothing),
    ("--as-text", Nothing),
    (
        "--encoding",
        Text(&["utf-8", "latin1", "shift_jis", "utf-16le"]),
    ),
    ("--skip-bad-lines", Nothing),
    ("--lowercase", Nothing),
    ("--clean", Nothing),
];
const TRAIN: Options = &[
    ("--schedule", Word(&["auto"])),
    ("--steps", Number(STEPS)),
    ("--batch-size", Number(BATCH)),
    ("--block-size", Number(BLOCK)),
    ("--n-embd", Number(EMBD)),
    ("--n-hidden", Number(HIDDEN)),
    ("--lr", Number(LR)),
    ("--lr-final", Number(LR)),
    ("--lr-decay-at", Number(&["0", "1", "2", MOST])),
    ("--seed", SEED),
    ("--log-every", Number(&["1", "2", "1000", MOST])),
    ("--out", OUT),
    ("--out", OUT),
    ("--checkpoint-every", Number(&["1", "2", MOST])),
    ("--eval-every", Number(&["1", "2", MOST])),
    ("--tensorboard", Nothing),
    ("--ratios-every", Number(&["1", "2", MOST])),
    (
        "--resume",
        Output(&["out", "sub/../out", "model", "stopped"]),
    ),
    ("--init-from", MODEL),
    ("--profile", Nothing),
    ("--adapter", Text(&["llvmpipe", "x", "2"])),
];
const SWEEP: Options = &[
    ("--schedule", Word(&["auto"])),
    ("--seeds", Numbers(&["1", "2", "3"])),
    ("--lr", Numbers(LR)),
    ("--lr-final", Numbers(LR)),
    ("--lr-decay-at", Number(&["0", "1", MOST])),
    ("--n-hidden", Numbers(HIDDEN)),
    ("--n-embd", Numbers(EMBD)),
    ("--block-size", Numbers(BLOCK)),
    ("--batch-size", Numbers(BATCH)),
    ("--steps", Numbers(STEPS)),
    ("--random", Number(&["1", "2", "3", "100001", MOST])),
    ("--sweep-seed", SEED),
    (
        "--shard",
        Text(&["1/1", "1/2", "2/2", "3/7", "1/18446744073709551615"]),
    ),
    ("--width", Number(&["1", "2", "65535"])),
    ("--keep", Number(&["0", "1", "2", MOST])),
    ("--out", Output(&["out", "out", "sweep", "sweep"])),
    ("--adapter", Text(&["llvmpipe", "x", "2"])),
];
const REPORT: Options = &[
    (
        "--png",
        Output(&["plot.png", "out/plot.png", "words.txt", "sub/plot.png"]),
    ),
    (
        "--csv",
        Output(&["table.csv", "out/table.csv", "words.txt", "sub/table.csv"]),
    ),
    (
        "",
        Input(&[
            "sweep",
            "sweep",
            "sweep",
            "./sweep",
            "sweep/../sweep",
            "bent-sweep",
        ]),
    ),
    ("", Input(&["sweep", "bent-sweep"])),
];
const COMPARE: Options = &[
    ("", Input(&["model", "model/model.safetensors", "stopped"])),
    ("", Input(&["stopped", "stopped/last.safetensors", "sweep"])),
    (
        "--out",
        Output(&["plot.png", "out/plot.png", "words.txt", "sub/plot.png"]),
    ),
    ("--json", Nothing),
];
const EVAL: Options = &[
    ("--checkpoint", MODEL),
    ("--split", Word(&["train", "val", "test", "all"])),
    ("--adapter", Text(&["llvmpipe", "x", "2"])),
];
const SAMPLE: Options = &[
    ("--checkpoint", MODEL),
    ("-n", Number(&["1", "2", "20"])),
    ("--prefix", Text(&["a", "an", "anna", ".", ""])),
    (
        "--temperature",
        Number(&["1", "0", "0.1", "1e-38", "1e-45", "3e38", "10"]),
    ),
    ("--seed", SEED),
    ("--top-k", Number(&["1", "2", "5", "1000"])),
    ("--min-len", Number(&["0", "1", "3", "1000"])),
    ("--max-len", Number(&["1", "4", "1000"])),
    ("--unique", Nothing),
    ("--new", Nothing),
    ("--json", Nothing),
];
const SHOW: Options = &[("", MODEL), ("--out", OUT), ("--json", Nothing)];
const SHADERS: Options = &[("", Output(&["out", "out/a/b", "kernels", "bad-kernels"]))];
const COMPLETIONS: Options = &[("", Word(&["bash", "zsh", "fish", "powershell", "elvish"]))];
const MAN: Options = &[("", Output(&["out", "out/a/b", "kernels"]))];
/// On the CPU they are refused, so not many cases have them.
const KERNELS: Takes = Input(&["kernels", "bad-kernels"]);
const GRADCHECK: Options = &[
    ("--init-from", MODEL),
    ("--seed", SEED),
    ("--batch-size", Number(BATCH)),
    ("--block-size", Number(BLOCK)),
    ("--n-embd", Number(EMBD)),
    ("--n-hidden", Number(HIDDEN)),
    ("--exercise", Word(&["1", "2", "3", "extras"])),
    ("--out", Output(&["out", "out/a/b"])),
    (
        "--against",
        Input(&["mine.safetensors", "mine.safetensors", "bent.safetensors"]),
    ),
    (
        "--explain",
        Word(&["bnvar", "C", "dlogits", "h", "logprobs"]),
    ),
    ("--schedule", Word(&["auto", "staged", "resident", "all"])),
    (
        "--tuning",
        Word(&["staged:invocations=1", "resident:workers=32", "staged"]),
    ),
    ("--verbose", Nothing),
    ("--json", Nothing),
    ("--adapter", Text(&["llvmpipe", "x", "2"])),
];

/// Sizes at the upper end of their ranges, one at a time: they take a while.
const LARGE: &[(&str, &str)] = &[
    ("--batch-size", "4096"),
    ("--block-size", "16"),
    ("--n-embd", "128"),
    ("--n-hidden", "2048"),
];

const NO_NUMBERS: &[&str] = &[
    "",
    " ",
    "-0",
    "-1",
    "1.5",
    "1e3",
    "1e999",
    "-1e999",
    "NaN",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "infinity",
    "0x10",
    "1_000",
    "１２",
    "٣",
    "½",
    "1,5",
    "1;2",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999",
    "-18446744073709551616",
    "1/2",
    "ten",
    "--",
    "-",
    "=",
    "\u{202e}1",
    "1\n",
    "\t1",
    "1 ",
    " 1",
    "1e",
    "e1",
    ".",
    "-.5",
    "true",
    "null",
    "💥",
    "%s",
    "$(reboot)",
    "*",
    "--steps",
    "-n",
    "1.0.0",
    "0.1.",
];
const LISTS: &[&str] = &[
    ",",
    ",,",
    "1,",
    ",1",
    "1,,2",
    "1,1",
    "1,2,1.0",
    "1..",
    "..",
    "..1",
    "1..1",
    "2..1",
    "1..2",
    "0..1",
    "1..2:log",
    "0..2:log",
    "1,2:log",
    "0,1:log",
    ":log",
    "1:log",
    "1:log:log",
    "1..2..3",
    "1..NaN",
    "NaN..1",
    "0.1..0.2",
    "0.1..0.1000001",
    "1e-45..3e38:log",
    "1, 2",
    "1 ,2",
    "inf,1",
    "1...2",
    "1..=2",
    "1..18446744073709551616",
];
const TEXTS: &[&str] = &[
    "",
    " ",
    "name ",
    "Name",
    "ñ",
    "é\u{301}",
    "💥",
    "\u{0}x",
    "\u{1b}[31m",
    "a\nb",
    "\r",
    "\t",
    "--",
    "-",
    "-x",
    "--help",
    "\"",
    "'",
    "\\",
    "a,b",
    "\u{202e}",
    "\u{feff}",
    "NULL",
    "0/0",
    "0/1",
    "2/1",
    "1/",
    "/1",
    "1/1/1",
    "-1/2",
    "18446744073709551616/1",
    "..",
];
const BAD_INPUTS: &[&str] = &[
    "none",
    "",
    " ",
    ".",
    "/",
    "sub",
    "empty",
    "zeros.bin",
    "model",
    "model/loss.png",
    "words.txt/below",
    "loop",
    "broken-link",
    "none/none",
    "/dev/null",
    "/proc/self/mem",
    "/proc/self/environ",
    "~",
    "*",
    "-",
    "--",
    "bent.safetensors",
    "mine.safetensors",
    "words.txt",
    "semicolons.csv",
    "quote.csv",
    "utf16.txt",
    "wörds 💥.txt",
    "sweep",
    "sweep/sweep.json",
    "sweep/results.jsonl",
    "names ",
    "Names",
    "./names",
    "\u{1b}[31m",
    "a\nb",
];
// Nothing outside the folder of the case: these are written.
const BAD_OUTPUTS: &[&str] = &[
    "",
    " ",
    ".",
    "sub",
    "empty",
    "model",
    "words.txt",
    "words.txt/below",
    "loop",
    "broken-link",
    "/proc/none",
    "none/none",
    "-",
    "~",
    "*",
    "wörds 💥",
    "a\nb",
    "\u{1b}[31m",
    "sweep",
    "out",
];
const STRANGERS: &[&str] = &[
    "--steps",
    "--lr",
    "--nothing",
    "-x",
    "-n",
    "--",
    "-",
    "",
    "report",
    "help",
    "--help",
    "-h",
    "--version",
    "-V",
    "--checkpoint",
    "💥",
    "--=",
    "---",
    "--n_hidden=3",
    "--N-HIDDEN",
    "-nn",
    "-n5",
    "--json=1",
    "--clean=yes",
    "@words.txt",
    "/",
    "\u{1b}[31m",
    "--backend",
];

/// A value that an option may take, or one that it may not.
fn value(takes: Takes, chance: &mut Chance) -> OsString {
    let odd = chance.once_in(12);
    if odd && chance.once_in(6) {
        return strange(chance);
    }
    let text = match takes {
        Nothing => unreachable!("it has no value"),
        Number(_) if odd => chance.of(NO_NUMBERS).to_owned(),
        Numbers(_) if odd => {
            let pool = if chance.once_in(2) { NO_NUMBERS } else { LISTS };
            chance.of(pool).to_owned()
        }
        Word(_) | Text(_) if odd => chance.of(TEXTS).to_owned(),
        Input(_) if odd => chance.of(BAD_INPUTS).to_owned(),
        Output(_) if odd => chance.of(BAD_OUTPUTS).to_owned(),
        Numbers(good) => {
            let (a, b) = (chance.of(good), chance.of(good));
            match chance.below(16) {
                0..4 if a != b => format!("{a},{b}"),
                4 => format!("{a}..{b}"),
                5 if a != b => format!("{a},{b}:log"),
                _ => a.to_owned(),
            }
        }
        Number(good) | Word(good) | Input(good) | Output(good) | Text(good) => {
            chance.of(good).to_owned()
        }
    };
    // The operating system takes no zeros in an argument.
    text.replace('\0', "").into()
}

/// Not UTF-8, or very long.
fn strange(chance: &mut Chance) -> OsString {
    match chance.below(4) {
        0 => "x".repeat(chance.of(&[255, 256, 4096, 100_000])).into(),
        1 => "9".repeat(chance.of(&[20, 400, 50_000])).into(),
        2 => "1,".repeat(chance.of(&[100, 20_000])).into(),
        _ => not_utf8(),
    }
}

#[cfg(unix)]
fn not_utf8() -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(b"w\xff\xferds".to_vec())
}

#[cfg(not(unix))]
fn not_utf8() -> OsString {
    "\u{fffd}".into()
}

/// The arguments of a case.
fn arguments(case: usize) -> Vec<OsString> {
    let chance = &mut Chance(TorchGenerator::manual_seed(case as u64));
    if chance.once_in(50) {
        // No command at all, or none that there is.
        let count = chance.below(4);
        return (0..count).map(|_| chance.of(STRANGERS).into()).collect();
    }
    let (command, options): (&[&str], &[Options]) = chance.of(&[
        (&["train"][..], &[READING, TRAIN][..]),
        (&["train"], &[READING, TRAIN]),
        (&["train"], &[READING, TRAIN]),
        (&["sweep"], &[READING, SWEEP]),
        (&["sweep"], &[READING, SWEEP]),
        (&["sweep", "report"], &[REPORT]),
        (&["compare"], &[COMPARE]),
        (&["eval"], &[READING, EVAL]),
        (&["sample"], &[READING, SAMPLE]),
        (&["sample"], &[READING, SAMPLE]),
        (&["show"], &[READING, SHOW]),
        (&["gradcheck"], &[READING, GRADCHECK]),
        (&["shaders"], &[SHADERS]),
        (&["completions"], &[COMPLETIONS]),
        (&["man"], &[MAN]),
    ]);
    if chance.once_in(500) {
        return vec!["adapters".into()];
    }
    // `page` is left out: it serves until it is interrupted.
    let mut args: Vec<OsString> = command.iter().map(OsString::from).collect();
    let mut given: Vec<&str> = Vec::new();
    let mut add = |name: &'static str, value: Option<OsString>, chance: &mut Chance| match value {
        None => args.push(name.into()),
        Some(value) if name.is_empty() => args.push(value),
        Some(value) if chance.once_in(3) && name.starts_with("--") => {
            let mut both = OsString::from(name);
            both.push("=");
            both.push(value);
            args.push(both);
        }
        Some(value) => args.extend([name.into(), value]),
    };
    let large = chance.once_in(60).then(|| chance.of(LARGE));
    for &(name, takes) in options.iter().copied().flatten() {
        let needed = matches!(name, "--checkpoint" | "" | "--data") && !chance.once_in(20);
        let wanted = needed || chance.once_in(if command.len() == 2 { 2 } else { 4 });
        // Twice is wrong, and rare.
        if !wanted || (given.contains(&name) && !name.is_empty() && !chance.once_in(20)) {
            continue;
        }
        given.push(name);
        let text = match (takes, large) {
            (Input(_), None) if name == "--data" && chance.once_in(20) => {
                Some(chance.of(&["names", "municipalities"]).into())
            }
            (Nothing, _) => None,
            (Number(_) | Numbers(_), Some((size, most))) if size == name => Some(most.into()),
            (Input(_), Some(_)) if name == "--data" => Some("words.txt".into()),
            _ => Some(value(takes, chance)),
        };
        add(name, text, chance);
    }
    // What would take long, or a GPU, is left to a few.
    let device = matches!(command, ["train"] | ["sweep"] | ["eval"] | ["gradcheck"]);
    if device {
        let backend = match chance.below(300) {
            0 => chance.of(&["vulkan", "auto"]),
            1..10 => chance.of(&["metal", "dx12", "none", "", "CPU"]),
            _ => "cpu",
        };
        add("--backend", Some(backend.into()), chance);
        if command != ["eval"] && chance.once_in(25) {
            let folder = value(KERNELS, chance);
            add("--shaders", Some(folder), chance);
        }
    }
    if matches!(command, ["train"] | ["sweep"]) {
        for (name, value) in [("--steps", "2"), ("--data", "words.txt")] {
            if !given.contains(&name) {
                add(name, Some(value.into()), chance);
            }
        }
    }
    if chance.once_in(25) {
        let at = chance.below(args.len() + 1);
        args.insert(at, chance.of(STRANGERS).into());
    }
    args
}

// ---------------------------------------------------------------------------------- the place

/// A folder to run the program in, with something of everything that it reads.
struct Place {
    folder: tempfile::TempDir,
    before: Listing,
}

/// Every file and folder below one, with the length of a file and the time of its last change.
type Listing = BTreeMap<PathBuf, Option<(u64, SystemTime)>>;

fn listing(folder: &Path) -> Listing {
    let mut found = Listing::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap(); // of a link, not of what it leads to
            let file = if metadata.is_dir() {
                folders.push(entry.path());
                None
            } else {
                Some((metadata.len(), metadata.modified().unwrap()))
            };
            found.insert(entry.path(), file);
        }
    }
    found
}

impl Place {
    fn new() -> Self {
        // In memory where that is to be had: the program waits for the disk after each file.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.unwrap();
        let mut place = Self {
            folder,
            before: Listing::new(),
        };
        place.fill();
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("here")
    }

    /// Makes the folder anew.
    fn fill(&mut self) {
        let here = self.path();
        let _ = fs::remove_dir_all(&here);
        fs::create_dir_all(here.join("sub")).unwrap();
        let write = |name: &str, content: &[u8]| fs::write(here.join(name), content).unwrap();
        let words: Vec<&str> = include_str!("../data/names.txt")
            .lines()
            .step_by(500)
            .collect();
        let rows: Vec<String> = words
            .iter()
            .map(|word| format!("\"A, B\",{word}\n"))
            .collect();
        let lines = words.join("\n");
        write("words.txt", lines.as_bytes());
        write("wörds 💥.txt", lines.as_bytes());
        write(
            "towns.csv",
            format!("province,name\n{}", rows.concat()).as_bytes(),
        );
        write("semicolons.csv", b"province;name\nA;b\n");
        write("quote.csv", b"name\n\"b\n");
        write("utf16.txt", b"\xff\xfea\0\n\0");
        write("zeros.bin", &[0; 100]);
        write("empty", b"");
        write(
            "mine.safetensors",
            include_bytes!("fixtures/step_tiny.safetensors"),
        );
        #[cfg(unix)]
        for (link, to) in [("loop", "loop"), ("broken-link", "nowhere")] {
            std::os::unix::fs::symlink(to, here.join(link)).unwrap();
        }
        for args in [
            "train --out model --n-hidden 8",
            "sweep --out sweep --seeds 2 --lr 0.1,0.2 --keep 1 --n-hidden 2",
        ] {
            let args: Vec<&str> = args.split(' ').collect();
            let device = ["--backend", "cpu", "--data", "words.txt", "--steps", "2"];
            let output = program(&here).args(args).args(device).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let made = program(&here)
            .args(["shaders", "kernels"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::create_dir(here.join("bad-kernels")).unwrap();
        write("bad-kernels/tanh.wgs", b"x");
        let mut model = fs::read(here.join("model/model.safetensors")).unwrap();
        *model.last_mut().unwrap() ^= 1;
        write("bent.safetensors", &model);
        // A run that was stopped: its best checkpoint has all that it takes to go on.
        fs::create_dir(here.join("stopped")).unwrap();
        fs::copy(
            here.join("model/best.safetensors"),
            here.join("stopped/last.safetensors"),
        )
        .unwrap();
        fs::create_dir(here.join("bent-sweep")).unwrap();
        fs::copy(
            here.join("sweep/sweep.json"),
            here.join("bent-sweep/sweep.json"),
        )
        .unwrap();
        let results = fs::read(here.join("sweep/results.jsonl")).unwrap();
        write("bent-sweep/results.jsonl", &results[..results.len() - 10]);
        self.before = listing(&here);
    }

    /// Runs a case; what is wrong with how it ended, or the command and its exit code.
    fn run(&mut self, args: &[OsString]) -> Result<u8, String> {
        let said = self.folder.path().join("stderr");
        let mut child = program(&self.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .map_err(|e| format!("it did not start: {e}"))?;
        let start = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > TIME => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    return Err(format!("it did not end within {TIME:?}"));
                }
                None => thread::sleep(Duration::from_micros(500)),
            }
        };
        let stderr = fs::read(&said).unwrap();
        let text = String::from_utf8_lossy(&stderr);
        let shown: String = text.chars().take(1000).collect();
        let after = listing(&self.path());
        let changed = after != self.before;
        if changed {
            self.tidy(&after);
        }
        let Some(code @ 0..=2) = status.code() else {
            return Err(format!("it ended with {status}: {shown}"));
        };
        if text.contains("panicked") {
            return Err(format!("it panicked: {shown}"));
        }
        let line = text.strip_suffix('\n').unwrap_or("two\nlines");
        let told = line.starts_with("error: ") && !line.contains(char::is_control);
        // Without a command there is the help.
        let helped = code == 2 && text.contains("Usage: ");
        if code != 0 && !told && !helped {
            return Err(format!("exit code {code} with other than a line: {shown}"));
        }
        if code == 2 && changed {
            return Err(format!("wrong usage, and it left something: {shown}"));
        }
        Ok(code as u8)
    }

    /// Takes away what a case has written.
    fn tidy(&mut self, after: &Listing) {
        if self
            .before
            .iter()
            .any(|(path, file)| file.is_some() && after.get(path) != Some(file))
        {
            return self.fill();
        }
        for path in after.keys().filter(|path| !self.before.contains_key(*path)) {
            // The folders come before what is in them.
            let gone = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
            gone.or_else(|e| if path.exists() { Err(e) } else { Ok(()) })
                .unwrap();
        }
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
    command.env("GPU_MAKEMORE_TUNE", "off");
    command.current_dir(folder);
    command
}

// ----------------------------------------------------------------------------------- the test

fn cases() -> Range<usize> {
    let Ok(text) = std::env::var("GPU_MAKEMORE_CASES") else {
        return CASES;
    };
    let number = |text: &str| -> usize {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("GPU_MAKEMORE_CASES is {text}: give N or FROM..TO"))
    };
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// The command line for a person to try.
fn shown(args: &[OsString]) -> String {
    let args: Vec<String> = args
        .iter()
        .map(|arg| {
            let text = format!("{arg:?}");
            match text.char_indices().nth(300) {
                Some((end, _)) => format!("{}… ({} bytes)", &text[..end], arg.len()),
                None => text,
            }
        })
        .collect();
    args.join(" ")
}

#[test]
fn any_options_end_with_an_exit_code_and_a_reason() {
    check(cases());
}

/// It takes a minute on two cores, which is why only `tests/run --all` runs it; the test above does the first
/// few hundred of these command lines.
#[test]
#[ignore = "long: tests/run --all runs it"]
fn ten_thousand_command_lines_end_with_an_exit_code_and_a_reason() {
    check(MANY_CASES);
}

fn check(cases: Range<usize>) {
    let next = AtomicUsize::new(cases.start);
    let failures = Mutex::new(Vec::new());
    // How often each command ended with each code.
    let ended = Mutex::new(BTreeMap::<String, [usize; 3]>::new());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut place = Place::new();
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= cases.end {
                        return;
                    }
                    let args = arguments(case);
                    let start = Instant::now();
                    let result = place.run(&args);
                    if start.elapsed() > Duration::from_secs(3) {
                        println!("case {case} took {:?}: {}", start.elapsed(), shown(&args));
                    }
                    match result {
                        Ok(code) => {
                            let report = args.get(1).is_some_and(|arg| arg == "report");
                            let name = args
                                .first()
                                .map(OsString::as_os_str)
                                .unwrap_or(OsStr::new(""));
                            let name = format!(
                                "{}{}",
                                name.display(),
                                if report { " report" } else { "" }
                            );
                            ended.lock().unwrap().entry(name).or_default()[usize::from(code)] += 1;
                        }
                        Err(what) => {
                            let line = shown(&args);
                            failures
                                .lock()
                                .unwrap()
                                .push(format!("case {case}: {line}\n    {what}"));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let ended = ended.into_inner().unwrap();
    for (command, codes) in &ended {
        if command.len() < 20 && codes.iter().sum::<usize>() > 4 {
            println!("{command:<14} {codes:?}");
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {cases:?}:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // The options are so mixed that each command does its work, fails and is refused.
    if cases.len() >= 2000 {
        for command in [
            "train",
            "sweep",
            "sweep report",
            "eval",
            "sample",
            "gradcheck",
        ] {
            let codes = ended[command];
            assert!(codes.iter().all(|&count| count > 0), "{command}: {codes:?}");
        }
    }
}
