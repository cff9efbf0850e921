//! The header of a safetensors file, read without trust in it.
//!
//! The `safetensors` crate takes the last of two tensors with one name, and passes the JSON through
//! generic values that need many times the memory of the text. Here the header is read in one pass
//! over its bytes, each rule of the format is held, and what is kept is no longer than the text,
//! but for a small amount for each tensor.

use std::fmt;
use std::str::Chars;

use safetensors::tensor::{Dtype, TensorInfo, TensorView};
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

/// Dimensions of a tensor at most.
const MAX_RANK: usize = 8;
/// Characters of a name that a message shows.
const SHOWN: usize = 40;
/// Bytes of a text or a number in [`modest`] JSON at most, escapes as they are written: twice the
/// longest path of Linux.
const MAX_LENGTH: usize = 8192;
/// Commas between the values of [`modest`] JSON at most; a vocabulary needs 255.
const MAX_COMMAS: usize = 4096;

/// What a header says.
#[derive(Clone, Debug, Default)]
pub struct Header {
    text: Option<String>,
    /// In the order of their bytes, which lie end to end from 0.
    tensors: Vec<(String, TensorInfo)>,
}

/// Why a header is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It breaks a rule of the format: which, and where.
    Malformed(String),
    /// It has more tensors than were asked for.
    TooManyTensors,
}

impl From<String> for HeaderError {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

impl Header {
    /// Reads a header, without the eight bytes of its length. Of the metadata, only the text under
    /// `key` is kept.
    ///
    /// # Errors
    ///
    /// The header breaks a rule of the format: it is not JSON in UTF-8 that begins with `{` and ends
    /// with `}` and spaces, a key is there twice, a type is unknown, the tensors overlap or leave a
    /// hole, or a tensor's bytes do not fit its shape. Or it has more than `most` tensors.
    pub fn parse(header: &[u8], key: &str, most: usize) -> Result<Self, HeaderError> {
        let text = str::from_utf8(header).map_err(|e| e.to_string())?;
        let mut json = Json { text, at: 0 };
        if !text.starts_with('{') {
            return Err(json.expected("'{'").into());
        }
        let mut found = Self::default();
        let mut metadata = false;
        json.object(|json, name| {
            let name = unescape(name)?;
            if name == "__metadata__" {
                if metadata {
                    return Err(twice(&name).into());
                }
                metadata = true;
                found.text = json.metadata(key)?;
                return Ok(());
            }
            if found.info(&name).is_some() {
                return Err(twice(&name).into());
            }
            if found.tensors.len() == most {
                return Err(HeaderError::TooManyTensors);
            }
            let info = json.tensor()?;
            found.tensors.push((name, info));
            Ok(())
        })?;
        if let Some(rest) = text[json.at..].find(|c| c != ' ') {
            json.at += rest;
            return Err(json.expected("a space").into());
        }
        found
            .tensors
            .sort_unstable_by_key(|(_, info)| info.data_offsets);
        found.check_bytes()?;
        Ok(found)
    }

    /// Takes out the text of the metadata, if there was one under the key.
    pub fn take_text(&mut self) -> Option<String> {
        self.text.take()
    }

    /// How many bytes the tensors take together.
    pub fn data_len(&self) -> usize {
        let last = self.tensors.last();
        last.map_or(0, |(_, info)| info.data_offsets.1)
    }

    /// The names of the tensors, in the order of their bytes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name.as_str())
    }

    /// Type, shape and place of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        let found = self.tensors.iter().find(|(known, _)| known == name);
        found.map(|(_, info)| info)
    }

    /// The tensors lie end to end, and each is as long as its shape says.
    fn check_bytes(&self) -> Result<(), String> {
        let mut end = 0;
        for (name, info) in &self.tensors {
            let (start, stop) = info.data_offsets;
            let name = Shown(name);
            if start != end {
                let what = if start < end {
                    "overlaps another, which ends"
                } else {
                    "leaves a hole, which begins"
                };
                return Err(format!(
                    "the tensor {name} begins at byte {start} of the data and {what} at byte {end}"
                ));
            }
            let bits = info
                .shape
                .iter()
                .try_fold(info.dtype.bitsize(), |bits, &size| bits.checked_mul(size))
                .ok_or_else(|| format!("the size of the tensor {name} overflows"))?;
            if stop.checked_sub(start).and_then(|n| n.checked_mul(8)) != Some(bits) {
                return Err(format!(
                    "the tensor {name} has the bytes {start} to {stop} of the data, but {} bytes \
                     follow from the shape {:?} in {}",
                    bits.div_ceil(8),
                    info.shape,
                    info.dtype
                ));
            }
            end = stop;
        }
        Ok(())
    }
}

/// The tensors of a whole file that is in memory.
#[derive(Clone, Debug)]
pub struct Tensors<'a> {
    header: Header,
    data: &'a [u8],
}

impl<'a> Tensors<'a> {
    /// Reads the header, and checks that the file is as long as it calls for.
    ///
    /// # Errors
    ///
    /// As [`Header::parse`], or the header or the file has another length than it should.
    pub fn parse(file: &'a [u8], most: usize) -> Result<Self, HeaderError> {
        let (prefix, rest) = file
            .split_first_chunk()
            .ok_or_else(|| format!("it is only {} bytes long", file.len()))?;
        let length = u64::from_le_bytes(*prefix);
        let (header, data) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or_else(|| {
                let found = file.len();
                format!(
                    "its first 8 bytes call for a header of {length} bytes, and it has {found} in all"
                )
            })?;
        let header = match Header::parse(header, "", most) {
            Err(HeaderError::Malformed(reason)) => Err(format!("in its header, {reason}").into()),
            other => other,
        }?;
        if header.data_len() != data.len() {
            return Err(format!(
                "it has {} bytes behind the header, which calls for {}",
                data.len(),
                header.data_len()
            )
            .into());
        }
        Ok(Self { header, data })
    }

    /// Their names, in the order of their bytes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.names()
    }

    /// A tensor, if there is one of this name.
    pub fn get(&self, name: &str) -> Option<TensorView<'a>> {
        let info = self.header.info(name)?;
        let data = self.data.get(info.data_offsets.0..info.data_offsets.1)?;
        TensorView::new(info.dtype, info.shape.clone(), data).ok()
    }
}

/// Refuses JSON of which a parser could make much more than its length: with very long texts and
/// numbers, which are copied to take out escapes, or very many values, for which a list grows by
/// doubling.
///
/// # Errors
///
/// What is too long.
pub fn modest(json: &str) -> Result<(), String> {
    // Of a text or a number, so far.
    let mut length = 0;
    let (mut commas, mut in_text, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            b'"' if !escaped => (in_text, length) = (!in_text, 0),
            _ if in_text => {
                escaped = byte == b'\\' && !escaped;
                length += 1;
            }
            b'0'..=b'9' => length += 1,
            _ => {
                length = 0;
                commas += usize::from(byte == b',');
            }
        }
        if length > MAX_LENGTH {
            return Err(format!(
                "a text or a number in it is longer than {MAX_LENGTH} bytes"
            ));
        }
        if commas > MAX_COMMAS {
            return Err(format!("it has more than {MAX_COMMAS} values"));
        }
    }
    Ok(())
}

fn twice(name: &str) -> String {
    format!("the key {} is there twice", Shown(name))
}

/// A name in quotation marks, shortened if it is long.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "'{}…'", self.0[..end].escape_debug()),
            None => write!(f, "'{}'", self.0.escape_debug()),
        }
    }
}

/// JSON that is read token by token. Strings stay as they are written until [`unescape`].
struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    fn expected(&self, what: &str) -> String {
        match self.text[self.at..].chars().next() {
            Some(c) => format!("{what} is expected at byte {}, not {c:?}", self.at),
            None => format!("{what} is expected where it ends"),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over white space, and then over `byte` if it is there.
    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.expected(&format!("{:?}", char::from(byte))))
    }

    /// An object; `member` reads the value of the name that it is given.
    fn object<E: From<String>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            member(self, name)?;
            if !self.eat(b',') {
                return Ok(self.expect(b'}')?);
            }
        }
    }

    /// A list of whole numbers.
    fn numbers(&mut self, most: usize) -> Result<Vec<usize>, String> {
        let mut numbers = Vec::new();
        self.expect(b'[')?;
        if self.eat(b']') {
            return Ok(numbers);
        }
        loop {
            if numbers.len() == most {
                return Err(format!("more than {most} numbers at byte {}", self.at));
            }
            numbers.push(self.number()?);
            if !self.eat(b',') {
                self.expect(b']')?;
                return Ok(numbers);
            }
        }
    }

    /// A whole number.
    fn number(&mut self) -> Result<usize, String> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[..length];
        let number = digits.parse().ok().filter(|_| {
            // JSON has no leading zeros.
            length == 1 || !digits.starts_with('0')
        });
        let number = number.ok_or_else(|| self.expected("a whole number below 2^64"))?;
        self.at += length;
        Ok(number)
    }

    /// A string, without its quotation marks.
    fn string(&mut self) -> Result<&'a str, String> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(byte) if byte >= b' ' => self.at += 1,
                // The end of the text may be passed by the second of two.
                None => return Err("a text has no end".to_owned()),
                Some(_) => return Err(self.expected("an escape")),
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }

    /// The metadata: an object of strings, of which one is wanted.
    fn metadata(&mut self, key: &str) -> Result<Option<String>, String> {
        let mut text = None;
        self.object(|json, name| {
            let name = unescape(name)?;
            let value = json.string()?;
            if name == key && text.replace(unescape(value)?).is_some() {
                return Err(twice(key));
            }
            Ok(())
        })?;
        Ok(text)
    }

    /// Type, shape and place of a tensor.
    fn tensor(&mut self) -> Result<TensorInfo, String> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let start = self.at;
        self.object(|json, name| {
            let again = match name {
                "dtype" => dtype.replace(json.dtype()?).is_some(),
                "shape" => shape.replace(json.numbers(MAX_RANK)?).is_some(),
                "data_offsets" => offsets.replace(json.numbers(2)?).is_some(),
                other => return Err(format!("the key {} has no meaning", Shown(other))),
            };
            if again { Err(twice(name)) } else { Ok(()) }
        })?;
        match (dtype, shape, offsets.as_deref()) {
            (Some(dtype), Some(shape), Some(&[from, to])) => Ok(TensorInfo {
                dtype,
                shape,
                data_offsets: (from, to),
            }),
            _ => Err(format!(
                "dtype, shape and two data_offsets are expected at byte {start}"
            )),
        }
    }

    /// The name of a type.
    fn dtype(&mut self) -> Result<Dtype, String> {
        let name = self.string()?;
        // Of a long one, the error would repeat all of it.
        Some(name)
            .filter(|name| name.len() <= 16)
            .and_then(|name| Dtype::deserialize(StrDeserializer::<ValueError>::new(name)).ok())
            .ok_or_else(|| format!("the type {} is unknown", Shown(name)))
    }
}

/// The text that a JSON string stands for, in one allocation of at most its length.
fn unescape(written: &str) -> Result<String, String> {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        let c = match chars.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => unicode(&mut chars)
                .ok_or_else(|| format!("no character is meant by '\\' and {}", Shown(escape)))?,
            _ => {
                return Err(format!(
                    "no character is meant by '\\' and {}",
                    Shown(escape)
                ));
            }
        };
        text.push(c);
        rest = chars.as_str();
    }
    text.push_str(rest);
    Ok(text)
}

/// The character behind `\u`: four digits, or a pair of surrogates.
fn unicode(chars: &mut Chars<'_>) -> Option<char> {
    let first = hex(chars)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    let pair = chars.next() == Some('\\') && chars.next() == Some('u');
    let second = hex(chars).filter(|low| pair && (0xdc00..0xe000).contains(low))?;
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
}

/// Four hexadecimal digits.
fn hex(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Result<Header, HeaderError> {
        Header::parse(header.as_bytes(), "key", 3)
    }

    #[track_caller]
    fn refused(header: &str, reason: &str) {
        match parse(header) {
            Err(HeaderError::Malformed(found)) => assert!(found.contains(reason), "{found}"),
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn a_header_is_read_as_the_safetensors_crate_reads_it() {
        let header = r#"{ "__metadata__" : {"a":"","key":"\"\\\/\b\f\n\r\t\u00e9é\uD83d\uDe00"},
            "b\u0031":{"shape":[2 , 1],"dtype":"F32","data_offsets":[1,9]},
            "a":{"dtype":"U8","shape":[],"data_offsets":[0,1]} }  "#;
        let theirs: safetensors::tensor::Metadata = serde_json::from_str(header).unwrap();
        let mut ours = parse(header).unwrap();
        let key = theirs.metadata().as_ref().and_then(|m| m.get("key"));
        assert_eq!(ours.take_text().as_ref(), key);
        assert_eq!(ours.names().collect::<Vec<_>>(), theirs.offset_keys());
        assert_eq!(ours.data_len(), theirs.data_len());
        for name in ["a", "b1"] {
            let (ours, theirs) = (ours.info(name).unwrap(), theirs.info(name).unwrap());
            assert_eq!(
                (ours.dtype, &ours.shape, ours.data_offsets),
                (theirs.dtype, &theirs.shape, theirs.data_offsets)
            );
        }
        assert!(ours.info("c").is_none());
    }

    #[test]
    fn each_rule_of_the_format_is_held() {
        let a = r#""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#;
        assert!(parse(&format!("{{{a}}}")).is_ok());
        assert!(parse("{}").is_ok());
        let with = |b: &str| format!("{{{a},\"b\":{{{b}}}}}");
        refused("", "'{' is expected where it ends");
        refused(" {}", "'{' is expected at byte 0, not ' '");
        refused("[]", "'{' is expected at byte 0");
        refused("{}{}", "a space is expected at byte 2");
        refused("{}\n", "a space is expected at byte 2");
        refused(&format!("{{{a},}}"), "'\"' is expected at byte");
        refused(&format!("{{{a}"), "'}' is expected where it ends");
        refused(&format!("{{{a},{a}}}"), "the key 'a' is there twice");
        refused(
            &format!("{{{a},{}}}", a.replace("a\"", "\\u0061\"")),
            "the key 'a' is there twice",
        );
        refused(
            r#"{"__metadata__":{},"__metadata__":{}}"#,
            "'__metadata__' is there twice",
        );
        refused(
            r#"{"__metadata__":{"key":"","key":""}}"#,
            "'key' is there twice",
        );
        refused(
            r#"{"__metadata__":{"key":1}}"#,
            "'\"' is expected at byte 23",
        );
        refused(r#"{"__metadata__":["key"]}"#, "'{' is expected at byte 16");
        refused(r#"{"a":1}"#, "'{' is expected at byte 5");
        refused(r#"{"a"#, "a text has no end");
        refused(r#"{"a\"#, "a text has no end");
        refused("{\"a\n\":1}", "an escape is expected at byte 3");
        for escape in [
            r"\x",
            r"\u12",
            r"\u12g4",
            r"\ud800",
            r"\ud800\u0041",
            r"\udc00",
            r"\é",
        ] {
            refused(&format!("{{\"{escape}\":1}}"), "no character is meant by");
        }
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[5,6]"#),
            "leaves a hole, which begins at byte 4",
        );
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[3,4]"#),
            "overlaps another, which ends at byte 4",
        );
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[4,6]"#),
            "but 1 bytes follow from the shape [1] in U8",
        );
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[4,3]"#),
            "but 1 bytes follow",
        );
        refused(
            &with(r#""dtype":"F4","shape":[1],"data_offsets":[4,4]"#),
            "but 1 bytes follow",
        );
        refused(
            &with(r#""dtype":"U8","shape":[18446744073709551615,2],"data_offsets":[4,5]"#),
            "overflows",
        );
        refused(
            &with(r#""dtype":"U8","shape":[18446744073709551616],"data_offsets":[4,5]"#),
            "a whole number below 2^64 is expected",
        );
        for number in ["-1", "01", "", "1.0", "1e3", "null", "\"1\""] {
            refused(
                &with(&format!(
                    r#""dtype":"U8","shape":[{number}],"data_offsets":[4,{number}]"#
                )),
                "is expected at byte",
            );
        }
        refused(
            &with(r#""dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[4,5]"#),
            "more than 8 numbers",
        );
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[4]"#),
            "two data_offsets are expected",
        );
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[4,5,6]"#),
            "more than 2 numbers",
        );
        refused(
            &with(r#""dtype":"U8","data_offsets":[4,5]"#),
            "dtype, shape and two data_offsets",
        );
        refused(
            &with(r#""dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[4,5]"#),
            "'dtype' is there twice",
        );
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[4,5],"more":1"#),
            "'more' has no meaning",
        );
        refused(
            &with(r#""dtype":"F33","shape":[1],"data_offsets":[4,5]"#),
            "the type 'F33' is unknown",
        );
        let long = "n".repeat(1000);
        refused(
            &format!(r#"{{"{long}":{{"{long}":1}}}}"#),
            &format!("'{}…' has no meaning", &long[..40]),
        );
        assert!(matches!(
            Header::parse(b"{\"\xff", "", 1),
            Err(HeaderError::Malformed(_))
        ));
    }

    #[test]
    fn more_tensors_than_asked_for_are_refused() {
        let tensor =
            |name| format!(r#""{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
        let three = ["a", "b", "c"].map(tensor).join(",");
        assert!(parse(&format!("{{{three}}}")).is_ok());
        let four = format!("{{{three},{}}}", tensor("d"));
        assert_eq!(parse(&four).unwrap_err(), HeaderError::TooManyTensors);
    }

    #[test]
    fn modest_is_what_has_no_long_text_and_few_values() {
        let text = |length: usize| {
            format!(
                r#"{{"a":"{}","b":"{}"}}"#,
                "x,".repeat(length / 2),
                "y".repeat(10)
            )
        };
        assert_eq!(modest(&text(MAX_LENGTH)), Ok(()));
        assert!(
            modest(&text(MAX_LENGTH + 2))
                .unwrap_err()
                .contains("longer than 8192")
        );
        // A quotation mark behind a backslash does not end a text, behind two it does.
        let escaped = |mark: &str| format!(r#"["{mark}","{}"]"#, "x".repeat(MAX_LENGTH - 2));
        assert!(modest(&escaped(r#"\""#)).is_ok());
        assert!(modest(&format!(r#"["\"{}"#, "x".repeat(MAX_LENGTH))).is_err());
        assert!(modest(&format!(r#"["\\"{}"#, "x".repeat(MAX_LENGTH))).is_ok());
        assert_eq!(modest(&"7".repeat(MAX_LENGTH)), Ok(()));
        assert!(modest(&"7".repeat(MAX_LENGTH + 1)).is_err());
        assert_eq!(modest(&",".repeat(MAX_COMMAS)), Ok(()));
        assert!(
            modest(&",".repeat(MAX_COMMAS + 1))
                .unwrap_err()
                .contains("4096 values")
        );
    }
}
