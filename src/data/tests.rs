//! Data sets from end to end.

use std::error::Error;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::model::dims::Token;

type Outcome = Result<(), Box<dyn Error>>;

/// Options for a text that is CSV if its name says so.
fn file<'a>(name: &'a str, content: &'a (impl AsRef<[u8]> + ?Sized)) -> Options<'a> {
    Options {
        source: Source::Bytes {
            name,
            bytes: content.as_ref(),
            format: match name.to_lowercase().ends_with(".csv") {
                true => Format::Table,
                false => Format::Detect,
            },
        },
        ..Options::default()
    }
}

fn column(name: &str) -> Reading {
    Reading {
        column: Some(name.to_owned()),
        ..Reading::default()
    }
}

fn cleaning() -> Reading {
    Reading {
        clean: true,
        ..Reading::default()
    }
}

/// Reads the words of a file with these choices.
fn read(
    name: &str,
    content: impl AsRef<[u8]>,
    reading: &Reading,
) -> Result<(Vec<String>, Notes), DataError> {
    let (words, notes) = reader::read(&file(name, &content).source, reading)?;
    Ok((
        words.iter().map(|(_, word)| word.to_owned()).collect(),
        notes,
    ))
}

/// The words of a file, in its order.
fn words_of(name: &str, content: &str, column: Option<&str>) -> Result<Vec<String>, DataError> {
    let reading = column.map_or(Reading::default(), self::column);
    Ok(read(name, content, &reading)?.0)
}

/// The message of the error that loading gives.
fn message(
    name: &str,
    content: impl AsRef<[u8]>,
    column: Option<&str>,
) -> Result<String, Box<dyn Error>> {
    message_of(&Options {
        reading: column.map_or(Reading::default(), self::column),
        ..file(name, &content)
    })
}

fn message_of(options: &Options<'_>) -> Result<String, Box<dyn Error>> {
    match load(options) {
        Ok(_) => Err("loaded, but should have failed".into()),
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains('\n'), "more than one line: {message}");
            assert_eq!(message.starts_with("line "), error.has_line(), "{message}");
            Ok(message)
        }
    }
}

/// The words that the tokens of examples spell, in their order.
fn spelled(examples: &Examples, vocab: &Vocabulary) -> Option<Vec<String>> {
    let text: Option<String> = examples.y().map(|token| vocab.decode(token)).collect();
    let words = text?;
    Some(
        words
            .split_terminator(vocab.end())
            .map(str::to_owned)
            .collect(),
    )
}

/// Ten short words, the fewest with the round split 8/1/1.
const TEN: &str = "ab\nba\na\nb\naa\nbb\naab\nabb\nbab\nbaa\n";

mod embedded {
    use super::*;

    #[test]
    fn the_names_alone_are_the_names_that_are_read() {
        for block in [1, 3, 8] {
            let options = Options {
                block,
                ..Options::default()
            };
            assert_eq!(names(block).unwrap(), load(&options).unwrap());
        }
        assert!(matches!(names(0), Err(DataError::Block(_))));
    }

    #[test]
    fn files_are_those_of_the_readme() {
        let readme = include_str!("../../data/README.md");
        let files: [&[u8]; 2] = [
            include_bytes!("../../data/names.txt"),
            include_bytes!("../../data/municipalities.csv"),
        ];
        for file in files {
            let sum = hex(&Sha256::digest(file));
            assert!(
                readme.contains(&sum),
                "data/README.md lacks the checksum {sum}"
            );
        }
    }

    #[test]
    fn names_give_the_lectures_examples() -> Outcome {
        let names = load(&Options::default())?;
        assert_eq!(names.label, "names");
        assert!(!names.notes.cleaned);
        assert_eq!(
            names.vocab.chars().collect::<String>(),
            ".abcdefghijklmnopqrstuvwxyz"
        );
        assert_eq!(
            names.words,
            WordCounts {
                train: 25_626,
                val: 3_203,
                test: 3_204
            }
        );
        assert_eq!(names.words.of(Split::All), 32_033);
        // The shapes that the lecture's notebook prints.
        assert_eq!(names.split(Split::Train).len(), 182_625);
        assert_eq!(names.split(Split::Val).len(), 22_655);
        assert_eq!(names.split(Split::Test).len(), 22_866);
        assert_eq!(names.split(Split::All).len(), names.total());

        let words = spelled(&names.train, &names.vocab).ok_or("unknown token")?;
        assert_eq!(
            words[..5],
            ["yuheng", "diondre", "xavien", "jori", "juanluis"]
        );

        let spell = |tokens: &[Token]| -> String {
            tokens
                .iter()
                .filter_map(|&token| names.vocab.decode(token))
                .collect()
        };
        let rows: Vec<String> = (0..9)
            .map(|i| {
                let Batch { x, y } = names.train.range(i..i + 1);
                format!("{} --> {}", spell(&x), spell(&y))
            })
            .collect();
        assert_eq!(
            rows,
            [
                "... --> y",
                "..y --> u",
                ".yu --> h",
                "yuh --> e",
                "uhe --> n",
                "hen --> g",
                "eng --> .",
                "... --> d",
                "..d --> i",
            ]
        );
        Ok(())
    }

    /// One checksum over the contexts and targets of the three splits.
    fn checksum(dataset: &Dataset) -> String {
        let bytes = |tokens: &[Token]| tokens.iter().map(|&t| t as u8).collect::<Vec<u8>>();
        let mut sum = Sha256::new();
        for part in [&dataset.train, &dataset.val, &dataset.test] {
            let Batch { x, y } = part.range(0..part.len());
            sum.update(bytes(&x));
            sum.update(bytes(&y));
        }
        hex(&sum.finalize())
    }

    #[test]
    fn every_example_is_that_of_python() -> Outcome {
        // The same sums over `build_dataset` of the lecture, run by CPython 3.11; for the
        // municipalities after cleaning that drops the accents with `unicodedata`.
        assert_eq!(
            checksum(&load(&Options::default())?),
            "f14a558a29958fe91bb3f608e2a7862f68b91cbdadec5bf179e0d4ff62765502"
        );
        let options = Options {
            source: Source::Municipalities,
            ..Options::default()
        };
        assert_eq!(
            checksum(&load(&options)?),
            "648f44f286a345612a10a1c09125c361bef6c1a9b45a0725f8130c449554be96"
        );
        Ok(())
    }

    #[test]
    fn all_is_the_three_splits_in_order() -> Outcome {
        let names = load(&Options::default())?;
        let all = names.split(Split::All);
        let (n1, n2) = (names.train.len(), names.train.len() + names.val.len());
        let whole = |examples: &Examples| examples.range(0..examples.len());
        assert_eq!(all.range(0..n1), whole(&names.train));
        assert_eq!(all.range(n1..n2), whole(&names.val));
        assert_eq!(all.range(n2..all.len()), whole(&names.test));
        Ok(())
    }

    #[test]
    fn other_contexts_give_as_many_examples() -> Outcome {
        for block in [1, 8, 16] {
            let names = load(&Options {
                block,
                ..Options::default()
            })?;
            assert_eq!(names.total(), 228_146);
            assert_eq!(names.val.block(), block);
            assert_eq!(names.val.range(5..7).x.len(), block * 2);
        }
        Ok(())
    }

    #[test]
    fn cleaning_leaves_the_names_as_they_are() -> Outcome {
        let cleaned = load(&Options {
            reading: cleaning(),
            ..Options::default()
        })?;
        assert!(cleaned.notes.cleaned);
        assert_eq!(cleaned.train, load(&Options::default())?.train);
        Ok(())
    }

    #[test]
    fn municipalities_are_cleaned() -> Outcome {
        let options = Options {
            source: Source::Municipalities,
            ..Options::default()
        };
        let towns = load(&options)?;
        assert!(towns.notes.cleaned);
        assert_eq!(
            towns.vocab.chars().collect::<String>(),
            ". -abcdefghijklmnopqrstuvwxyz"
        );
        assert_eq!(towns.words.of(Split::All), 8_133);
        assert_eq!(towns.total(), 106_404);
        // Asking for what happens anyway changes nothing.
        assert_eq!(
            load(&Options {
                reading: Reading {
                    clean: true,
                    ..column("name")
                },
                ..options
            })?
            .train,
            towns.train
        );
        Ok(())
    }

    #[test]
    fn municipalities_have_a_second_column() -> Outcome {
        let options = Options {
            source: Source::Municipalities,
            reading: column("province"),
            ..Options::default()
        };
        let provinces = load(&options)?;
        assert_eq!(provinces.label, "municipalities, column province");
        assert_eq!(provinces.words.of(Split::All), 8_133);
        let mut words =
            spelled(&provinces.split(Split::All), &provinces.vocab).ok_or("unknown token")?;
        words.sort();
        words.dedup();
        assert_eq!(words.len(), 52);
        assert!(words.contains(&"illes balears".to_owned()));
        Ok(())
    }

    #[test]
    fn columns_that_are_not_there() {
        let names = Options {
            reading: column("name"),
            ..Options::default()
        };
        assert_eq!(
            load(&names).map_err(|e| e.to_string()),
            Err("has no columns, only lines".to_owned())
        );
        let towns = Options {
            source: Source::Municipalities,
            reading: column("town"),
            ..names
        };
        assert_eq!(
            load(&towns).map_err(|e| e.to_string()),
            Err("has no column \"town\"; its first line has these: \
                 \"province\", \"name\""
                .to_owned())
        );
    }
}

mod options {
    use super::*;

    #[test]
    fn contexts_out_of_range() {
        for block in [0, 17, usize::MAX] {
            assert_eq!(
                load(&Options {
                    block,
                    ..Options::default()
                })
                .map_err(|e| e.to_string()),
                Err(format!(
                    "--block-size is {block}, but must be between 1 and 16"
                ))
            );
        }
    }
}

mod text {
    use super::*;

    #[test]
    fn words_are_trimmed_and_blank_lines_skipped() -> Outcome {
        let text = "\n  new york \n\t\n\u{a0}são paulo\u{3000}\nrio  de\tjaneiro";
        let words = words_of("words.txt", text, None)?;
        assert_eq!(words, ["new york", "são paulo", "rio  de\tjaneiro"]);
        Ok(())
    }

    #[test]
    fn line_breaks_and_byte_order_mark_do_not_matter() -> Outcome {
        let plain = file("words.txt", &TEN);
        let expected = load(&plain)?;
        assert_eq!(
            expected.words,
            WordCounts {
                train: 8,
                val: 1,
                test: 1
            }
        );
        for text in [
            TEN.replace('\n', "\r\n"),
            TEN.replace('\n', "\r"),
            TEN.trim_end().to_owned(),
            format!("\u{feff}{TEN}"),
            format!("\u{feff}\r\n\r\n{}\r\n \r\n", TEN.replace('\n', "\r\n\r\n")),
        ] {
            let options = file("words.txt", &text);
            let mut loaded = load(&options)?;
            loaded.label.clone_from(&expected.label);
            loaded.notes.empty = 0;
            assert_eq!(loaded, expected, "{text:?}");
        }
        Ok(())
    }

    #[test]
    fn letters_are_sorted_by_code_point() -> Outcome {
        let options = file("words.txt", "zé\nÁb\nña\na b\nB-c\n名\n");
        let dataset = load(&options)?;
        assert_eq!(dataset.vocab.chars().collect::<String>(), ". -BabczÁéñ名");
        assert_eq!(
            dataset.words,
            WordCounts {
                train: 4,
                val: 1,
                test: 1
            }
        );
        Ok(())
    }

    #[test]
    fn cleaning_on_request() -> Outcome {
        let mut options = file("words.txt", "Zé\nÁb\n()\nña/x\nRia, A\nbc\nC'D\n");
        options.reading.clean = true;
        let dataset = load(&options)?;
        // `()` is gone, which leaves six.
        assert_eq!(dataset.words.of(Split::All), 6);
        let mut words =
            spelled(&dataset.split(Split::All), &dataset.vocab).ok_or("unknown token")?;
        words.sort();
        assert_eq!(words, ["a ria", "ab", "bc", "cd", "na", "ze"]);
        Ok(())
    }

    #[test]
    fn the_largest_vocabulary_and_one_more() -> Outcome {
        let text = |letters: usize| -> String {
            ('\u{f0000}'..)
                .take(letters)
                .flat_map(|c| [c, '\n'])
                .collect()
        };
        let largest = text(65_534);
        let options = file("words.txt", &largest);
        let dataset = load(&options)?;
        assert_eq!(dataset.vocab.len(), 65_535);
        let tokens = dataset.split(Split::All).y().max();
        assert_eq!(tokens, Some(65_534));
        assert_eq!(
            message("words.txt", text(65_535), None)?,
            "65535 distinct characters, but at most 65534 fit; use a part of the data"
        );
        Ok(())
    }

    #[test]
    fn a_vocabulary_from_a_checkpoint() -> Outcome {
        let options = file("words.txt", &TEN);
        let vocab = Vocabulary::new("xba".chars())?;
        let dataset = load_with_vocabulary(&options, &vocab)?;
        assert_eq!(dataset.vocab, vocab);
        let own = load(&options)?;
        assert_eq!(spelled(&dataset.val, &vocab), spelled(&own.val, &own.vocab));
        assert_ne!(dataset.val, own.val);

        let lacking = Vocabulary::new(['a'])?;
        let error = load_with_vocabulary(&options, &lacking)
            .err()
            .ok_or("should have failed")?;
        assert!(matches!(
            &error,
            DataError::UnknownCharacter {
                line: 1,
                character: 'b',
                ..
            }
        ));
        assert!(error.to_string().ends_with(
            "line 1: 'b' (U+0062) in the word \"ab\" is not in the vocabulary of the \
             trained model; use data with the characters it was trained on"
        ));

        // The towns have a space and a hyphen, and the names do not.
        let names = load(&Options::default())?;
        let towns = Options {
            source: Source::Municipalities,
            ..Options::default()
        };
        assert!(matches!(
            load_with_vocabulary(&towns, &names.vocab),
            Err(DataError::UnknownCharacter {
                line: 3,
                character: '-',
                ..
            })
        ));
        assert_eq!(
            load_with_vocabulary(&Options::default(), &names.vocab)?,
            names
        );
        Ok(())
    }
}

mod bad_files {
    use super::*;

    #[test]
    fn without_words() -> Outcome {
        for content in ["", "\u{feff}"] {
            assert_eq!(
                message("words.txt", content, None)?,
                "is empty; put one word on each line"
            );
        }
        let blank = "has no words, only blank lines or empty fields; put one word on each line";
        assert_eq!(message("words.txt", "\n", None)?, blank);
        assert_eq!(message("words.txt", " \r\n\t\r\n\u{3000}", None)?, blank);

        let mut options = file("words.txt", "()\n'\n/x\n");
        options.reading.clean = true;
        assert_eq!(
            message_of(&options)?,
            "cleaning leaves nothing of any word (it keeps what can be written in \
             ASCII)"
        );
        Ok(())
    }

    #[test]
    fn not_utf8() -> Outcome {
        assert_eq!(
            message("words.txt", b"ab\r\nc\xe9d\r\n", None)?,
            "line 2: byte 0xE9 (byte 5 of the file) is not UTF-8; in windows-1252, the line reads \"céd\""
        );
        // Text cut within a character.
        let cut = message("words.csv", b"a\nb\n\xc3", None)?;
        assert!(
            cut.starts_with("line 3: byte 0xC3 (byte 4 of the file) is not UTF-8"),
            "{cut}"
        );
        Ok(())
    }

    #[test]
    fn binary() -> Outcome {
        assert_eq!(
            message("words.txt", b"\xef\xbb\xbfab\r\rcd\r\na\0b", None)?,
            "line 4: control character U+0000, which suggests a binary file; give a \
             text file, or take the character out"
        );
        for character in ['\u{1b}', '\u{7f}', '\u{85}', '\u{c}'] {
            let message = message("words.txt", format!("{TEN}a{character}"), None)?;
            assert!(message.contains(&format!(
                "line 11: control character U+{:04X}",
                character as u32
            )));
        }
        Ok(())
    }

    #[test]
    fn a_full_stop_is_a_letter() -> Outcome {
        let text = "\nSt. John\r\nJ.R.R.\r\n...\r\na.b\nSt. Kitts\nab\n";
        let options = file("words.txt", text);
        let dataset = load(&options)?;
        // It has its place by its code point, behind the space.
        let chars: String = dataset.vocab.chars().collect();
        assert_eq!(chars, "␃ .JKRSabhinost");
        assert_eq!(dataset.vocab.encode('.'), Some(2));
        let mut words = spelled(&dataset.split(Split::All), &dataset.vocab).unwrap_or_default();
        words.sort();
        assert_eq!(
            words,
            ["...", "J.R.R.", "St. John", "St. Kitts", "a.b", "ab"]
        );
        // Each word ends once.
        let all = dataset.split(Split::All);
        let ends = all.y().filter(|&t| t == Vocabulary::END_TOKEN);
        assert_eq!(ends.count(), 6);
        // Cleaning leaves it.
        let cleaned = load(&Options {
            reading: cleaning(),
            ..options
        })?;
        assert_eq!(cleaned.vocab.chars().collect::<String>(), "␃ .abhijknorst");
        // A model that was trained without it does not know it.
        let vocab = Vocabulary::new("ab".chars())?;
        let options = file("words.txt", "ab\na\nb\na\nb\na.b\n");
        let error = load_with_vocabulary(&options, &vocab).unwrap_err();
        assert!(matches!(
            error,
            DataError::UnknownCharacter {
                line: 6,
                character: '.',
                ..
            }
        ));
        Ok(())
    }

    /// Of a vocabulary of up to 256 characters the tokens are hashed as bytes, of a larger one as two.
    #[test]
    fn the_checksum_tells_all_words_apart() -> Outcome {
        let text = |letters: usize, last: usize| -> String {
            let letters: Vec<char> = ('\u{4e00}'..).take(letters).collect();
            let words: String = letters.iter().flat_map(|&c| [c, '\n']).collect();
            format!("{words}{}", letters[last])
        };
        let sum = |letters, last| -> Result<String, DataError> {
            Ok(load(&file("words.txt", &text(letters, last)))?.sha256())
        };
        // By Python, with a byte for each token.
        assert_eq!(
            load(&Options::default())?.sha256(),
            "da29534d26fab4a9c2f785aeb5e6b546f3734cdd00c0ab882981a32f0319dd00"
        );
        assert_ne!(sum(255, 0)?, sum(255, 254)?);
        // Tokens 1 and 257 have the same lower byte.
        assert_ne!(sum(300, 0)?, sum(300, 256)?);
        let dataset = load(&file("words.txt", &text(300, 0)))?;
        let mut wanted = Sha256::new();
        wanted.update(dataset.vocab.chars().collect::<String>());
        for part in [&dataset.train, &dataset.val, &dataset.test] {
            wanted.update((part.len() as u64).to_le_bytes());
            let bytes: Vec<u8> = part.y().flat_map(|t| t.to_le_bytes()).collect();
            wanted.update(bytes);
        }
        assert_eq!(dataset.sha256(), hex(&wanted.finalize()));
        Ok(())
    }

    #[test]
    fn too_few_words() -> Outcome {
        assert_eq!(
            message("words.txt", "a\nb\nc\nd\ne\n", None)?,
            "too few words for three splits: 5, but at least 6 are needed \
             (80 % for training, 10 % for validation, 10 % for testing)"
        );
        // The smallest data set: enough for a minibatch of two, which batch norm needs.
        let options = file("words.txt", "a\na\na\na\na\na\n");
        let dataset = load(&options)?;
        assert_eq!(
            (dataset.train.len(), dataset.val.len(), dataset.test.len()),
            (8, 2, 2)
        );
        assert_eq!(dataset.vocab.len(), 2);
        Ok(())
    }
}

mod csv_files {
    use super::*;

    const TOWNS: &str = "id, town ,note\n1,Ávila,\"old,\nwalled\"\n\n2, Las Palmas ,\n3,,x\n,,\n4,\"O \"\"Grove\"\"\",y";

    #[test]
    fn one_column_is_read() -> Outcome {
        for text in [
            TOWNS.to_owned(),
            TOWNS.replace('\n', "\r\n"),
            format!("\u{feff}{TOWNS}"),
        ] {
            let words = words_of("towns.csv", &text, Some("town"))?;
            assert_eq!(words, ["Ávila", "Las Palmas", "O \"Grove\""]);
        }
        assert_eq!(
            words_of("towns.txt", TOWNS, Some(" id "))?,
            ["1", "2", "3", "4"]
        );
        Ok(())
    }

    #[test]
    fn lines_are_counted_over_blank_lines_and_long_fields() -> Outcome {
        for text in [
            TOWNS.to_owned(),
            TOWNS.replace('\n', "\r\n"),
            TOWNS.replace('\n', "\r"),
        ] {
            let options = file("towns.csv", &text);
            let (words, _) = reader::read(&options.source, &column("town"))?;
            let lines: Vec<usize> = words.iter().map(|(line, _)| line).collect();
            assert_eq!(lines, [2, 5, 8]);
        }
        Ok(())
    }

    #[test]
    fn a_single_column_needs_no_choice() -> Outcome {
        assert_eq!(
            words_of("words.CSV", "word\nab\n\"c,d\"\n", None)?,
            ["ab", "c,d"]
        );
        let content = format!("word\n{TEN}");
        let mut options = file("words.csv", &content);
        let chosen = Options {
            reading: column("word"),
            ..options.clone()
        };
        assert_eq!(load(&options)?.train, load(&chosen)?.train);
        assert_eq!(load(&chosen)?.label, "words.csv, column word");
        options.reading = column("Word");
        assert!(matches!(
            load(&options),
            Err(DataError::UnknownColumn { .. })
        ));
        Ok(())
    }

    #[test]
    fn several_columns_need_a_choice() -> Outcome {
        assert_eq!(
            message("towns.csv", TOWNS, None)?,
            "has several columns: \"id\", \"town\", \"note\""
        );
        assert_eq!(
            message("towns.csv", TOWNS, Some("city"))?,
            "has no column \"city\"; its first line has these: \
             \"id\", \"town\", \"note\""
        );
        Ok(())
    }

    #[test]
    fn only_a_header() -> Outcome {
        let expected = "has no words, only blank lines or empty fields; put one word on each line";
        assert_eq!(message("towns.csv", "id,town\n", Some("town"))?, expected);
        assert_eq!(
            message("towns.csv", "id,town\n1,\n2, \n", Some("town"))?,
            expected
        );
        assert_eq!(message("towns.csv", "\n\n", Some("town"))?, expected);
        Ok(())
    }

    #[test]
    fn other_separators() -> Outcome {
        for text in [
            "id;town\n1;a\n",
            "id\ttown\n1\ta\n",
            "id|town\n1|a\n",
            "sep=;\nid;town\n1;a\n",
            "sep=,\r\nid,town\r\n1,a\r\n",
        ] {
            assert_eq!(
                words_of("towns.csv", text, Some("town"))?,
                ["a"],
                "{text:?}"
            );
            assert_eq!(words_of("towns.csv", text, Some("2"))?, ["a"], "{text:?}");
        }
        let expected = "has several columns: \"id\", \"town\"";
        assert_eq!(message("towns.csv", "id;town\n1;a\n", None)?, expected);
        let separated = |delimiter: char, text: &str| {
            let delimiter = Some(delimiter);
            read(
                "towns.csv",
                text,
                &Reading {
                    delimiter,
                    ..column("2")
                },
            )
        };
        assert_eq!(separated('，', "1，a,b\n2，c\n")?.0, ["a,b", "c"]);
        assert_eq!(separated('x', "1xa\n2xb\n")?.0, ["a", "b"]);
        assert!(matches!(
            separated('"', "1\"a\n"),
            Err(DataError::Delimiter('"'))
        ));
        Ok(())
    }

    #[test]
    fn a_table_without_names_of_columns_loses_no_row() -> Outcome {
        let (words, notes) = read("names.csv", "emma,F\nolivia,F\nliam,M\n", &column("1"))?;
        assert_eq!(words, ["emma", "olivia", "liam"]);
        assert_eq!(
            notes.to_string(),
            "column 1 of 2, separated by ',', the first line taken as data"
        );
        let (words, notes) = read("names.csv", "emma\nolivia\n", &Reading::default())?;
        assert_eq!(words, ["emma", "olivia"]);
        assert_eq!(notes.to_string(), "column 1, the first line taken as data");
        let (words, notes) = read("names.csv", "sex;name\nF;emma\nF;emma\nF;\n", &column("2"))?;
        assert_eq!(words, ["emma", "emma"]);
        assert_eq!(
            notes.to_string(),
            "column 2 of 2, separated by ';', which the first line names \"name\", 1 duplicate kept, 1 empty"
        );
        // Whoever says so has no names of columns.
        let no_header = Reading {
            no_header: true,
            ..Reading::default()
        };
        let (words, _) = read("names.csv", "name\nemma\n", &no_header)?;
        assert_eq!(words, ["name", "emma"]);
        let no_header = Reading {
            column: Some("name".to_owned()),
            ..no_header
        };
        let error = read("names.csv", "name,sex\nemma,F\n", &no_header).unwrap_err();
        assert_eq!(
            error.to_string(),
            "has no names of columns, and \"name\" is no number from 1 to 2"
        );
        // A name that is no usual one is a word, unless it is asked for.
        assert_eq!(
            words_of("x.csv", "Gemeente\nEde\n", None)?,
            ["Gemeente", "Ede"]
        );
        assert_eq!(
            words_of("x.csv", "Gemeente\nEde\n", Some("Gemeente"))?,
            ["Ede"]
        );
        Ok(())
    }

    #[test]
    fn a_list_that_looks_like_a_table_is_refused() -> Outcome {
        let text = "name;sex\nemma;F\nolivia;F\n";
        assert_eq!(
            message("names.txt", text, None)?,
            "line 1: looks like a row of a table with 2 columns, not like a word: \"name;sex\""
        );
        assert_eq!(
            words_of("names.txt", text, Some("name"))?,
            ["emma", "olivia"]
        );
        let as_text = Reading {
            as_text: true,
            ..Reading::default()
        };
        assert_eq!(
            read("names.txt", text, &as_text)?.0,
            ["name;sex", "emma;F", "olivia;F"]
        );
        Ok(())
    }

    #[test]
    fn malformed() -> Outcome {
        assert_eq!(
            message("towns.csv", "id,town\n1,a\n\n2,b,c\n", Some("town"))?,
            "line 4: malformed table: the first line has 2 columns, but this one has 3; quote \
             fields that contain ','"
        );
        assert!(message("towns.csv", "id,town\n1\n", Some("town"))?.contains("line 2: malformed"));
        assert_eq!(
            message("towns.csv", "id,town\n1,\"a\n2,b\n3,c\n", Some("id"))?,
            "line 2: malformed table: a quotation mark opens a field here and is never \
             closed; close it, or double it and quote the field"
        );
        assert_eq!(
            message("towns.csv", "id,town\n1,a\n2,\"b\nc\"\n", Some("town"))?,
            "line 3: malformed table: the word goes over several lines; put it on one"
        );
        Ok(())
    }

    #[test]
    fn quotation_marks_within_plain_fields_are_text() -> Outcome {
        let words = words_of("towns.csv", "town\na 5\" b\n\"c\" d\n", None)?;
        assert_eq!(words, ["a 5\" b", "c d"]);
        Ok(())
    }
}

mod encodings {
    use super::*;
    use std::io::Write;

    fn in_encoding(name: &str) -> Reading {
        Reading {
            encoding: name.parse().ok(),
            ..Reading::default()
        }
    }

    #[test]
    fn utf16_by_its_mark() -> Outcome {
        let bytes = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}né\r\n名\r\n"
                .encode_utf16()
                .flat_map(unit)
                .collect()
        };
        for bytes in [bytes(u16::to_le_bytes), bytes(u16::to_be_bytes)] {
            let (words, notes) = read("words.txt", &bytes, &Reading::default())?;
            assert_eq!(words, ["né", "名"]);
            assert!(notes.to_string().starts_with("read as UTF-16"), "{notes}");
        }
        Ok(())
    }

    #[test]
    fn an_encoding_that_is_named() -> Outcome {
        let (words, notes) = read("words.txt", b"caf\xe9\n", &in_encoding("latin1"))?;
        assert_eq!(words, ["café"]);
        assert_eq!(notes.to_string(), "read as windows-1252");
        let (words, _) = read("words.txt", b"\x96\xbc\n", &in_encoding("shift_jis"))?;
        assert_eq!(words, ["名"]);
        let error = read("words.txt", b"ab\n\x96\n", &in_encoding("shift_jis"));
        let Err(error) = error else {
            return Err("read".into());
        };
        assert_eq!(
            error.to_string(),
            "line 2: is not text in the encoding Shift_JIS"
        );
        assert!("klingon".parse::<Encoding>().is_err());
        Ok(())
    }

    #[test]
    fn bad_lines_are_skipped_and_counted() -> Outcome {
        let skip = Reading {
            skip_bad_lines: true,
            ..Reading::default()
        };
        let (words, notes) = read("words.txt", b"ab\r\nc\xe9\r\n\r\nd\x07\r\ne\n", &skip)?;
        assert_eq!(words, ["ab", "e"]);
        assert_eq!(
            notes.to_string(),
            "1 line skipped (not in its encoding), 1 line skipped (control characters), 1 empty"
        );
        let skip = Reading {
            skip_bad_lines: true,
            ..column("name")
        };
        let (words, notes) = read("t.csv", "name,sex\na,F\nb\nc,M\n", &skip)?;
        assert_eq!(words, ["a", "c"]);
        assert_eq!(notes.malformed, 1);
        Ok(())
    }

    #[test]
    fn gzip_by_its_first_bytes() -> Outcome {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all("né\nb\n".as_bytes())?;
        let packed = packed.finish()?;
        assert_eq!(
            read("words.txt", &packed, &Reading::default())?.0,
            ["né", "b"]
        );
        let error = message("words.txt", &packed[..packed.len() - 4], None)?;
        assert!(error.starts_with("cannot be unpacked"), "{error}");
        Ok(())
    }

    #[test]
    fn what_is_built_in_has_no_encoding() {
        let options = Options {
            reading: in_encoding("latin1"),
            ..Options::default()
        };
        let error = load(&options);
        assert!(matches!(
            error,
            Err(DataError::OnlyForFiles { choice: "encoding" })
        ));
    }
}

mod json_files {
    use super::*;

    fn words(content: &str, column: Option<&str>) -> Result<Vec<String>, DataError> {
        let reading = column.map_or(Reading::default(), super::column);
        Ok(read("words.txt", content, &reading)?.0)
    }

    #[test]
    fn arrays_and_lines() -> Outcome {
        assert_eq!(words("[\"a\\u00e9\",\n \"b\"]", None)?, ["aé", "b"]);
        let objects = "[{\"name\": \"a\", \"n\": 1},\n{\"n\": 2, \"name\": \"b\"}]";
        assert_eq!(words(objects, Some("name"))?, ["a", "b"]);
        let lines = "{\"name\": \"a\"}\n\n{\"name\": \"b\"}\n{\"name\": null}\n";
        assert_eq!(words(lines, Some("name"))?, ["a", "b"]);
        // A list of words may begin with a bracket.
        assert_eq!(words("[a]\n[b]\n", None)?, ["[a]", "[b]"]);
        Ok(())
    }

    #[test]
    fn errors_name_the_line() {
        let error = |content: &str, column: Option<&str>| {
            let reading = column.map_or(Reading::default(), super::column);
            let json = Options {
                source: Source::Bytes {
                    name: "words.json",
                    bytes: content.as_bytes(),
                    format: Format::Json,
                },
                reading,
                ..Options::default()
            };
            load(&json).unwrap_err().to_string()
        };
        assert_eq!(
            error("[\"a\",\n3]", None),
            "line 2: a word must be a string, where JSON with strings is expected"
        );
        assert!(error("[\"a\",\n", None).starts_with("line 2: EOF"));
        assert!(error("\"a\"\nb\n", None).starts_with("line 2: expected value"));
        assert_eq!(
            error("[\"a\",\n\"b\\nc\"]", None),
            "line 2: the word goes over several lines; put it on one, where JSON with strings is expected"
        );
        assert_eq!(error("{\"a\": \"x\"}", None), "has several columns: \"a\"");
        assert_eq!(
            error("{\"a\": \"x\"}\n{\"b\": \"x\"}", Some("a")),
            "line 2: no member \"a\"; there are these: \"b\""
        );
        assert_eq!(error("[\"a\"]", Some("a")), "has no columns, only lines");
    }
}

mod random {
    use super::*;

    /// A word as the file has it: no line break or control character, and not blank.
    fn words() -> impl Strategy<Value = Vec<String>> {
        let word = "[^\\pC\\p{Zl}\\p{Zp}]{1,8}"
            .prop_map(|word| word.trim().to_owned())
            .prop_filter("blank", |word| !word.is_empty());
        prop::collection::vec(word, 6..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_load_or_fail(
            content in prop::collection::vec(any::<u8>(), 0..200),
            name in "words\\.(txt|csv)",
            clean: bool,
            skip_bad_lines: bool,
        ) {
            let reading = Reading { clean, skip_bad_lines, ..Reading::default() };
            let _ = load(&Options { reading, ..file(&name, &content) });
        }

        #[test]
        fn any_lines_load_or_fail(
            lines in prop::collection::vec("[ -~\\t\u{a0}-\u{ff}\"',;]{0,6}", 0..30),
            newline in "(\n|\r\n|\r)",
            name in "words\\.(txt|csv)",
            column in prop::option::of("[a-c]"),
            clean: bool,
        ) {
            let content = lines.join(&newline);
            let options = file(&name, &content);
            let reading = Reading { clean, column, ..Reading::default() };
            if let Err(error) = load(&Options { reading, ..options }) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }

        #[test]
        fn decoding_gives_the_words_back(words in words(), newline in "(\n|\r\n|\r|\n \n)", block in 1_usize..=16) {
            let content = words.join(&newline);
            let options = file("words.txt", &content);
            let dataset = load(&Options { block, ..options })
                .map_err(|e| TestCaseError::fail(e.to_string()))?;
            let all = dataset.split(Split::All);
            let mut spelled = spelled(&all, &dataset.vocab).unwrap_or_default();
            let mut expected: Vec<String> = words.iter().map(|word| normalized(word).into_owned()).collect();
            expected.sort();
            spelled.sort();
            prop_assert_eq!(spelled, expected);
            prop_assert_eq!(all.range(0..all.len()).x.len(), all.len() * block);
            for &c in dataset.vocab.letters() {
                prop_assert_eq!(dataset.vocab.encode(c).and_then(|t| dataset.vocab.decode(t)), Some(c));
            }
        }

        #[test]
        fn csv_and_text_give_the_same_words(words in words()) {
            let quoted: String = words
                .iter()
                .map(|word| format!("7,\"{}\"\r\n", word.replace('"', "\"\"")))
                .collect();
            let read = words_of("words.csv", &format!("id,word\r\n{quoted}"), Some("word"))
                .map_err(|e| TestCaseError::fail(e.to_string()))?;
            let expected: Vec<String> = words.iter().map(|word| normalized(word).into_owned()).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
