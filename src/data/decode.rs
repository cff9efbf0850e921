//! From bytes to text.

use std::borrow::Cow;
use std::io::Read;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::UTF_8;
use flate2::read::MultiGzDecoder;

use super::encoding::Encoding;
use super::error::DataError;
use super::reading::{Notes, Reading};
use super::source::MAX_FILE_BYTES;
use super::vocabulary::can_be_in_a_word;

/// The bytes as text whose lines end in `\n`, without a byte order mark; not empty. Lines that are skipped
/// are left blank, so that the numbers of the others stay.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    reading: &Reading,
    notes: &mut Notes,
) -> Result<Cow<'a, str>, DataError> {
    // Every gzip file begins with these, and no text does.
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let inflated = inflate(bytes)?;
        return Ok(Cow::Owned(to_text(&inflated, reading, notes)?.into_owned()));
    }
    to_text(bytes, reading, notes)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut inflated = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut inflated)
        .map_err(|error| DataError::Gzip(error.to_string()))?;
    Ok(inflated)
}

fn to_text<'a>(
    bytes: &'a [u8],
    reading: &Reading,
    notes: &mut Notes,
) -> Result<Cow<'a, str>, DataError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(DataError::TooLarge);
    }
    let marked = encoding_rs::Encoding::for_bom(bytes);
    let (encoding, mark) =
        marked.unwrap_or((reading.encoding.map_or(UTF_8, |encoding| encoding.0), 0));
    let bytes = &bytes[mark..];
    let text = if encoding == UTF_8 {
        utf8(bytes, mark, reading, notes)?
    } else {
        notes.encoding = Some(Encoding(encoding));
        let (text, malformed) = encoding.decode_without_bom_handling(bytes);
        match malformed.then(|| text.find(char::REPLACEMENT_CHARACTER)) {
            None => text,
            Some(_) if reading.skip_bad_lines => Cow::Owned(blank_lines(
                &text,
                |line| line.contains(char::REPLACEMENT_CHARACTER),
                &mut notes.undecodable,
            )),
            Some(at) => {
                let line = last_line(&text[..at.unwrap_or(0)]);
                let encoding = Encoding(encoding);
                return Err(DataError::NotInEncoding { line, encoding });
            }
        }
    };
    let text = with_line_feeds(text);
    if text.is_empty() {
        return Err(DataError::Empty);
    }
    let control = |c: char| c != '\n' && !can_be_in_a_word(c);
    match control_character(&text) {
        None => Ok(text),
        Some(_) if reading.skip_bad_lines => Ok(Cow::Owned(blank_lines(
            &text,
            |line| line.contains(control),
            &mut notes.control,
        ))),
        Some(at) => Err(DataError::ControlCharacter {
            line: last_line(&text[..at]),
            character: text[at..].chars().next().unwrap_or_default(),
        }),
    }
}

/// UTF-8 as it is. `mark` is the length of the byte order mark in front.
fn utf8<'a>(
    bytes: &'a [u8],
    mark: usize,
    reading: &Reading,
    notes: &mut Notes,
) -> Result<Cow<'a, str>, DataError> {
    let error = match str::from_utf8(bytes) {
        Ok(text) => return Ok(Cow::Borrowed(text)),
        Err(error) => error,
    };
    if reading.skip_bad_lines {
        let mut text = String::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|&byte| byte == b'\n' || byte == b'\r') {
            match str::from_utf8(line) {
                Ok(line) => text.push_str(line),
                Err(_) => {
                    notes.undecodable += 1;
                    text.extend(
                        line.last()
                            .filter(|byte| matches!(byte, b'\n' | b'\r'))
                            .map(|&b| char::from(b)),
                    );
                }
            }
        }
        return Ok(Cow::Owned(text));
    }
    let at = error.valid_up_to();
    let before = String::from_utf8_lossy(&bytes[..at]);
    Err(DataError::NotUtf8 {
        line: last_line(&before),
        byte: bytes.get(at).copied().unwrap_or_default(),
        offset: mark + at,
        guess: guess(bytes, at),
    })
}

/// The likeliest encoding of bytes that are not UTF-8 at `at`, and what the line there is in it.
fn guess(bytes: &[u8], at: usize) -> Option<(Encoding, String)> {
    const ENOUGH: usize = 1 << 20;
    let is_break = |&byte: &u8| byte == b'\n' || byte == b'\r';
    let start = bytes[..at].iter().rposition(is_break).map_or(0, |i| i + 1);
    let end = bytes[at..].iter().position(is_break);
    let line = &bytes[start..end.map_or(bytes.len(), |end| at + end)];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let from_here = &bytes[start..];
    detector.feed(&from_here[..from_here.len().min(ENOUGH)], true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    let (text, malformed) = encoding.decode_without_bom_handling(line);
    let is_text = !malformed && text.chars().all(can_be_in_a_word);
    is_text.then(|| (Encoding(encoding), text.trim().to_owned()))
}

/// The text with a blank line for each that is bad.
fn blank_lines(text: &str, bad: impl Fn(&str) -> bool, count: &mut usize) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive(['\n', '\r']) {
        match bad(line) {
            false => kept.push_str(line),
            true => {
                *count += 1;
                kept.extend(
                    line.chars()
                        .next_back()
                        .filter(|c| matches!(c, '\n' | '\r')),
                );
            }
        }
    }
    kept
}

/// Where the first control character is that no text has. They are single bytes, or 0xC2 and another.
fn control_character(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_control = |i: usize| match bytes[i] {
        b'\n' | b'\t' => false,
        byte => byte < 0x20 || byte == 0x7f || (byte == 0xc2 && bytes[i + 1] < 0xa0),
    };
    // Most chunks contain none of these bytes; this test is vectorised.
    let may_be = |byte: u8| byte < 0x20 && byte != b'\n' || byte == 0x7f || byte == 0xc2;
    let chunks = bytes.chunks(64).enumerate();
    chunks
        .filter(|(_, chunk)| chunk.iter().fold(false, |any, &byte| any | may_be(byte)))
        .find_map(|(i, chunk)| (64 * i..64 * i + chunk.len()).find(|&i| is_control(i)))
}

/// Turns the line breaks `\r\n` and `\r` into `\n`.
pub(super) fn with_line_feeds(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        text
    }
}

/// Number of the line on which the text ends.
fn last_line(text: &str) -> usize {
    1 + with_line_feeds(Cow::Borrowed(text)).matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn control_characters_are_found(text in "[ab\\t\\n\\x00-\\x1f\u{7f}-\u{a1}é]{0,6}") {
            let expected = text.find(|c| c != '\n' && !can_be_in_a_word(c));
            prop_assert_eq!(control_character(&text), expected);
        }
    }
}
