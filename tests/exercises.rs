//! The exercises: what is handed out, every answer to it, and every typical mistake; in the interpreter, and on
//! every adapter that the tests know.

mod common;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};
use std::time::Instant;

use common::adapters::{self, OnEach, Outcome};
use gpu_makemore::exercises::{Device, EXERCISES, Exercise, Known, Verdict, check, find};
use gpu_makemore::gpu::adapter::Found;
use libtest_mimic::Trial;
use pollster::FutureExt as _;

type Test = fn() -> Outcome;

fn main() -> ExitCode {
    let interpreted: [(&str, Test); 6] = [
        ("what_is_handed_out_compiles_and_is_not_right", handed_out),
        ("every_right_way_is_accepted", right_ways),
        ("every_typical_mistake_is_refused_and_named", mistakes),
        ("every_exercise_has_hints_and_a_file_of_its_number", hints),
        (
            "bad_texts_are_refused_with_a_reason_in_two_seconds",
            bad_texts,
        ),
        ("common_slips_get_a_sentence", slips),
    ];
    let others = interpreted.map(|(name, test)| Trial::test(name, test));
    // It compiles some 370 kernels for each adapter, which takes a minute on lavapipe and more on llvmpipe: so
    // only `tests/run --all` runs it.
    let on_adapters = OnEach::from(&("answers_and_mistakes_have_their_verdicts", on_adapter as _));
    let timed = OnEach::from(&("launches_are_timed_beside_the_plain_kernel", timed as _));
    adapters::run([on_adapters.long(), timed], others.into())
}

/// A verdict in a few words.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Untouched => "untouched".to_owned(),
        Verdict::Right(_) => "right".to_owned(),
        Verdict::Wrong(wrong) => match &wrong.known {
            Some(known) => format!("wrong: {}", known.name),
            None => format!(
                "wrong: {} is {}, not {}",
                wrong.first, wrong.got, wrong.want
            ),
        },
        Verdict::Refused(problem) => format!(
            "refused: {}:{} {}",
            problem.line, problem.column, problem.message
        ),
        Verdict::Failed(problem) => format!(
            "failed: {}:{} {}",
            problem.line, problem.column, problem.message
        ),
    }
}

/// Runs something for all exercises, on all cores; it gives lines of what is wrong.
fn each(check: impl Fn(&'static Exercise) -> Vec<String> + Sync) -> Outcome {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(exercise) = EXERCISES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = check(exercise).into_iter();
                    let lines = found.map(|line| format!("{}: {line}", exercise.file));
                    wrong.lock().unwrap().extend(lines);
                }
            });
        }
    });
    let mut wrong: Vec<String> = wrong.into_inner().unwrap();
    wrong.sort();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n").into()),
    }
}

fn handed_out() -> Outcome {
    each(|exercise| {
        let mut found = Vec::new();
        if !matches!(check(exercise, exercise.text), Verdict::Untouched) {
            found.push("as handed out: it counts as begun".to_owned());
        }
        let verdict = check(exercise, &format!("{}\n", exercise.text));
        if !matches!(verdict, Verdict::Wrong(_)) {
            found.push(format!("as handed out: {}", word(&verdict)));
        }
        found
    })
}

fn right_ways() -> Outcome {
    each(|exercise| {
        let answers = exercise.answers();
        let mut found = Vec::new();
        if answers.others.len() < 2 {
            found.push(format!("{} other ways", answers.others.len()));
        }
        let solution = ("the solution".to_owned(), answers.solution.clone());
        let right = [solution].into_iter();
        for (name, text) in right.chain(answers.others).chain(answers.plain) {
            let verdict = check(exercise, &text);
            if !verdict.is_right() {
                found.push(format!("{name}: {}", word(&verdict)));
            }
        }
        found
    })
}

fn mistakes() -> Outcome {
    // docs/exercises.md has the table.
    let table = std::env::var_os("GPU_MAKEMORE_TABLE").is_some();
    let counts = Mutex::new((0, 0));
    let outcome = each(|exercise| {
        let mut found = Vec::new();
        let mistakes = exercise.answers().mistakes;
        if mistakes.len() < 3 {
            found.push(format!("{} mistakes", mistakes.len()));
        }
        for mistake in mistakes {
            let verdict = check(exercise, &mistake.text);
            let is = |known: &Option<Known>| known.as_ref().is_some_and(|k| k.name == mistake.name);
            let named = match &verdict {
                Verdict::Wrong(wrong) => is(&wrong.known),
                Verdict::Failed(problem) => mistake.is_race || is(&problem.known),
                _ => false,
            };
            let mut counts = counts.lock().unwrap();
            counts.0 += 1;
            counts.1 += usize::from(named);
            if table {
                let verdict = word(&verdict);
                println!("| {} | {} | {verdict} |", exercise.name, mistake.name);
            }
            if verdict.is_right() || matches!(verdict, Verdict::Refused(_)) || !named {
                found.push(format!("{}: {}", mistake.name, word(&verdict)));
            }
        }
        found
    });
    let (all, named) = counts.into_inner().unwrap();
    if table {
        println!("{named} of {all} are named");
    }
    match all < 150 {
        true => Err(format!("{all} mistakes, and 150 are wanted").into()),
        false => outcome,
    }
}

fn hints() -> Outcome {
    each(|exercise| {
        let answers = exercise.answers();
        let mut found = Vec::new();
        if answers.hints.len() != 3 {
            found.push(format!("{} hints", answers.hints.len()));
        }
        let file = format!("{:02}_{}.wgsl", exercise.number, exercise.name);
        if exercise.file != file {
            found.push(format!("its file would be {file}"));
        }
        if answers
            .mistakes
            .iter()
            .any(|mistake| mistake.told.is_empty())
        {
            found.push("a mistake of which nothing is said".to_owned());
        }
        if exercise.subject().is_empty() {
            found.push("its heading does not tell what it is about".to_owned());
        }
        found
    })
}

/// What is no exercise, and what it says. None may take long, or end the program.
fn bad_texts() -> Outcome {
    let dprobs = find("dprobs").unwrap();
    let body = |lines: &str| format!("fn dprobs(row: u32, col: u32) -> f32 {{\n{lines}\n}}\n");
    let cases = [
        ("", "", "dprobs"),
        (
            "renamed",
            "fn dprob(row: u32, col: u32) -> f32 { return 0.0; }",
            "dprobs",
        ),
        (
            "other parameters",
            "fn dprobs(row: u32) -> f32 { return 0.0; }",
            "",
        ),
        (
            "code outside",
            "let x = 1.0;\nfn dprobs(row: u32, col: u32) -> f32 { return 0.0; }",
            "",
        ),
        (
            "an accessor again",
            "fn probs(row: u32, col: u32) -> f32 { return 0.0; }",
            "redefinition of `probs`",
        ),
        (
            "endless loop",
            &body("loop { }\nreturn 0.0;"),
            "Does this loop ever end?",
        ),
        (
            "endless while",
            &body("var i = 0u;\nwhile true { i += 1u; }\nreturn f32(i);"),
            "",
        ),
        (
            "beyond the end",
            &body("return dlogprobs(row + 1u, col);"),
            "dlogprobs(32, 0)",
        ),
        (
            "a huge array",
            &body("var a: array<f32, 1000000000>;\nreturn a[row];"),
            "Size exceeds limit",
        ),
        ("float", &body("var x: float = 1.0;\nreturn x;"), "float"),
        ("no return", &body("let x = probs(row, col);"), ""),
        ("mixed", &body("return probs(row, col) * row;"), ""),
        ("recursion", &body("return dprobs(row, col);"), ""),
        (
            "brackets",
            &format!("{}{}", "(".repeat(100_000), ")".repeat(100_000)),
            "",
        ),
        (
            "deep",
            &body(&format!(
                "return {}1.0{};",
                "(".repeat(2_000),
                ")".repeat(2_000)
            )),
            "",
        ),
        ("not a number", &body("return probs(row, col) / 0.0;"), ""),
        ("letters", "\u{0}\u{feff}🦀 fn", ""),
    ];
    for (name, text, says) in cases {
        let begun = Instant::now();
        let verdict = check(dprobs, text);
        let took = begun.elapsed();
        let told = match &verdict {
            Verdict::Refused(problem) | Verdict::Failed(problem) => {
                format!(
                    "{} {}",
                    problem.message,
                    problem.help.as_deref().unwrap_or_default()
                )
            }
            Verdict::Wrong(_) => String::new(),
            Verdict::Right(_) | Verdict::Untouched => panic!("{name}: {}", word(&verdict)),
        };
        assert!(told.contains(says), "{name}: {told}");
        let clash = told.contains("take another one");
        assert_eq!(clash, name == "an accessor again", "{name}: {told}");
        assert!(took.as_secs_f64() < 2.0, "{name} took {took:?}");
        if ["float", "mixed"].contains(&name) {
            let line = verdict.problem().map(|problem| problem.line);
            assert_eq!(line, Some(2), "{name}: {told}");
        }
    }
    Ok(())
}

/// What those write who come from Python or C, and the sentence that helps.
fn slips() -> Outcome {
    let dprobs = find("dprobs").unwrap();
    for (line, says) in [
        ("return 1.0 / N;", "f32(N) turns"),
        ("return probs(row, col) * row;", "f32(N) turns"),
        ("return probs(row, col)", "semicolon missing"),
        ("float x = 1.0; return x;", "begins with `var`"),
        ("var x: float = 1.0; return x;", "calls it f32"),
        ("return probs(row, col) / (float)N;", "like a call"),
        ("return probs(row, col)**-1.0;", "has no **"),
        ("return probs(row, col)^2;", "exclusive or"),
        ("return probs[row, col];", "read like functions"),
        ("return probs[row][col];", "read like functions"),
        ("return probs(row);", "all of them are needed"),
        ("let s = 0.0; s += 1.0; return s;", "with `var`"),
        ("if row == col: return 1.0;", "Braces"),
        ("for i in 0..N { } return 0.0;", "Braces"),
        (
            "for (var i = 0; i < N; i++) { } return 0.0;",
            "begin with 0u",
        ),
        ("return row == col ? 1.0 : 0.0;", "select("),
        ("# nothing", "begins with //"),
        ("return dlogprob(row, col);", "spelled as in the heading"),
        ("if row == col { return 1.0; }", "on every path"),
        ("return f64(1);", "no f64"),
    ] {
        let text = format!("fn dprobs(row: u32, col: u32) -> f32 {{\n    {line}\n}}\n");
        let verdict = check(dprobs, &text);
        let help = verdict
            .problem()
            .and_then(|problem| problem.help.as_deref());
        if !help.is_some_and(|help| help.contains(says)) {
            return Err(format!("{line}: {help:?}; {}", word(&verdict)).into());
        }
    }
    Ok(())
}

/// The learner's kernel and the plain one both take some time.
fn timed(found: &Found) -> Outcome {
    let device = Device::open(found).block_on()?;
    let mut count = 0;
    for exercise in EXERCISES {
        let answers = exercise.answers();
        let Some((_, plain)) = answers.plain else {
            continue;
        };
        for text in [&answers.solution, &plain] {
            let time = device.time(exercise, text).block_on()?;
            if time.is_zero() {
                return Err(format!("{} takes no time", exercise.file).into());
            }
        }
        count += 1;
    }
    match count {
        3 => Ok(()),
        _ => Err(format!("{count} exercises have a plain kernel, not 37, 39 and 41").into()),
    }
}

/// Every right way is right on an adapter too, and no mistake is. What races is left to the interpreter.
fn on_adapter(found: &Found) -> Outcome {
    let device = Device::open(found).block_on()?;
    let mut wrong = Vec::new();
    for exercise in EXERCISES {
        let answers = exercise.answers();
        let solution = [("the solution", &answers.solution)].into_iter();
        let others = answers.others.iter().chain(&answers.plain);
        let others = others.map(|(name, text)| (&**name, text));
        for (name, text) in solution.chain(others) {
            let verdict = device.check(exercise, text).block_on()?;
            if !verdict.is_right() {
                wrong.push(format!("{}: {name}: {}", exercise.file, word(&verdict)));
            }
        }
        for mistake in answers.mistakes.iter().filter(|mistake| !mistake.is_race) {
            let verdict = device.check(exercise, &mistake.text).block_on()?;
            let known = verdict.known();
            if known.is_none_or(|known| known.name != mistake.name) {
                let verdict = word(&verdict);
                wrong.push(format!("{}: {}: {verdict}", exercise.file, mistake.name));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n").into()),
    }
}
