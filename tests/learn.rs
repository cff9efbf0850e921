//! `gpu-makemore learn`, as a learner uses it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use gpu_makemore::exercises::{EXERCISES, OwnGradients, find};
use serde_json::Value;

fn learn(args: &[&str], dir: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
    command.arg("learn").args(args);
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with the exercises, with the solutions of some.
fn folder(solved: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let written = learn(&[dir.path().to_str().unwrap()], None);
    assert!(written.status.success(), "{written:?}");
    for name in solved {
        let exercise = find(name).unwrap();
        fs::write(dir.path().join(exercise.file), exercise.answers().solution).unwrap();
    }
    dir
}

#[test]
fn what_is_there_is_never_overwritten() {
    let dir = folder(&["dprobs"]);
    let file = dir.path().join("02_dprobs.wgsl");
    let before = fs::read(&file).unwrap();
    fs::remove_file(dir.path().join("05_dcounts.wgsl")).unwrap();
    let again = learn(&[dir.path().to_str().unwrap()], None);
    assert!(again.status.success());
    assert!(
        text(&again.stdout).starts_with("1 exercises were written"),
        "{again:?}"
    );
    assert_eq!(fs::read(&file).unwrap(), before);
    let there = fs::read(dir.path().join("05_dcounts.wgsl")).unwrap();
    assert_eq!(there, find("dcounts").unwrap().text.as_bytes());
}

#[test]
fn a_check_says_what_is_wrong_and_its_exit_code_whether_all_is_right() {
    let dir = folder(&["dprobs"]);
    let right = learn(&["check", "2"], Some(dir.path()));
    assert!(right.status.success(), "{right:?}");
    assert!(text(&right.stdout).contains("dprobs: right"));

    fs::write(
        dir.path().join("03_dcounts_sum_inv.wgsl"),
        "fn dcounts_sum_inv(row: u32) -> f32 {\n\tvar x: float = 0.0;\n\treturn x;\n}\n",
    )
    .unwrap();
    let refused = learn(&["check", "dcounts_sum_inv"], Some(dir.path()));
    assert_eq!(refused.status.code(), Some(1));
    let lines = text(&refused.stdout);
    assert!(lines.contains("03_dcounts_sum_inv.wgsl:2:9: "), "{lines}");
    assert!(
        lines.contains("        var x: float = 0.0;\n               ^\n"),
        "{lines}"
    );
    assert!(lines.contains("f32"), "{lines}");

    fs::write(dir.path().join("04_dcounts_sum.wgsl"), b"fn \xff\xfe").unwrap();
    let all = learn(&["check", "--json"], Some(dir.path()));
    assert_eq!(all.status.code(), Some(1));
    // What is left to do is no error.
    let told = text(&all.stderr);
    assert_eq!(told.trim_end(), "1 of 41 exercises are done");
    let entries: Vec<Value> = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(entries.len(), EXERCISES.len());
    let verdict = |i: usize| entries[i]["verdict"].as_str().unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(verdict),
        ["untouched", "right", "refused", "refused"]
    );
    let lines = entries[3]["lines"].to_string();
    assert!(
        lines.contains("UTF-8") && lines.contains("04_dcounts_sum.wgsl:1"),
        "{lines}"
    );
}

#[test]
fn wrong_usage_is_told() {
    let dir = folder(&[]);
    let empty = tempfile::tempdir().unwrap();
    for (args, place, code, says) in [
        (
            &["check", "nothing"][..],
            dir.path(),
            2,
            "no exercise \"nothing\"",
        ),
        (&["check"][..], empty.path(), 1, "learn DIR writes them"),
        (&["watch"][..], empty.path(), 1, "learn DIR writes them"),
        (
            &["train", "--backend", "cpu"][..],
            dir.path(),
            1,
            "dlogprobs, dprobs",
        ),
    ] {
        let output = learn(args, Some(place));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
    let hint = learn(&["hint", "dprobs", "--step", "9"], None);
    assert_eq!(hint.status.code(), Some(2));
    let hunt = learn(&["hunt", "99", "--backend", "cpu"], None);
    assert_eq!(hunt.status.code(), Some(2));
}

#[test]
fn hints_come_in_steps_and_end_with_the_derivation() {
    let hint = |step| text(&learn(&["hint", "dprobs", "--step", step], None).stdout);
    assert!(hint("1").contains("next: gpu-makemore learn hint dprobs --step 2"));
    let last = hint("4");
    assert!(
        last.contains("backward: dprobs = (1.0 / probs) * dlogprobs"),
        "{last}"
    );
    assert!(last.contains("next: gpu-makemore learn solution dprobs"));
    let solution = text(&learn(&["solution", "dprobs"], None).stdout);
    assert!(solution.starts_with(&find("dprobs").unwrap().answers().solution));
}

#[test]
fn a_report_puts_learners_side_by_side() {
    let [a, b] = [&["dprobs"][..], &["dprobs", "dcounts"]].map(folder);
    let paths = [&a, &b].map(|dir| dir.path().to_str().unwrap());
    let report = learn(&["report", paths[0], paths[1]], None);
    let lines = text(&report.stdout);
    assert!(lines.lines().next().unwrap().contains("·●···"), "{lines}");
    assert!(
        lines.lines().next().unwrap().ends_with("1 of 41"),
        "{lines}"
    );
    assert!(lines.lines().nth(1).unwrap().contains("·●··●"), "{lines}");
    let json = learn(&["report", "--json", paths[0], paths[1]], None);
    let learners: Vec<Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(learners[1]["done"], 2);
}

#[test]
fn watching_checks_on_every_save() {
    let dir = folder(&["dlogprobs"]);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"))
        .args(["learn", "watch", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |says: &str| {
        let found = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(says));
        assert!(found.is_some(), "it ended before it said {says}");
    };
    until("02_dprobs.wgsl");
    let exercise = find("dprobs").unwrap();
    let file = dir.path().join(exercise.file);
    fs::write(&file, &exercise.answers().mistakes[0].text).unwrap();
    until("dprobs: wrong");
    fs::write(&file, exercise.answers().solution).unwrap();
    until("dprobs: right");
    until("03_dcounts_sum_inv.wgsl");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn ones_own_gradients_train_as_the_reference_does() {
    let names: Vec<&str> = OwnGradients::exercises().iter().map(|e| e.name).collect();
    let dir = folder(&names);
    let picture = dir.path().join("learn.png");
    let args = [
        "train",
        "--backend",
        "cpu",
        "--steps",
        "2",
        "--out",
        picture.to_str().unwrap(),
    ];
    let trained = learn(&args, Some(dir.path()));
    assert!(trained.status.success(), "{trained:?}");
    let lines = text(&trained.stdout);
    assert!(
        lines.contains("      0/      2: 3.9508\n      1/      2: 3.4942\n"),
        "{lines}"
    );
    assert!(picture.exists());
}

#[test]
fn a_line_that_is_hunted_is_found() {
    let shaders = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let tanh = fs::read_to_string(shaders.join("tanh.wgsl")).unwrap();
    let line = 1 + tanh
        .lines()
        .position(|line| line.contains("(1.0 - h * h) * dh"))
        .unwrap();
    // Its number is that of a mistake that the table of a training step shows.
    let number = (1..=16).map(|n| n.to_string()).find(|number| {
        let guess = format!("tanh.wgsl:{line}");
        learn(&["hunt", number, "--line", &guess], None)
            .status
            .success()
    });
    let number = number.expect("one of them is in tanh.wgsl");
    let wrong = learn(&["hunt", &number, "--line", "sgd.wgsl:1"], None);
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(text(&wrong.stderr).trim_end(), "it is not in sgd.wgsl");
    for (guess, says) in [
        ("tanh.wgls:1", "no such file"),
        ("tanh.wgsl", "a file and a line are wanted"),
    ] {
        let wrong = learn(&["hunt", &number, "--line", guess], None);
        assert_eq!(wrong.status.code(), Some(2), "{guess}");
        assert!(text(&wrong.stderr).contains(says), "{wrong:?}");
    }
    // Who gives up is told all of it, without a GPU.
    let told = learn(&["hunt", &number, "--give-up"], None);
    assert!(told.status.success(), "{told:?}");
    let lines = text(&told.stdout);
    for says in [
        format!("mistake {number} is at tanh.wgsl:{line}: 1-h for 1-h**2"),
        "right:  (1.0 - h * h) * dh".to_owned(),
        "wrong:  (1.0 - h) * dh".to_owned(),
        "the first wrong row of its table is hpreact".to_owned(),
    ] {
        assert!(lines.lines().any(|line| line == says), "{says}: {lines}");
    }
}

/// Whatever lies in a learner's file: a verdict or an error within two seconds, and the other exercises are judged.
#[test]
fn bad_files_are_answered_in_two_seconds() {
    let dir = folder(&["dprobs"]);
    let path = |file: &str| dir.path().join(file);
    let body = |name: &str, lines: &str| {
        format!("fn {name}(row: u32, col: u32) -> f32 {{\n{lines}\n}}\n").into_bytes()
    };
    let cases: [(&str, Vec<u8>, &str, &str); 9] = [
        (
            "01_dlogprobs.wgsl",
            body("dlogprobs", "while true { }\nreturn 0.0;"),
            "failed",
            "Does this loop ever end?",
        ),
        (
            "03_dcounts_sum_inv.wgsl",
            Vec::new(),
            "refused",
            "dcounts_sum_inv",
        ),
        (
            "05_dcounts.wgsl",
            body(
                "dcounts",
                "return counts(row, col) / (0.0 * dprobs(row, col));",
            ),
            "wrong",
            "should be",
        ),
        (
            "06_dnorm_logits.wgsl",
            body("dnorm_logits", "return counts(row + 1u, col);"),
            "failed",
            "counts(32, 0), which does not exist",
        ),
        (
            "08_dlogits.wgsl",
            body("dlogits", "var a: array<f32, 1000000000>;\nreturn a[row];"),
            "refused",
            "",
        ),
        (
            "09_dh.wgsl",
            body("dhh", "return 0.0;"),
            "refused",
            "What is wanted is fn dh(row: u32",
        ),
        ("10_dW2.wgsl", b"let x = 1.0;\n".to_vec(), "refused", ""),
        (
            "12_dhpreact.wgsl",
            b"fn \xff\xfe".to_vec(),
            "refused",
            "UTF-8",
        ),
        ("15_dbnraw.wgsl", vec![b'/'; 2 << 20], "refused", ""),
    ];
    for (file, text, ..) in &cases {
        fs::write(path(file), text).unwrap();
    }
    for (file, _, verdict, says) in &cases {
        let exercise = EXERCISES.iter().find(|e| e.file == *file).unwrap();
        let begun = Instant::now();
        let checked = learn(&["check", "--json", exercise.name], Some(dir.path()));
        let took = begun.elapsed();
        assert!(took.as_secs_f64() < 2.0, "{file} took {took:?}");
        assert_eq!(checked.status.code(), Some(1), "{file}: {checked:?}");
        let entries: Vec<Value> = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!(entries[0]["verdict"], *verdict, "{file}: {checked:?}");
        assert!(
            entries[0]["lines"].to_string().contains(says),
            "{file}: {checked:?}"
        );
    }
    let right = learn(&["check", "dprobs"], Some(dir.path()));
    assert!(right.status.success(), "{right:?}");
}
