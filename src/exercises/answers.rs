//! The file of answers to an exercise, in sections that begin with `//#`.

/// What stands in `exercises/answers/` for an exercise.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The shapes, the scalar case, the line in words.
    pub hints: Vec<String>,
    /// The answer to the question of the heading.
    pub question: Option<String>,
    /// The solution.
    pub solution: String,
    /// Other right ways: how each differs, and its text.
    pub others: Vec<(String, String)>,
    /// For a kernel: the plain way to write it, whose time stands beside the learner's.
    pub plain: Option<(String, String)>,
    /// Typical mistakes.
    pub mistakes: Vec<Mistake>,
}

/// A typical mistake.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// In a few words.
    pub name: String,
    /// What a learner is told who has made it.
    pub told: String,
    /// The text with the mistake in it.
    pub text: String,
    /// Whether its values may be right: it is invocations that get in each other's way.
    pub is_race: bool,
}

impl Answers {
    /// Reads a file of answers. What is no section of a known kind is left out; a test holds that there is
    /// none.
    pub fn parse(text: &str) -> Self {
        let mut answers = Self::default();
        for section in text.split("//# ").skip(1) {
            let (title, body) = section.split_once('\n').unwrap_or((section, ""));
            let (kind, name) = title.split_once(':').unwrap_or((title, ""));
            let (name, code) = (name.trim().to_owned(), || body.trim().to_owned());
            match kind.trim() {
                "hint" => answers.hints.push(prose(body, "//")),
                "question" => answers.question = Some(prose(body, "//")),
                "solution" => answers.solution = code(),
                "other" => answers.others.push((name, code())),
                "plain" => answers.plain = Some((name, code())),
                kind @ ("mistake" | "race") => {
                    let told = |line: &&str| line.starts_with("//>");
                    let lines: Vec<&str> = body.lines().filter(|line| !told(line)).collect();
                    answers.mistakes.push(Mistake {
                        name,
                        told: prose(body, "//>"),
                        text: lines.join("\n").trim().to_owned(),
                        is_race: kind == "race",
                    });
                }
                _ => {}
            }
        }
        answers
    }
}

/// The comment lines of a section as one text; an empty comment line parts paragraphs.
fn prose(body: &str, mark: &str) -> String {
    let lines = body.lines().filter_map(|line| line.strip_prefix(mark));
    let lines: Vec<&str> = lines.map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty());
    let paragraphs = paragraphs.filter(|lines| !lines.is_empty());
    paragraphs
        .map(|lines| lines.join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_hints_solutions_and_mistakes() {
        let answers = Answers::parse(
            "//# hint\n// one\n// line\n//\n// two\n\n//# solution\n// why\nfn f() {}\n\n\
             //# other: backwards\nfn f() { }\n//# plain: slowly\nfn s() {}\n//# mistake: the sign\n//> It is\n//> minus.\n// x\nfn g() {}\n\
             //# race: no barrier\n//> Wait.\nfn h() {}\n//# question\n// Yes.\n",
        );
        assert_eq!(answers.hints, ["one line\n\ntwo"]);
        assert_eq!(answers.solution, "// why\nfn f() {}");
        assert_eq!(
            answers.others,
            [("backwards".to_owned(), "fn f() { }".to_owned())]
        );
        let plain = ("slowly".to_owned(), "fn s() {}".to_owned());
        assert_eq!(answers.plain, Some(plain));
        assert_eq!(answers.question.as_deref(), Some("Yes."));
        let [sign, race] = &answers.mistakes[..] else {
            panic!("{answers:?}")
        };
        assert_eq!(
            (&*sign.name, &*sign.told, &*sign.text),
            ("the sign", "It is minus.", "// x\nfn g() {}")
        );
        assert!(!sign.is_race && race.is_race);
    }
}
