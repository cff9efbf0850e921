//! What the commands print where there is no terminal, a poor one, or nobody who reads: a log file, a
//! pipe whose reader has left, `TERM=dumb`, `NO_COLOR`, a terminal proper.

#![cfg(unix)]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gpu_makemore::cli::model_file;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gpu-makemore");

/// A folder with a few words, a trained model in `old` and a sweep in `swept`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let words: Vec<String> = (0..300).map(|i| format!("{:b}", 300 + i)).collect();
        let words = words.join("\n").replace('0', "a").replace('1', "b");
        fs::write(place.path().join("words.txt"), words).unwrap();
        for args in [train("old"), sweep("swept")] {
            let output = command(&args, place.path()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Whether what the command writes into this folder is there.
    fn assert_written(&self, args: &[String]) {
        let Some(out) = args.iter().position(|arg| arg == "--out") else {
            return;
        };
        let out = self.path().join(&args[out + 1]);
        if args[0] == "train" {
            model_file::load(out.join("model.safetensors")).unwrap();
        } else {
            let results = fs::read_to_string(out.join("results.jsonl")).unwrap();
            assert_eq!(results.lines().count(), 2, "{results}");
        }
    }
}

fn args(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

const SMALL: &str = "--backend cpu --data words.txt --n-hidden 16";

fn train(out: &str) -> Vec<String> {
    args(&format!(
        "train {SMALL} --steps 2000 --log-every 500 --out {out}"
    ))
}

fn sweep(out: &str) -> Vec<String> {
    args(&format!(
        "sweep {SMALL} --steps 300 --lr 0.1,0.2 --out {out}"
    ))
}

/// Every command, with its output in a folder of this name.
fn commands(out: &str) -> Vec<Vec<String>> {
    let mut commands = vec![
        train(&format!("train-{out}")),
        sweep(&format!("sweep-{out}")),
    ];
    commands.extend(
        [
            "sweep report swept",
            "eval --backend cpu --checkpoint old",
            "sample --checkpoint old -n 50",
            "adapters",
            "adapters --probe",
            "gradcheck --backend cpu",
            "gradcheck --explain bndiff",
            "--help",
            "train --help",
            "--version",
        ]
        .map(args),
    );
    commands
}

/// Commands that fail, and with which exit code.
fn failures() -> Vec<(Vec<String>, i32)> {
    [
        ("eval --backend cpu --checkpoint nothing", 1),
        ("sample --checkpoint old --prefix !", 2),
        ("train --steps none", 2),
    ]
    .map(|(text, code)| (args(text), code))
    .to_vec()
}

fn command(args: &[String], place: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    settle(&mut command, place);
    command
}

/// The same surroundings for every run: those of this test may be anybody's.
fn settle(command: &mut Command, place: &Path) {
    command.current_dir(place).stdin(Stdio::null());
    command.env("TERM", "xterm");
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "CI"] {
        command.env_remove(name);
    }
}

/// No code that moves a cursor or changes a colour, and no sign of a crash.
#[track_caller]
fn assert_plain(text: &str, what: &[String]) {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!text.contains(control), "{what:?}: {text:?}");
    assert!(!text.contains("panicked"), "{what:?}: {text}");
}

/// A pipe whose reader has left.
fn abandoned() -> io::PipeWriter {
    io::pipe().unwrap().1
}

// ------------------------------------------------------------------------------------- log files

#[test]
fn a_log_file_holds_lines_and_nothing_else() {
    let place = Place::new();
    let log = place.path().join("log");
    for args in commands("log") {
        let file = File::create(&log).unwrap();
        let mut command = command(&args, place.path());
        command.stderr(file.try_clone().unwrap()).stdout(file);
        assert!(command.status().unwrap().success(), "{args:?}");
        let text = fs::read_to_string(&log).unwrap();
        assert_plain(&text, &args);
        assert!(text.ends_with('\n') && text.lines().count() > 0, "{args:?}");
        place.assert_written(&args);
    }
    for (args, code) in failures() {
        let output = command(&args, place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_plain(&text, &args);
        assert!(
            text.starts_with("error: ") && text.lines().count() == 1,
            "{text}"
        );
    }
}

// ------------------------------------------------------------------------- readers that have left

#[test]
fn nobody_reads_stdout() {
    let place = Place::new();
    for args in commands("nobody") {
        let output = command(&args, place.path())
            .stdout(abandoned())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), text.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
        place.assert_written(&args);
    }
}

#[test]
fn nobody_reads_anything() {
    let place = Place::new();
    let with_code = commands("deaf").into_iter().map(|args| (args, 0));
    for (args, code) in with_code.chain(failures()) {
        let mut command = command(&args, place.path());
        let status = command
            .stdout(abandoned())
            .stderr(abandoned())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
        place.assert_written(&args);
    }
}

#[test]
fn stdout_and_stderr_are_closed() {
    let place = Place::new();
    let with_code = commands("closed").into_iter().map(|args| (args, 0));
    for (args, code) in with_code.chain(failures()) {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$0\" \"$@\" >&- 2>&-", PROGRAM])
            .args(&args);
        settle(&mut shell, place.path());
        assert_eq!(shell.status().unwrap().code(), Some(code), "{args:?}");
        place.assert_written(&args);
    }
}

/// `sample -n 1000000000 | head -1` ends when `head` does.
#[test]
fn sample_ends_with_its_reader() {
    let place = Place::new();
    let args = args("sample --checkpoint old -n 1000000000");
    let mut command = command(&args, place.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    let start = Instant::now();
    let status: Option<ExitStatus> = loop {
        match child.try_wait().unwrap() {
            None if start.elapsed() < Duration::from_secs(20) => {
                thread::sleep(Duration::from_millis(5));
            }
            ended => break ended,
        }
    };
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(status.and_then(|s| s.code()), Some(0));
}

// -------------------------------------------------------------------------------------- terminals

/// What makes a terminal for a command that follows: util-linux's `script`, or Python.
enum Pty {
    Script,
    Python,
}

impl Pty {
    const PYTHON: &str = "import os, pty, sys\n\
                          sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

    /// Nothing if this machine has neither.
    fn find() -> Option<Self> {
        let works = |program: &str, args: &[&str], part: &str| {
            let output = Command::new(program).args(args).output();
            output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(part))
        };
        if works("script", &["--version"], "util-linux") {
            return Some(Self::Script);
        }
        let probe = "import pty; print('there')";
        works("python3", &["-c", probe], "there").then_some(Self::Python)
    }

    /// Runs the program on a terminal that is `stdout` and `stderr`, or in the shell's words
    /// `redirected`.
    fn run(&self, args: &[String], redirected: &str, place: &Path, term: Term) -> Output {
        let line = format!("'{PROGRAM}' {} {redirected}", args.join(" "));
        let mut command = match self {
            Self::Script => {
                let mut script = Command::new("script");
                script.args(["-qec", &line, "/dev/null"]);
                script
            }
            Self::Python => {
                let mut python = Command::new("python3");
                python.args(["-c", Self::PYTHON, "sh", "-c", &line]);
                python
            }
        };
        settle(&mut command, place);
        match term {
            Term::Xterm => {}
            Term::Dumb => {
                command.env("TERM", "dumb");
            }
            Term::Unset => {
                command.env_remove("TERM");
            }
            Term::NoColor => {
                command.env("NO_COLOR", "1");
            }
        }
        command.output().unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Term {
    Xterm,
    Dumb,
    Unset,
    NoColor,
}

/// What was on the terminal, with its line ends as in a file.
fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

/// The lines of a text in which control codes may stand.
fn lines_of(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' => lines.push(String::new()),
            // What was on this line is drawn over.
            '\r' => lines.last_mut().unwrap().clear(),
            '\u{1b}' => {
                // ESC [ parameters letter
                chars.find(|c| c.is_ascii_alphabetic());
            }
            c => lines.last_mut().unwrap().push(c),
        }
    }
    lines
}

fn pty() -> Option<Pty> {
    let found = Pty::find();
    if found.is_none() {
        eprintln!("neither util-linux's script nor python3 is there: not tested");
    }
    found
}

#[test]
fn a_terminal_that_knows_no_codes_gets_none() {
    let (place, Some(pty)) = (Place::new(), pty()) else {
        return;
    };
    for term in [Term::Dumb, Term::NoColor, Term::Unset] {
        for args in commands(&format!("{term:?}")) {
            let output = pty.run(&args, "", place.path(), term);
            let text = shown(&output);
            assert!(output.status.success(), "{args:?} {term:?}: {text}");
            assert_plain(&text, &args);
            assert!(text.ends_with('\n'), "{args:?}: {text:?}");
            place.assert_written(&args);
        }
        for (args, code) in failures() {
            let output = pty.run(&args, "", place.path(), term);
            assert_eq!(output.status.code(), Some(code), "{args:?} {term:?}");
            assert_plain(&shown(&output), &args);
        }
    }
}

#[test]
fn a_terminal_shows_a_bar_and_every_line() {
    let (place, Some(pty)) = (Place::new(), pty()) else {
        return;
    };
    for args in commands("xterm") {
        let output = pty.run(&args, "", place.path(), Term::Xterm);
        let text = shown(&output);
        assert!(output.status.success(), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
        if args.iter().any(|arg| arg == "--out") {
            assert!(text.contains("steps/s  "), "{args:?}: no bar: {text:?}");
            assert!(text.contains('\u{1b}'), "{args:?}: a bar without codes");
        }
        if args[0] == "train" && args.len() > 2 {
            let lines = lines_of(&text);
            let with = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
            let (all, val) = (with("/   2000: "), with("/   2000: val "));
            assert_eq!((all - val, val), (4, 9), "{text:?}");
            let last = lines.iter().any(|l| l.starts_with("the model is in "));
            assert!(last, "{text:?}");
        }
        place.assert_written(&args);
    }
}

/// The bar is on the terminal, and nothing of it in the file.
#[test]
fn lines_go_to_the_file_and_the_bar_to_the_terminal() {
    let (place, Some(pty)) = (Place::new(), pty()) else {
        return;
    };
    for args in [train("train-both"), sweep("sweep-both")] {
        let output = pty.run(&args, "> lines", place.path(), Term::Xterm);
        let on_terminal = shown(&output);
        assert!(output.status.success(), "{args:?}: {on_terminal}");
        assert!(on_terminal.contains("steps/s  "), "{on_terminal:?}");
        let lines = fs::read_to_string(place.path().join("lines")).unwrap();
        assert_plain(&lines, &args);
        assert!(lines.lines().count() >= 4, "{lines}");
        assert!(!lines.contains("steps/s  "), "{lines}");
    }
}
