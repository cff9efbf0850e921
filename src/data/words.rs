//! The words of a data set, packed: large lists take little more memory than their file.

use std::borrow::Cow;
use std::hint::black_box;
use std::ops::{BitXor, Range};

use super::cleaning::clean;
use super::error::DataError;
use super::reading::{Notes, Reading};
use super::unicode::normalize;

/// Words in their order, with the lines on which they stand.
pub(super) struct Words<'a> {
    /// Has the words. Each ends before the next line feed, without white space at the end. As long as no
    /// word is changed, this is the file.
    text: Cow<'a, str>,
    /// Where the words start, and how many bytes they have: [`LONG`] stands for more.
    spans: Vec<Span>,
    /// Words that do not stand on the line after that of the word before, and their lines.
    jumps: Vec<(usize, usize)>,
    last_line: usize,
}

/// A place in the text, and a length.
type Span = [u8; 5];

/// The length of words that have as many bytes, or more: their end is looked for.
const LONG: u8 = u8::MAX;

fn span(start: u32, length: usize) -> Span {
    let [a, b, c, d] = start.to_le_bytes();
    [a, b, c, d, u8::try_from(length).unwrap_or(LONG)]
}

/// Where a word starts.
#[inline]
fn start([a, b, c, d, _]: Span) -> usize {
    u32::from_le_bytes([a, b, c, d]) as usize
}

impl Words<'_> {
    /// Words that are loaded together.
    const TOGETHER: usize = 32;

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// A word.
    #[inline]
    fn at(&self, span: Span) -> &str {
        let (rest, length) = (&self.text[start(span)..], span[4]);
        if length < LONG {
            return &rest[..usize::from(length)];
        }
        let end = rest.as_bytes().iter().position(|&byte| byte == b'\n');
        rest[..end.unwrap_or(rest.len())].trim_end()
    }

    /// The words with their lines, from 1.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut jumps = self.jumps.iter().peekable();
        let mut line = 0;
        self.spans.iter().enumerate().map(move |(i, &span)| {
            line = match jumps.next_if(|jump| jump.0 == i) {
                Some(jump) => jump.1,
                None => line + 1,
            };
            (line, self.at(span))
        })
    }

    /// Reorders the words: `shuffle` permutes their spans. The line numbers are lost.
    pub(super) fn shuffle(&mut self, shuffle: impl FnOnce(&mut [Span])) {
        self.jumps = Vec::new();
        shuffle(&mut self.spans);
    }

    /// Some of the words in their order.
    pub(super) fn words(&self, range: Range<usize>) -> impl Iterator<Item = &str> {
        self.spans[range].chunks(Self::TOGETHER).flat_map(|spans| {
            // After a shuffle each word is a cache miss. Loading the first bytes of all these words at once
            // lets the misses overlap.
            let bytes = spans.iter().map(|&span| self.text.as_bytes()[start(span)]);
            black_box(bytes.fold(0, BitXor::bitxor));
            spans.iter().map(|&span| self.at(span))
        })
    }

    /// How many words stand in the list before.
    pub(super) fn duplicates(&self) -> usize {
        // Limits the hashes to about the memory that the tokens will take later.
        let most = self.text.len() / 8 * 5 / 4;
        self.duplicates_in(self.len().div_ceil(most.max(1)).next_power_of_two())
    }

    /// Counts duplicates with `lists` lists of hashes, a power of two. Only one list is in memory at a time:
    /// the low bits of a hash say to which list it belongs.
    fn duplicates_in(&self, lists: usize) -> usize {
        use std::hash::BuildHasher;
        // Hashes of 64 bits: among a hundred million words, two different ones share one with a
        // probability of 0.0003.
        let hasher = std::hash::RandomState::new();
        let mut hashes: Vec<u64> = Vec::with_capacity(self.len() / lists);
        let duplicates = (0..lists as u64).map(|list| {
            hashes.clear();
            let all = self.words(0..self.len()).map(|word| hasher.hash_one(word));
            hashes.extend(all.filter(|hash| hash & (lists as u64 - 1) == list));
            hashes.sort_unstable();
            hashes.windows(2).filter(|pair| pair[0] == pair[1]).count()
        });
        duplicates.sum()
    }
}

/// Collects words, and brings them to their final form.
pub(super) struct Collector<'a, 'n> {
    words: Words<'a>,
    lowercase: bool,
    clean: bool,
    pub(super) notes: &'n mut Notes,
}

impl<'a, 'n> Collector<'a, 'n> {
    /// A collector of words that are parts of `text`, if it is given, as long as nothing changes them.
    pub(super) fn new(text: Option<&'a str>, reading: &Reading, notes: &'n mut Notes) -> Self {
        notes.lowercase = reading.lowercase;
        notes.cleaned = reading.clean;
        Self {
            words: Words {
                text: text.map_or(Cow::Owned(String::new()), Cow::Borrowed),
                spans: Vec::new(),
                jumps: Vec::new(),
                last_line: 0,
            },
            lowercase: reading.lowercase,
            clean: reading.clean,
            notes,
        }
    }

    /// Takes the word in `field`, which has no line feed.
    pub(super) fn add(&mut self, line: usize, field: &str) -> Result<(), DataError> {
        // Most fields of most files.
        let is_word = match field.as_bytes() {
            [first, .., last] => first.min(last) > &b' ' && field.is_ascii(),
            _ => false,
        };
        if is_word && !self.lowercase && !self.clean {
            return self.push(line, field, true);
        }
        let mut word = normalize(field.trim(), self.notes);
        if self.lowercase {
            word = Cow::Owned(word.to_lowercase());
        }
        if word.trim().is_empty() {
            self.notes.empty += 1;
            return Ok(());
        }
        if self.clean {
            word = Cow::Owned(clean(&word));
            if word.is_empty() {
                self.notes.cleaned_away += 1;
                return Ok(());
            }
        }
        let unchanged = matches!(word, Cow::Borrowed(_));
        self.push(line, word.trim(), unchanged)
    }

    /// Takes a word in its final form, which is part of the field if it is `unchanged`.
    pub(super) fn push(
        &mut self,
        line: usize,
        word: &str,
        unchanged: bool,
    ) -> Result<(), DataError> {
        let start = match &self.words.text {
            Cow::Borrowed(text) if unchanged => {
                // The field is a part of the text.
                word.as_ptr() as usize - text.as_ptr() as usize
            }
            _ => {
                let text = self.own_text();
                let start = text.len();
                text.push_str(word);
                text.push('\n');
                start
            }
        };
        let start = u32::try_from(start).map_err(|_| DataError::TooLarge)?;
        self.words.spans.push(span(start, word.len()));
        if line != self.words.last_line + 1 {
            self.words.jumps.push((self.words.spans.len() - 1, line));
        }
        self.words.last_line = line;
        Ok(())
    }

    /// A text that can be added to: until here the words were parts of the file.
    fn own_text(&mut self) -> &mut String {
        if let Cow::Borrowed(_) = self.words.text {
            let mut own = String::new();
            let mut spans = Vec::with_capacity(self.words.spans.len());
            for &old in &self.words.spans {
                let word = self.words.at(old);
                spans.push(span(own.len() as u32, word.len())); // no longer than the file, below 4 GiB
                own.push_str(word);
                own.push('\n');
            }
            self.words.spans = spans;
            self.words.text = Cow::Owned(own);
        }
        self.words.text.to_mut()
    }

    /// The words.
    pub(super) fn finish(self) -> Words<'a> {
        self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(text: &'static str, reading: &Reading) -> (Vec<(usize, String)>, Notes, bool) {
        let mut notes = Notes::default();
        let mut collector = Collector::new(Some(text), reading, &mut notes);
        for (line, field) in (1..).zip(text.split('\n')) {
            collector.add(line, field).unwrap();
        }
        let words = collector.finish();
        let borrowed = matches!(words.text, Cow::Borrowed(_));
        let list = words.iter().map(|(line, word)| (line, word.to_owned()));
        (list.collect(), notes, borrowed)
    }

    #[test]
    fn words_stay_in_the_file_until_one_changes() {
        let (words, _, borrowed) = collect("ab \n\n  c d\ne", &Reading::default());
        let expected = [(1, "ab"), (3, "c d"), (4, "e")];
        assert_eq!(words, expected.map(|(line, word)| (line, word.to_owned())));
        assert!(borrowed);

        let (words, notes, borrowed) = collect("ab \n\n e\u{301} \nx", &Reading::default());
        let expected = [(1, "ab"), (3, "é"), (4, "x")];
        assert_eq!(words, expected.map(|(line, word)| (line, word.to_owned())));
        assert!(!borrowed);
        assert_eq!((notes.composed, notes.empty), (1, 1));

        // A word whose length does not fit a byte.
        for length in [254, 255, 256, 1000] {
            let text: &'static str = format!("a\n {} \nb", "é".repeat(length)).leak();
            let (words, _, _) = collect(text, &Reading::default());
            assert_eq!(words[1].1, "é".repeat(length));
            assert_eq!(words[2], (3, "b".to_owned()));
        }
    }

    #[test]
    fn each_loss_is_counted() {
        let reading = Reading {
            lowercase: true,
            ..Reading::default()
        };
        let (words, notes, _) = collect("Ab\nÉ\n\u{200b}\n \nAB", &reading);
        let expected = [(1, "ab"), (2, "é"), (5, "ab")];
        assert_eq!(words, expected.map(|(line, word)| (line, word.to_owned())));
        assert_eq!((notes.empty, notes.invisible), (2, 1));

        let reading = Reading {
            clean: true,
            ..Reading::default()
        };
        let (words, notes, _) = collect("Ñu\n()\nb", &reading);
        assert_eq!(words, [(1, "nu".to_owned()), (3, "b".to_owned())]);
        assert_eq!((notes.empty, notes.cleaned_away), (0, 1));
    }

    #[test]
    fn duplicates_are_counted_once_each() {
        let mut notes = Notes::default();
        let mut collector = Collector::new(None, &Reading::default(), &mut notes);
        for (line, word) in (1..).zip(["a", "b", "a", "a", "c", "b"]) {
            collector.add(line, word).unwrap();
        }
        let words = collector.finish();
        assert_eq!(words.duplicates(), 3);
        for lists in [1, 2, 4, 64] {
            assert_eq!(words.duplicates_in(lists), 3);
        }
    }
}
