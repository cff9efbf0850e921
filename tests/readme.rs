//! The README as a stranger reads it: every command and code block in it is run, in the order in
//! which it stands there, in one folder.
//!
//! A command is a line of a `sh` block, or inline code that begins with a program ([`PROGRAMS`]). It
//! runs as it is written; some commands get an option on top that makes them shorter. A command
//! without an entry in [`COMMANDS`] fails the test, and so does an entry whose command is no longer
//! in the README. The same holds for the other code blocks and [`BLOCKS`].
//!
//! The Python blocks need torch, safetensors and numpy; those that use the package in python/ are run without
//! torch, too, by python/test. Where `python3` lacks them they are left out;
//! `GPU_MAKEMORE_PYTHON` names another interpreter, and `GPU_MAKEMORE_REQUIRE=torch` makes their
//! absence a failure.

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};

use common::Fixture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

type Outcome = Result<(), Failed>;

// ------------------------------------------------------------------------------- what there is to run

/// The program that the tests were built with.
const PROGRAM: &str = env!("CARGO_BIN_EXE_gpu-makemore");

/// What a command of the README begins with.
const PROGRAMS: [&str; 10] = [
    "gpu-makemore",
    "cargo",
    "python3",
    "pip",
    "git",
    "tests/run",
    "web/serve",
    "web/build",
    "web/test",
    "python/wheel",
];

/// The README's first command; most of the others need the model that it trains.
const FIRST: &str = "cargo run --release -- train --out runs/first";

/// A command of the README, and what has to come of it.
#[derive(Clone, Copy)]
struct Entry {
    /// As it is written.
    command: &'static str,
    /// What is appended, so that it takes less time. `{place}` and `{program}` are paths.
    plus: &'static str,
    /// Commands whose results it reads.
    after: &'static [&'static str],
    needs: Needs,
    /// Whether it runs as on a machine without any GPU driver.
    bare: bool,
    /// What a reader has done before.
    prepare: fn(&Place) -> Outcome,
    check: fn(&Ran, &Place) -> Outcome,
}

/// Whether the program under test is what `cargo build --release` makes.
fn is_release() -> bool {
    let folder = Path::new(PROGRAM).parent().and_then(Path::file_name);
    folder.is_some_and(|name| name == "release")
}

/// What a command or a block cannot do without.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// A Vulkan adapter, be it a software one.
    Vulkan,
    /// Python with torch, safetensors and numpy.
    Torch,
    /// The release build, which `cargo` would otherwise make from nothing.
    Release,
    /// Minutes, and the release build.
    Minutes,
    /// It is not run here, for this reason.
    Never(&'static str),
}

/// A command that is run; `check` looks at what it printed and left.
const fn run(command: &'static str, check: fn(&Ran, &Place) -> Outcome) -> Entry {
    Entry {
        command,
        plus: "",
        after: &[],
        needs: Needs::Nothing,
        bare: false,
        prepare: |_| Ok(()),
        check,
    }
}

const fn never(command: &'static str, why: &'static str) -> Entry {
    Entry {
        needs: Needs::Never(why),
        ..run(command, |_, _| Ok(()))
    }
}

impl Entry {
    const fn plus(self, plus: &'static str) -> Self {
        Self { plus, ..self }
    }

    const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }

    const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    const fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    const fn prepare(self, prepare: fn(&Place) -> Outcome) -> Self {
        Self { prepare, ..self }
    }
}

/// All commands of the README.
const COMMANDS: &[Entry] = &[
    never(
        "git clone URL-OF-THIS-REPOSITORY gpu-makemore",
        "this is the clone",
    ),
    never("cd gpu-makemore", "this is the clone"),
    // Not shortened: the README shows what it prints.
    run(FIRST, |ran, place| {
        ran.prints(&["train 2.0711", "val   2.1119", "carlah", "dearyxia"])?;
        let files = "best.safetensors last.safetensors loss.png metrics.jsonl model.safetensors summary.json";
        expect("the files", place.files("runs/first").as_str(), files)
    })
    .bare(),
    never("tests/run", "it would run itself"),
    never("tests/run batchnorm", "it would run itself"),
    never("tests/run --all", "it would run itself; .ci/run runs it"),
    never("web/serve", "it serves until it is interrupted"),
    never("web/build", "web/test runs it"),
    never("web/test", "it needs a browser; .ci/run runs it"),
    never("python/wheel", "minutes; .ci/run makes a wheel for its machine, and python/test installs it"),
    never(WHEEL, "it would install for good; python/test installs a wheel elsewhere"),
    never(
        "cargo install --path .",
        "it would install for good; the_targets_are_there looks for the program",
    ),
    run("cargo run --release --", |ran, _| {
        expect(
            "the version",
            ran.stdout.trim(),
            concat!("gpu-makemore ", env!("CARGO_PKG_VERSION")),
        )
    })
    .plus("-V"),
    run("gpu-makemore train", |ran, _| {
        ran.prints(&["data        names: 32033 words", "the model is in runs/2"])
    })
    .plus("--steps 200"),
    run("gpu-makemore train --eval-every 1000", |ran, _| {
        ran.prints(&["   1000/   1200: val "])
    })
    .plus("--steps 1200 --checkpoint-every 700"),
    run("gpu-makemore train --tensorboard", |_, place| {
        let files = place.files("runs/board");
        expect("an event file", files.contains("events.out.tfevents."), true)
    })
    .plus("--steps 20 --out runs/board"),
    run("gpu-makemore train --backend vulkan", |ran, _| {
        ran.prints(&[", vulkan; ", "the model is in runs/2"])
    })
    .plus("--steps 20")
    .needs(Needs::Vulkan),
    run(
        "gpu-makemore train --backend vulkan --schedule staged",
        |ran, _| ran.prints(&["schedule    staged"]),
    )
    .plus("--steps 20")
    .needs(Needs::Vulkan),
    run("gpu-makemore train --backend vulkan --profile", |ran, _| {
        ran.prints(&["resident", "host"])
    })
    .plus("--steps 20")
    .needs(Needs::Vulkan),
    run("gpu-makemore train --resume runs/first", |_, place| {
        // It ends with the bits of the run that nobody interrupted.
        for file in ["model.safetensors", "metrics.jsonl", "loss.png"] {
            if place.read(&format!("runs/first/{file}"))
                != place.read(&format!("runs/whole/{file}"))
            {
                return Err(format!("{file} is not that of the whole run").into());
            }
        }
        Ok(())
    })
    .after(&[FIRST])
    .prepare(interrupt)
    .bare(),
    run("gpu-makemore compare runs/first runs/wide", |ran, place| {
        ran.prints(&["first", "wide", "--n-hidden", "24", "2.0711"])?;
        place.png("compare.png")
    })
    .after(&[FIRST])
    .prepare(|place| {
        let wide = "gpu-makemore train --n-hidden 24 --steps 20 --out runs/wide";
        expect("a second run", place.command(wide)?.output()?.status.success(), true)
    }),
    run("gpu-makemore eval --checkpoint runs/first", |ran, _| {
        ran.prints(&[
            "train   2.0711  (182625 examples)",
            "val     2.1119  (22655 examples)",
            "test    2.1107  (22866 examples)",
        ])
    })
    .after(&[FIRST]),
    run(
        "gpu-makemore sample --checkpoint runs/first -n 5 --prefix mar",
        |ran, _| {
            let names: Vec<&str> = ran.stdout.lines().collect();
            match names.len() == 5 && names.iter().all(|name| name.starts_with("mar")) {
                true => Ok(()),
                false => Err(format!("{names:?}").into()),
            }
        },
    )
    .after(&[FIRST]),
    run(
        "gpu-makemore sample --checkpoint runs/first --new --json",
        |ran, _| {
            ran.prints(&[
                r#"{"name":"carlah","probability":"#,
                r#""training_word":false}"#,
            ])
        },
    )
    .after(&[FIRST]),
    run("gpu-makemore show runs/first", |ran, place| {
        ran.prints(&[
            "27: .abcdefghijklmnopqrstuvwxyz",
            "200000 steps with --backend cpu",
            "the lecture's\n",
            "train 2.0711, val 2.1119, test 2.1107",
        ])?;
        for name in ["embeddings", "tanh-histogram", "tanh-saturation"] {
            place.png(&format!("runs/first/{name}.png"))?;
        }
        Ok(())
    })
    .after(&[FIRST]),
    run("gpu-makemore gradcheck", |ran, _| {
        ran.prints(&["logprobs", "hprebn"])
    }),
    run("gpu-makemore gradcheck --exercise 2", |ran, place| {
        ran.prints(&["logits"])?;
        expect(
            "the pictures",
            place.files("runs/gradcheck").as_str(),
            "dlogits-colour.png dlogits.png",
        )
    }),
    run("gpu-makemore gradcheck --explain bnvar", |ran, _| {
        ran.prints(&["forward:  bnvar_inv", "derivative", "backward: dbnvar ="])
    }),
    run(LEARN, |ran, place| {
        ran.prints(&["41 exercises are in exercises-of-mine"])?;
        let first = place.files("exercises-of-mine");
        expect("the first file", first.split(' ').next(), Some("01_dlogprobs.wgsl"))
    }),
    never(
        "gpu-makemore learn watch --dir exercises-of-mine",
        "it ends with Ctrl-C; tests/learn.rs runs it",
    ),
    run("gpu-makemore learn list", |ran, _| {
        ran.prints(&[" 3  dcounts_sum_inv", "probs = counts * counts_sum_inv"])
    }),
    never(
        "gpu-makemore page",
        "it serves until it is interrupted; tests/cli.rs runs it",
    ),
    never(
        "cargo install --path . --features page",
        "it would install for good; tests/cli.rs runs what it makes",
    ),
    run("gpu-makemore completions bash", |ran, _| {
        ran.prints(&["complete -F _gpu__makemore", "gradcheck"])
    }),
    run("gpu-makemore man man1", |ran, place| {
        ran.prints(&["man pages are in man1"])?;
        expect("a page", place.path("man1/gpu-makemore-train.1").exists(), true)
    }),
    run(SHADERS, |ran, place| {
        ran.prints(&["of them written now", "gpu-makemore train --shaders kernels"])?;
        expect("a kernel", place.path("kernels/staged/linear.wgsl").exists(), true)
    }),
    run(
        "gpu-makemore gradcheck --backend vulkan --shaders kernels",
        |ran, _| ran.prints(&["shaders   kernels: no file differs from the program's own"]),
    )
    .after(&[SHADERS])
    .needs(Needs::Vulkan),
    run(
        "gpu-makemore sweep --lr 0.05,0.1,0.2 --seeds 8",
        |ran, _| ran.prints(&["24 models: 3 lr x 8 seeds", "\n24/24 "]),
    )
    .plus("--steps 200"),
    run("gpu-makemore train --adapter 1", |ran, _| {
        ran.prints(&["why         --adapter 1; ", "the model is in runs/2"])
    })
    .plus("--steps 20")
    .needs(Needs::Vulkan),
    run("gpu-makemore adapters", |ran, _| {
        ran.prints(&["--backend auto takes "])
    }),
    run("gpu-makemore adapters --tuning", |ran, _| {
        ran.prints(&["--backend auto takes "])
    }),
    run("gpu-makemore adapters --probe", |ran, _| {
        ran.prints(&["loops", "subnormals"])
    })
    .needs(Needs::Vulkan),
    run("cargo bench", |ran, _| {
        ran.prints(&["Testing lecture/cpu/"])
    })
    .plus("-- --test")
    .needs(Needs::Minutes),
    run(SWEEP, |ran, _| {
        ran.prints(&["56 models: 7 lr x 8 seeds", "\n56/56 "])
    })
    .plus("--steps 200"),
    run(SWEEP_REPORT, |ran, place| {
        ran.prints(&["56 of 56 models have ended"])?;
        place.png("rates.png")
    })
    .after(&[SWEEP]),
    run("gpu-makemore train --data towns.txt", |ran, _| {
        ran.prints(&["towns.txt: 1000 words"])
    })
    .plus("--steps 200")
    .prepare(towns),
    run(
        "gpu-makemore train --data towns.csv --column name --clean",
        |ran, _| ran.prints(&["towns.csv", "vocabulary  29: . -abc"]),
    )
    .plus("--steps 200")
    .prepare(towns),
    run("gpu-makemore train --data municipalities", |ran, _| {
        ran.prints(&["municipalities: 8133 words"])
    })
    .plus("--steps 200"),
    run(START, |ran, _| {
        ran.prints(&["start       notebook.safetensors: loss over the training set"])
    })
    .plus("--steps 200")
    .prepare(|place| {
        // A model of the notebook among other tensors of it.
        place.write(
            "notebook.safetensors",
            Fixture::open("step_lecture.safetensors").bytes(),
        )
    }),
    run(AGAINST, |ran, _| ran.prints(&["d.bndiff", "d.C"])).prepare(|place| {
        // The lecture's variables as PyTorch computed them.
        place.write(
            "mine.safetensors",
            Fixture::open("step_lecture.safetensors").bytes(),
        )
    }),
    run("gpu-makemore gradcheck --explain bndiff", |ran, _| {
        ran.prints(&["forward:  bndiff2 = bndiff**2", "backward: dbndiff"])
    }),
    run("gpu-makemore gradcheck --explain --exercise 2", |ran, _| {
        ran.prints(&["softmax"])
    }),
    run("gpu-makemore gradcheck --explain --exercise 3", |ran, _| {
        ran.prints(&["bnvar"])
    }),
    run(
        "python3 benches/peers/run.py --adapters vulkan,gl",
        |ran, _| ran.prints(&["## One core", "## Time to the first loss"]),
    )
    .plus("--seconds 0.01 --binary {program}")
    .needs(Needs::Minutes),
    run(
        "cargo test --release --lib contexts -- --nocapture",
        |ran, _| ran.prints(&["4096 examples: 13", "test result: ok"]),
    )
    .needs(Needs::Release),
    run("cargo run --release --example growth", |ran, place| {
        ran.prints(&["by batch; hidden 200", "by models at once", "growth.png"])?;
        place.png("criterion/growth.png")
    })
    .plus("-- --criterion {place}/criterion")
    .prepare(criterion_results)
    .needs(Needs::Release),
    run("cargo run --release --example tune", |ran, _| {
        ran.prints(&["resident, models at once 1", "staged", "search 1: "])
    })
    .plus("-- --first 1 --milliseconds 1 --n-hidden 8 --batch-size 4")
    .needs(Needs::Release),
];

const SWEEP: &str = "gpu-makemore sweep --lr 0.03,0.05,0.07,0.1,0.15,0.2,0.3:log --lr-final 0.01 \
                     --seeds 8 --out runs/rates";
const SWEEP_REPORT: &str = "gpu-makemore sweep report runs/rates --png rates.png";
const WHEEL: &str = "pip install target/wheels/gpu_makemore-0.1.0-py3-none-manylinux2014_x86_64.\
                     manylinux_2_17_x86_64.whl";
const LEARN: &str = "gpu-makemore learn exercises-of-mine";
const SHADERS: &str = "gpu-makemore shaders kernels";
const START: &str = "gpu-makemore train --init-from notebook.safetensors";
const AGAINST: &str = "gpu-makemore gradcheck --against mine.safetensors";

/// A code block that is no list of commands.
struct Block {
    language: &'static str,
    begins: &'static str,
    needs: Needs,
    test: fn(&Place, &str) -> Outcome,
}

/// All of them.
const BLOCKS: &[Block] = &[
    Block {
        language: "text",
        begins: "device ",
        needs: Needs::Nothing,
        test: |place, block| {
            place.ensure(FIRST)?;
            same_lines(block, &place.ran(FIRST).stdout)
        },
    },
    Block {
        language: "text",
        begins: "^C",
        needs: Needs::Nothing,
        test: |place, block| {
            place.ensure("gpu-makemore train --resume runs/first")?;
            let block = block.trim_start_matches("^C\n");
            same_lines(block, &place.interrupted.borrow())
        },
    },
    Block {
        language: "text",
        begins: "   lr ",
        needs: Needs::Nothing,
        test: sweep_table,
    },
    Block {
        language: "python",
        begins: "import json, torch",
        needs: Needs::Torch,
        test: |place, block| {
            place.ensure(FIRST)?;
            // The last line says in a comment what it prints.
            let (_, name) = block.trim_end().rsplit_once("# ").ok_or("no comment")?;
            let ran = place.python("model.py", block, &[])?;
            expect("the name", ran.stdout.trim(), name)
        },
    },
    Block {
        language: "python",
        begins: "import safetensors.torch",
        needs: Needs::Torch,
        test: |place, block| {
            let cell = format!("{}\n{block}", include_str!("notebook.py"));
            place.python("save.py", &cell, &["right"])?;
            let still = format!("{START} --steps 1 --lr 0 --seed 1 --out runs/still");
            let ran = place.program(&still)?.succeeded()?;
            ran.prints(&["start       notebook.safetensors: loss over"])
        },
    },
    Block {
        language: "python",
        begins: "run = gpu_makemore.train",
        needs: Needs::Torch,
        test: |place, block| {
            let cell = format!("import gpu_makemore\n{block}").replace("200_000", "200");
            let ran = place.python("train.py", &cell, &[])?;
            ran.prints(&["the model is in runs/2"])
        },
    },
    Block {
        language: "python",
        begins: "import gpu_makemore",
        needs: Needs::Torch,
        test: |place, block| {
            let cell = format!("{}\n{block}", include_str!("notebook.py"));
            let ran = place.python("cell.py", &cell, &["right"])?;
            ran.prints(&["\n45 of 45 tensors agree\n"])?;
            let ran = place.python("cell.py", &cell, &["forgetful"])?;
            // The numbers are those of another minibatch.
            let shown = place.readme.block("dbndiff ");
            let last = shown.lines().last().unwrap_or_default();
            ran.prints(&[&format!("\n{last}\n"), "\ndbndiff  ", "  WRONG\n    "])
        },
    },
    Block {
        language: "text",
        begins: "dbndiff ",
        needs: Needs::Never("it is what the cell above it prints; python/test holds it"),
        test: |_, _| Ok(()),
    },
    Block {
        language: "text",
        begins: "error: gradcheck",
        needs: Needs::Nothing,
        test: |place, block| {
            place.ensure(AGAINST)?;
            place.write("mine.safetensors", forgetful()?)?;
            same_lines(block, &place.program(AGAINST)?.failed()?)
        },
    },
    Block {
        language: "text",
        begins: "  forward ",
        needs: Needs::Never("it is a drawing; no program prints it"),
        test: |_, _| Ok(()),
    },
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1); // the commands build on one another
    let all = arguments.include_ignored || arguments.ignored;
    let readme = Arc::new(Readme::open(&root().join("README.md")));
    let place = Arc::new(Mutex::new(Place::new(Arc::clone(&readme))));

    let mut trials = vec![
        Trial::test("every_command_and_block_has_an_entry", {
            let readme = Arc::clone(&readme);
            move || each_has_an_entry(&readme)
        }),
        Trial::test("the_targets_are_there", {
            let readme = Arc::clone(&readme);
            move || targets(&readme)
        }),
        Trial::test("every_link_leads_somewhere", links),
        Trial::test(
            "the_ways_to_many_machines_are_those_that_were_rehearsed",
            ways,
        ),
        Trial::ignorable_test("growth_without_results_says_what_to_run", {
            let place = Arc::clone(&place);
            move || {
                completed(Needs::Release, all, || {
                    growth_without_results(&lock(&place))
                })
            }
        }),
    ];
    for entry in COMMANDS {
        let place = Arc::clone(&place);
        let name = format!("command::{}", entry.command);
        trials.push(Trial::ignorable_test(name, move || {
            completed(entry.needs, all, || lock(&place).ensure(entry.command))
        }));
    }
    for block in BLOCKS {
        let (place, readme) = (Arc::clone(&place), Arc::clone(&readme));
        let name = format!("{}::{}", block.language, block.begins.trim());
        trials.push(Trial::ignorable_test(name, move || {
            completed(block.needs, all, || {
                (block.test)(&lock(&place), &readme.block(block.begins))
            })
        }));
    }
    trials.push(Trial::ignorable_test(
        "the_figures_of_the_sweep",
        move || {
            completed(Needs::Minutes, all, || {
                whole_sweep(&lock(&place), &readme.block("   lr "))
            })
        },
    ));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A place that a failed test held is still good: what failed is noted in it.
fn lock(place: &Mutex<Place>) -> std::sync::MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs a test if there is what it needs; otherwise says why not.
fn completed(
    needs: Needs,
    all: bool,
    test: impl FnOnce() -> Outcome,
) -> Result<Completion, Failed> {
    let required = std::env::var("GPU_MAKEMORE_REQUIRE").unwrap_or_default();
    let is_required = |what: &str| required.split(',').any(|r| r == what);
    let missing = match needs {
        Needs::Nothing => None,
        Needs::Never(why) => Some(why.to_owned()),
        Needs::Vulkan if is_required("vulkan") => None,
        Needs::Vulkan => {
            let adapters = Command::new(PROGRAM).arg("adapters").output()?;
            let none = !String::from_utf8_lossy(&adapters.stdout).contains("  vulkan ");
            none.then(|| "no adapter: Vulkan finds none; tests/run installs one".to_owned())
        }
        Needs::Torch => match Command::new(interpreter()).args(["-c", IMPORTS]).output() {
            Ok(output) if output.status.success() => None,
            _ if is_required("torch") => None,
            _ => Some(format!(
                "{} cannot {IMPORTS}; GPU_MAKEMORE_PYTHON names another",
                interpreter().display()
            )),
        },
        Needs::Minutes if !all => Some("long: tests/run --all runs it".to_owned()),
        // Cargo would build everything once more.
        Needs::Release | Needs::Minutes if !is_release() => {
            Some("long: tests/run --all runs it, with the release build".to_owned())
        }
        Needs::Release | Needs::Minutes => None,
    };
    match missing {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => test().map(|()| Completion::Completed),
    }
}

const IMPORTS: &str = "import torch, safetensors, numpy";

fn interpreter() -> PathBuf {
    std::env::var_os("GPU_MAKEMORE_PYTHON").map_or("python3".into(), PathBuf::from)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// ------------------------------------------------------------------------------------- the README

/// What a page in Markdown holds.
#[derive(Default)]
struct Readme {
    /// All commands, each once, in their order.
    commands: Vec<String>,
    /// Language and text of every block that is not `sh`.
    blocks: Vec<(String, String)>,
    /// Where links and pictures lead.
    links: Vec<String>,
    /// Inline code.
    code: Vec<String>,
    headings: Vec<String>,
}

impl Readme {
    fn open(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut page = Self::default();
        // The code block or the heading that is being read.
        let (mut block, mut heading) = (None, None);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    block = Some((language.to_string(), String::new()));
                }
                Event::End(TagEnd::CodeBlock) => match block.take() {
                    Some((language, text)) if language == "sh" => {
                        for command in simple_commands(&text) {
                            page.add(command);
                        }
                    }
                    Some(block) => page.blocks.push(block),
                    None => {} // indented
                },
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.headings.extend(heading.take()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Code(code) => {
                    heading.iter_mut().for_each(|text| text.push_str(&code));
                    if is_command(&code) {
                        page.add(code.to_string());
                    }
                    page.code.push(code.to_string());
                }
                Event::Text(text) => {
                    block
                        .iter_mut()
                        .for_each(|(_, block)| block.push_str(&text));
                    heading
                        .iter_mut()
                        .for_each(|heading| heading.push_str(&text));
                }
                _ => {}
            }
        }
        page
    }

    fn add(&mut self, command: String) {
        if !self.commands.contains(&command) {
            self.commands.push(command);
        }
    }

    /// The block that begins like this.
    fn block(&self, begins: &str) -> String {
        let mut blocks = self.blocks.iter().map(|(_, text)| text);
        let block = blocks.find(|text| text.starts_with(begins));
        block.cloned().unwrap_or_default()
    }
}

/// Whether inline code is a command to paste: a program, and something behind it or a script.
fn is_command(code: &str) -> bool {
    let program = code.split(' ').next().unwrap_or_default();
    PROGRAMS.contains(&program) && (code.contains(' ') || code.contains('/'))
}

/// The commands of a shell block: lines, joined after a backslash, cut at `&&`, without comments.
fn simple_commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| match line.find(" #") {
        Some(comment) => &line[..comment],
        None => line,
    });
    let parts = lines.flat_map(|line| line.split("&&"));
    let words = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|command| !command.is_empty()).collect()
}

fn each_has_an_entry(readme: &Readme) -> Outcome {
    let written: BTreeSet<&str> = readme.commands.iter().map(String::as_str).collect();
    let tested: BTreeSet<&str> = COMMANDS.iter().map(|entry| entry.command).collect();
    if let Some(command) = written.difference(&tested).next() {
        return Err(format!("the README has `{command}`, which COMMANDS lacks").into());
    }
    if let Some(command) = tested.difference(&written).next() {
        return Err(format!("COMMANDS has `{command}`, which the README lacks").into());
    }
    expect("entries", COMMANDS.len(), tested.len())?;
    // Whoever pastes one after another must have what each reads.
    let place_of = |command: &str| readme.commands.iter().position(|c| c == command);
    for entry in COMMANDS {
        for before in entry.after {
            if place_of(before) >= place_of(entry.command) {
                return Err(format!("`{}` stands before `{before}`", entry.command).into());
            }
        }
    }

    let entry_of = |(language, text): &(String, String)| {
        let is_it = |block: &Block| block.language == language && text.starts_with(block.begins);
        BLOCKS.iter().position(is_it)
    };
    let mut seen = BTreeSet::new();
    for block in &readme.blocks {
        let entry = entry_of(block).ok_or_else(|| format!("BLOCKS lacks {block:?}"))?;
        if !seen.insert(entry) {
            return Err(format!("two blocks begin with {:?}", BLOCKS[entry].begins).into());
        }
    }
    expect("blocks", seen.len(), BLOCKS.len())
}

/// What the commands of cargo and the prose say of the package.
fn targets(readme: &Readme) -> Outcome {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let package = &metadata["packages"][0];
    expect(
        "default-run",
        package["default_run"].as_str(),
        Some("gpu-makemore"),
    )?;
    let targets = package["targets"].as_array().ok_or("no targets")?;
    let is_there = |kind: &str, name: &str| {
        targets
            .iter()
            .any(|target| target["kind"][0] == kind && target["name"] == name)
    };
    if !is_there("bin", "gpu-makemore") {
        return Err("there is no program gpu-makemore".into());
    }
    let text = fs::read_to_string(root().join("README.md"))?;
    let rust = package["rust_version"].as_str().ok_or("no rust-version")?;
    let sentence = format!("[Rust](https://rustup.rs) {rust} or newer");
    expect(&sentence, text.contains(&sentence), true)?;
    // Once the package names its address, the README has to name the same.
    if let Some(address) = package["repository"].as_str() {
        let clone = format!("git clone {address} gpu-makemore");
        expect(&clone, readme.commands.contains(&clone), true)?;
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------ links

/// The pages whose links are followed.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "data/README.md",
    ]
    .map(|page| root().join(page))
    .into();
    for folder in ["docs", "benches/results"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            pages.extend((path.extension() == Some("md".as_ref())).then_some(path));
        }
    }
    pages
}

/// Every relative link and every path in inline code is a file of the repository, and every `#` a
/// heading in it.
fn links() -> Outcome {
    let mut followed = 0;
    for path in pages() {
        let page = Readme::open(&path);
        let folder = path.parent().ok_or("a page without a folder")?;
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => folder.join(file),
            };
            if !target.exists() {
                return Err(format!("{}: {link} leads nowhere", path.display()).into());
            }
            if !heading.is_empty() {
                let headings = Readme::open(&target).headings;
                if !headings.iter().any(|text| anchor(text) == heading) {
                    return Err(format!("{}: {link}: no such heading", path.display()).into());
                }
            }
            followed += 1;
        }
        let is_path = |code: &&String| {
            let ends = [".rs", ".py", ".wgsl"]
                .iter()
                .any(|end| code.ends_with(end));
            ends && code.contains('/') && !code.contains(' ')
        };
        for code in page.code.iter().filter(is_path) {
            if !root().join(code).exists() {
                return Err(format!("{}: there is no {code}", path.display()).into());
            }
            followed += 1;
        }
    }
    if followed < 40 {
        return Err(format!("only {followed} links: the pages are not read").into());
    }
    Ok(())
}

/// docs/sweep.md shows each file to copy as it stands in docs/cluster, where the rehearsals run it.
fn ways() -> Outcome {
    let page = fs::read_to_string(root().join("docs/sweep.md"))?;
    let mut shown = 0;
    for entry in fs::read_dir(root().join("docs/cluster"))? {
        let path = entry?.path();
        if path.is_file() {
            let file = fs::read_to_string(&path)?;
            if !page.contains(&format!("\n{file}```\n")) {
                let path = path.display();
                return Err(format!("docs/sweep.md does not show {path} as it is").into());
            }
            shown += 1;
        }
    }
    expect("the files that are shown", shown, 4)
}

/// The name that a heading gets on the web.
fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase().replace(' ', "-");
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c));
    kept.collect()
}

// ----------------------------------------------------------------------------------- running things

/// The folder that a reader works in.
struct Place {
    folder: TempDir,
    readme: Arc<Readme>,
    /// What was run so far: what it printed, or why it failed.
    results: RefCell<BTreeMap<&'static str, Result<Ran, String>>>,
    /// What the interrupted run said.
    interrupted: RefCell<String>,
}

/// A command that ended.
#[derive(Clone)]
struct Ran {
    command: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(what: impl Into<String>, command: &mut Command) -> Result<Self, Failed> {
        let what = what.into();
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{what}: {e}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self {
            command: what,
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Nothing else will do, and no word of an error.
    fn succeeded(self) -> Result<Self, Failed> {
        let error = self.stderr.lines().find(|line| line.starts_with("error:"));
        match (self.code, error) {
            (Some(0), None) => Ok(self),
            _ => Err(self.shown("failed")),
        }
    }

    /// What a command that must fail says.
    fn failed(self) -> Result<String, Failed> {
        match self.code {
            Some(1) => Ok(self.stderr),
            _ => Err(self.shown("did not end with exit code 1")),
        }
    }

    fn prints(&self, parts: &[&str]) -> Outcome {
        match parts.iter().find(|part| !self.stdout.contains(**part)) {
            Some(part) => Err(self.shown(&format!("does not print {part:?}"))),
            None => Ok(()),
        }
    }

    fn shown(&self, what: &str) -> Failed {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        format!("`{command}` {what}; exit code {code:?}\n{stdout}\n{stderr}").into()
    }
}

impl Place {
    fn new(readme: Arc<Readme>) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            readme,
            results: RefCell::default(),
            interrupted: RefCell::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Outcome {
        let path = self.path(name);
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        Ok(fs::write(path, content)?)
    }

    /// The names in a folder, in order.
    fn files(&self, folder: &str) -> String {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Whether there is such a picture.
    fn png(&self, name: &str) -> Outcome {
        let file = BufReader::new(fs::File::open(self.path(name))?);
        let info = png::Decoder::new(file).read_info()?;
        expect("an empty picture", info.info().width > 100, true)
    }

    /// What an earlier command printed.
    fn ran(&self, command: &str) -> Ran {
        self.results.borrow()[command].clone().unwrap()
    }

    /// Runs a command of the README, and before it those that it builds on; each once.
    fn ensure(&self, command: &'static str) -> Outcome {
        let before = self.results.borrow().get(command).cloned();
        let result = match before {
            Some(result) => result,
            None => {
                let entry = COMMANDS.iter().find(|entry| entry.command == command);
                let entry = entry.ok_or_else(|| format!("COMMANDS lacks `{command}`"))?;
                let result = self.run(entry);
                let result = result.map_err(|e| e.message().unwrap_or("failed").to_owned());
                self.results.borrow_mut().insert(command, result.clone());
                result
            }
        };
        result.map(|_| ()).map_err(Failed::from)
    }

    fn run(&self, entry: &Entry) -> Result<Ran, Failed> {
        entry
            .after
            .iter()
            .try_for_each(|before| self.ensure(before))?;
        (entry.prepare)(self)?;
        let written = format!("{} {}", entry.command, entry.plus);
        let mut command = self.command(&written)?;
        if entry.bare {
            hide_drivers(&mut command);
        }
        let ran = Ran::of(written.trim(), &mut command)?.succeeded()?;
        (entry.check)(&ran, self)?;
        Ok(ran)
    }

    /// A command of the program, as it is written.
    fn program(&self, command: &str) -> Result<Ran, Failed> {
        Ran::of(command, &mut self.command(command)?)
    }

    /// A command line as a process, which has not started yet.
    fn command(&self, line: &str) -> Result<Command, Failed> {
        // Words are all that such a line may have: no shell looks at it.
        if let Some(c) = line.chars().find(|c| "\"'`$*?;|<>()#~".contains(*c)) {
            return Err(format!("`{line}` has a {c}, which only a shell understands").into());
        }
        let folder = self
            .folder
            .path()
            .to_str()
            .ok_or("a folder that is no text")?;
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| {
                word.replace("{place}", folder)
                    .replace("{program}", PROGRAM)
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (mut command, arguments) = match &words[..] {
            // `cargo run` would build the program that is there already, in a folder with `src`.
            ["gpu-makemore", rest @ ..] | ["cargo", "run", "--release", "--", rest @ ..] => {
                let mut command = Command::new(PROGRAM);
                command.current_dir(&self.folder);
                (command, rest)
            }
            ["cargo", rest @ ..] => {
                let mut command = Command::new(env!("CARGO"));
                command.current_dir(root());
                (command, rest)
            }
            ["python3", rest @ ..] => {
                let mut command = Command::new(interpreter());
                command.current_dir(root());
                (command, rest)
            }
            _ => return Err(format!("nobody knows how to run `{line}`").into()),
        };
        command.args(arguments);
        // No search writes into the cache folder of whoever runs the tests, by whatever script it is started.
        command.env("GPU_MAKEMORE_TUNE", "off");
        Ok(command)
    }

    /// Runs a script in the folder, with the package in python/ and the program under test.
    fn python(&self, name: &str, script: &str, arguments: &[&str]) -> Result<Ran, Failed> {
        self.write(name, script)?;
        let mut command = Command::new(interpreter());
        let command = command.arg(name).args(arguments).current_dir(&self.folder);
        let command = command
            .env("ROOT", root())
            .env("PYTHONPATH", root().join("python"))
            .env("GPU_MAKEMORE_PROGRAM", PROGRAM);
        Ran::of(name, command)?.succeeded()
    }
}

/// Linux finds drivers by these variables (Vulkan's has two names, by the loader's age).
fn hide_drivers(command: &mut Command) {
    for name in [
        "VK_DRIVER_FILES",
        "VK_ICD_FILENAMES",
        "__EGL_VENDOR_LIBRARY_FILENAMES",
    ] {
        command.env(name, "/none");
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Outcome {
    match got == want {
        true => Ok(()),
        false => Err(format!("{what}: {got:?}, expected {want:?}").into()),
    }
}

/// Holds a block of the README against what was printed. `…` stands for any lines; of times, and of
/// the moment at which a run was interrupted, only the form is compared.
fn same_lines(block: &str, printed: &str) -> Outcome {
    let mut lines = printed.lines();
    let mut skip = false;
    for want in block.lines() {
        if want.trim() == "…" {
            skip = true;
            continue;
        }
        let is_it = |line: &&str| masked(line) == masked(want);
        let found = match skip {
            true => lines.find(is_it),
            false => lines.next().filter(is_it),
        };
        if found.is_none() {
            return Err(
                format!("the README has {want:?}, and this was printed:\n{printed}").into(),
            );
        }
        skip = false;
    }
    if lines.next().is_some() {
        return Err(format!("the README's block ends before what was printed:\n{printed}").into());
    }
    Ok(())
}

/// A line without what differs from machine to machine and from run to run.
fn masked(line: &str) -> String {
    if let Some((cpu, _)) = line.split_once("CPU; ") {
        return format!("{cpu}CPU");
    }
    let varies = line.contains(" steps/s") || line.starts_with("interrupted after ");
    let mut masked = String::new();
    for c in line.chars() {
        match varies && (c.is_ascii_digit() || c == '.') {
            true if masked.ends_with('0') => {}
            true => masked.push('0'),
            false => masked.push(c),
        }
    }
    masked
}

// -------------------------------------------------------------------------- what a reader has done

/// Starts the first command's run again and interrupts it, as Ctrl-C does. The whole run stays
/// beside it, in `runs/whole`.
fn interrupt(place: &Place) -> Outcome {
    fs::rename(place.path("runs/first"), place.path("runs/whole"))?;
    let mut command = place.command(FIRST)?;
    hide_drivers(&mut command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
    lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("  10000/ ")));
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    expect("kill", signalled.success(), true)?;
    // Whatever it still prints has to be read, or it would wait.
    lines.for_each(drop);
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8(output.stderr)?;
    if output.status.code() != Some(130) {
        return Err(format!("interrupted, it ended with {}: {stderr}", output.status).into());
    }
    *place.interrupted.borrow_mut() = stderr;
    Ok(())
}

/// Words of one's own, in both forms.
fn towns(place: &Place) -> Outcome {
    let names = include_str!("../data/names.txt").lines().take(1000);
    let municipalities = include_str!("../data/municipalities.csv");
    place.write("towns.txt", names.collect::<Vec<_>>().join("\n"))?;
    place.write("towns.csv", municipalities)
}

/// Results as criterion leaves them: a point of each growth curve, and a second one.
fn criterion_results(place: &Place) -> Outcome {
    for (group, size, ns) in [
        ("lecture", "batch 32, hidden 200", 21_000.0),
        ("batch", "512", 200_000.0),
        ("hidden", "400", 42_000.0),
        ("models", "1", 25_000.0),
        ("models", "2", 33_000.0),
    ] {
        let folder = format!("criterion/{group}/cpu/{size}/new");
        let about = json!({"group_id": group, "function_id": "cpu", "value_str": size});
        let estimates = json!({"median": {"point_estimate": ns}});
        place.write(&format!("{folder}/benchmark.json"), about.to_string())?;
        place.write(&format!("{folder}/estimates.json"), estimates.to_string())?;
    }
    Ok(())
}

fn growth_without_results(place: &Place) -> Outcome {
    let line = "cargo run --release --example growth -- --criterion {place}/nothing";
    let error = Ran::of(line, &mut place.command(line)?)?.failed()?;
    expect(&error, error.contains("run `cargo bench` first"), true)
}

/// The header and the rows of the sweep; the figures are those of a shortened one.
fn sweep_table(place: &Place, block: &str) -> Outcome {
    place.ensure(SWEEP_REPORT)?;
    let stdout = place.ran(SWEEP_REPORT).stdout;
    let header = block.lines().next().ok_or("an empty block")?;
    let printed: Vec<&str> = stdout
        .lines()
        .skip_while(|line| *line != header)
        .take(block.lines().count())
        .collect();
    expect("the sweep's header", printed.first(), Some(&header))?;
    // The first column of each row; which rate is best after a few steps is another matter.
    let rates = |lines: &[&str]| -> BTreeSet<String> {
        let first = |line: &&str| line.split_whitespace().next().map(str::to_owned);
        lines[1..].iter().filter_map(first).collect()
    };
    let want = rates(&block.lines().collect::<Vec<_>>());
    expect("rates", want.len(), 7)?;
    expect("the sweep's rows", rates(&printed), want)
}

/// The whole sweep, and its figures to the last digit.
fn whole_sweep(place: &Place, block: &str) -> Outcome {
    let [sweep, report] = [SWEEP, SWEEP_REPORT].map(|line| line.replace("runs/rates", "runs/all"));
    place
        .program(&format!("{sweep} --backend cpu"))?
        .succeeded()?;
    let stdout = place.program(&report)?.succeeded()?.stdout;
    match stdout.contains(block) {
        true => Ok(()),
        false => Err(stdout.into()),
    }
}

/// The gradients of somebody who forgot that `bndiff` is used twice: once for `bnraw`, which is here,
/// and once for the variance, which is not. What follows from it is wrong as well.
fn forgetful() -> Result<Vec<u8>, Failed> {
    let fixture = Fixture::open("step_lecture.safetensors");
    let dims = fixture.dims();
    let (batch, hidden, inputs) = (dims.batch, dims.hidden, dims.block * dims.embd);
    let [bnvar_inv, dbnraw, dbnmeani] =
        ["bnvar_inv", "d.bnraw", "d.bnmeani"].map(|n| fixture.f64(n));
    let [w1, embcat] = ["W1", "embcat"].map(|n| fixture.f64(n));
    // (batch, hidden)
    let dbndiff: Vec<f64> = (0..batch * hidden)
        .map(|i| bnvar_inv[i % hidden] * dbnraw[i])
        .collect();
    let dhprebn: Vec<f64> = (0..batch * hidden)
        .map(|i| dbndiff[i] + dbnmeani[i % hidden] / batch as f64)
        .collect();
    let (mut dembcat, mut dw1) = (vec![0.0; batch * inputs], vec![0.0; inputs * hidden]);
    for b in 0..batch {
        for i in 0..inputs {
            for j in 0..hidden {
                dembcat[b * inputs + i] += dhprebn[b * hidden + j] * w1[i * hidden + j];
                dw1[i * hidden + j] += embcat[b * inputs + i] * dhprebn[b * hidden + j];
            }
        }
    }
    let db1 = (0..hidden)
        .map(|j| (0..batch).map(|b| dhprebn[b * hidden + j]).sum())
        .collect();
    let mut dc = vec![0.0; dims.vocab * dims.embd];
    for (place, &token) in fixture.tokens("X").iter().enumerate() {
        for e in 0..dims.embd {
            dc[usize::from(token) * dims.embd + e] += dembcat[place * dims.embd + e];
        }
    }
    let wrong: BTreeMap<&str, Vec<f64>> = [
        ("d.bndiff", dbndiff),
        ("d.hprebn", dhprebn),
        ("d.embcat", dembcat.clone()),
        ("d.emb", dembcat),
        ("d.W1", dw1),
        ("d.b1", db1),
        ("d.C", dc),
    ]
    .into();
    let file = SafeTensors::deserialize(fixture.bytes())?;
    let mut views = Vec::new();
    for (name, tensor) in file.tensors() {
        let data = match wrong.get(name.as_str()) {
            Some(values) => bytemuck::cast_slice(values),
            None => tensor.data(),
        };
        views.push((
            name,
            TensorView::new(tensor.dtype(), tensor.shape().to_vec(), data)?,
        ));
    }
    Ok(safetensors::serialize(views, None)?)
}
