//! The exercises: what is handed out, every answer to it, and every typical mistake.

use gpu_makemore::exercises::{EXERCISES, Exercise, Known, Verdict, check};

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

fn each(check: impl Fn(&'static Exercise) -> Vec<String> + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(exercise) =
                    EXERCISES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let found = check(exercise);
                    let lines = found
                        .into_iter()
                        .map(|line| format!("{}: {line}", exercise.file));
                    wrong.lock().unwrap().extend(lines);
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_handed_out_compiles_and_is_not_right() {
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
    });
}

#[test]
fn every_right_way_is_accepted() {
    each(|exercise| {
        let answers = exercise.answers();
        let mut found = Vec::new();
        if answers.others.len() < 2 {
            found.push(format!("{} other ways", answers.others.len()));
        }
        let solution = ("the solution".to_owned(), answers.solution.clone());
        for (name, text) in [solution].into_iter().chain(answers.others) {
            let verdict = check(exercise, &text);
            if !verdict.is_right() {
                found.push(format!("{name}: {}", word(&verdict)));
            }
        }
        found
    });
}

#[test]
fn every_typical_mistake_is_refused_and_named() {
    let counts = std::sync::Mutex::new((0, 0));
    each(|exercise| {
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
            println!(
                "| {} | {} | {} |",
                exercise.name,
                mistake.name,
                word(&verdict)
            );
            if verdict.is_right() || matches!(verdict, Verdict::Refused(_)) || !named {
                found.push(format!("{}: {}", mistake.name, word(&verdict)));
            }
        }
        found
    });
    let (all, named) = counts.into_inner().unwrap();
    println!("{named} of {all} are named");
}

#[test]
fn every_exercise_has_hints_and_a_file_of_its_number() {
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
    });
}

/// What is no exercise, and what it says. None may take long, or end the program.
#[test]
fn bad_texts_are_refused_with_a_reason_in_two_seconds() {
    let dprobs = gpu_makemore::exercises::find("dprobs").unwrap();
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
            "",
        ),
        ("endless loop", &body("loop { }\nreturn 0.0;"), ""),
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
            "",
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
        let begun = std::time::Instant::now();
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
        println!("{name}: {} ({took:.1?})", word(&verdict));
        assert!(told.contains(says), "{name}: {told}");
        assert!(took.as_secs_f64() < 2.0, "{name} took {took:?}");
    }
}
