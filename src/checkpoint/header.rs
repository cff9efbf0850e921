//! The header of a safetensors file, read without trust in it.
//!
//! The `safetensors` crate knows the format: types, and that the tensors lie end to end and are as long as
//! their shapes. But of two entries with one name it takes the last, and it buffers the JSON in values
//! that need many times the memory of the text. So the entries are counted, measured and compared before
//! it sees them.

use std::fmt;

use safetensors::tensor::{Metadata, SafeTensorError, TensorInfo, TensorView};
use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::text::excerpt;

/// The key of the entry that is no tensor.
const METADATA: &str = "__metadata__";
/// The most metadata of a file. Most programs write one or two.
const MAX_METADATA: usize = 1024;
/// The most bytes of the metadata text that is asked for, escapes as they are written: nine for each character
/// of the largest vocabulary, and 64 KiB. To take those out needs up to three times as many.
pub(super) const MAX_TEXT_BYTES: usize = 640 << 10;
/// The most bytes of a tensor's type, shape and place as JSON. Eight dimensions need less than half of it.
const MAX_INFO_BYTES: usize = 512;
/// The deepest nesting of a header: its object, a tensor, and a shape.
const MAX_DEPTH: usize = 3;
/// Characters of a name that a message shows.
const NAME: usize = 40;
/// Characters of a reason that a message shows.
const REASON: usize = 240;

/// What a header says.
#[derive(Clone, Debug)]
pub struct Header {
    /// The metadata under the key that was asked for.
    pub text: Option<String>,
    /// The tensors, which lie end to end from byte 0 of the data.
    pub tensors: Metadata,
}

/// Why a header is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It breaks a rule of the format.
    #[error("{0}")]
    Malformed(String),
    /// It has more tensors than were asked for.
    #[error("it has more than {0} tensors")]
    TooManyTensors(usize),
}

impl Header {
    /// Reads a header, without the eight bytes of its length. Of the metadata, only the text under `key` is
    /// kept.
    ///
    /// # Errors
    ///
    /// The header breaks a rule of the format: it is not a JSON object in UTF-8, a key is there twice, a
    /// type is unknown, the tensors overlap or leave a hole, or a tensor's bytes do not fit its shape. Or
    /// it has more than `most` tensors.
    pub fn parse(header: &[u8], key: &str, most: usize) -> Result<Self, HeaderError> {
        let json = str::from_utf8(header).map_err(|e| malformed("in its header", e))?;
        if Extent::of(json).depth > MAX_DEPTH {
            return Err(malformed("in its header", "values are nested too deeply"));
        }
        // One entry more than tensors: the metadata.
        let (entries, all) = entries(json, most + 1).map_err(|e| malformed("in its header", e))?;
        let mut text = None;
        let mut tensors = Vec::new();
        for (name, json) in entries {
            if name == METADATA {
                text = value(json.get(), key).map_err(|e| malformed("in its metadata", e))?;
                continue;
            }
            let json = json.get();
            let info = match json.len() {
                0..=MAX_INFO_BYTES => serde_json::from_str::<TensorInfo>(json),
                _ => Err(Error::custom("its description is too long")),
            };
            let info = info.map_err(|e| {
                let name = excerpt(&name, NAME);
                malformed(&format!("in its header, at the tensor '{name}'"), e)
            })?;
            tensors.push((name, info));
        }
        if !all || tensors.len() > most {
            return Err(HeaderError::TooManyTensors(most));
        }
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let misfit = tensors.iter().find_map(|(name, info)| misfit(name, info));
        let tensors = Metadata::new(None, tensors).map_err(|e| match (e, misfit) {
            (SafeTensorError::TensorInvalidInfo, Some(misfit)) => {
                malformed("in its header", misfit)
            }
            (e, _) => malformed("in its header", e),
        })?;
        Ok(Self { text, tensors })
    }

    /// Type, shape and place of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.info(name)
    }
}

/// What is wrong with a tensor that has more or fewer bytes than its shape calls for. The crate finds it, but
/// does not name the tensor. Sizes that overflow, or end within a byte, it reports in other ways.
fn misfit(name: &str, info: &TensorInfo) -> Option<String> {
    let (start, stop) = info.data_offsets;
    let mut sizes = info.shape.iter();
    let bits = sizes.try_fold(info.dtype.bitsize(), |bits, &size| bits.checked_mul(size))?;
    let (there, wanted) = (stop.checked_sub(start)?, bits / 8);
    (there != wanted).then(|| {
        format!(
            "the tensor '{}' has {there} bytes, but {wanted} follow from its shape {:?} of {:?}",
            excerpt(name, NAME),
            info.shape,
            info.dtype
        )
    })
}

fn malformed(place: &str, reason: impl fmt::Display) -> HeaderError {
    HeaderError::Malformed(format!("{place}, {}", excerpt(reason, REASON)))
}

/// The text under `key` in a JSON object of metadata.
fn value(json: &str, key: &str) -> serde_json::Result<Option<String>> {
    let (entries, all) = entries(json, MAX_METADATA)?;
    if !all {
        return Err(Error::custom(format_args!(
            "more than {MAX_METADATA} entries"
        )));
    }
    let wanted = entries.into_iter().find(|(name, _)| name == key);
    let Some(text) = wanted.map(|(_, text)| text.get()) else {
        return Ok(None);
    };
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::custom(format_args!(
            "the text under '{key}' is longer than {MAX_TEXT_BYTES} bytes"
        )));
    }
    serde_json::from_str(text).map(Some)
}

/// Names and values of a JSON object.
type Entries<'a> = Vec<(String, &'a RawValue)>;

/// The first `most` entries of a JSON object, in their order and none twice, and whether they are all.
fn entries(json: &str, most: usize) -> serde_json::Result<(Entries<'_>, bool)> {
    let mut json = serde_json::Deserializer::from_str(json);
    let found = json.deserialize_map(Unique { most })?;
    json.end()?;
    Ok(found)
}

/// Reads an object of which no key may be there twice.
struct Unique {
    most: usize,
}

impl<'de> Visitor<'de> for Unique {
    type Value = (Entries<'de>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries::new();
        while entries.len() < self.most {
            let Some(name) = map.next_key::<String>()? else {
                return Ok((entries, true));
            };
            if entries.iter().any(|(known, _)| *known == name) {
                let name = excerpt(&name, NAME);
                return Err(A::Error::custom(format_args!(
                    "the key '{name}' is there twice"
                )));
            }
            entries.push((name, map.next_value()?));
        }
        let mut all = true;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            all = false;
        }
        Ok((entries, all))
    }
}

/// How much JSON there is to hold, found without holding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes of the longest text or number, escapes as they are written.
    pub longest: usize,
    /// Commas between values.
    pub commas: usize,
    /// Brackets and braces that are open at once.
    pub depth: usize,
}

impl Extent {
    pub fn of(json: &str) -> Self {
        let mut extent = Self::default();
        let (mut length, mut open, mut in_text, mut escaped) = (0, 0_usize, false, false);
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
                    extent.commas += usize::from(byte == b',');
                    match byte {
                        b'[' | b'{' => open += 1,
                        b']' | b'}' => open = open.saturating_sub(1),
                        _ => {}
                    }
                }
            }
            extent.longest = extent.longest.max(length);
            extent.depth = extent.depth.max(open);
        }
        extent
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
        let (prefix, rest) = file.split_first_chunk().ok_or_else(|| {
            HeaderError::Malformed(format!("it is only {} bytes long", file.len()))
        })?;
        let length = u64::from_le_bytes(*prefix);
        let (header, data) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or_else(|| {
                HeaderError::Malformed(format!(
                    "its first 8 bytes call for a header of {length} bytes, and it has {} in all",
                    file.len()
                ))
            })?;
        let header = Header::parse(header, "", most)?;
        let called_for = header.tensors.data_len();
        if called_for != data.len() {
            return Err(HeaderError::Malformed(format!(
                "it has {} bytes behind the header, which calls for {called_for}",
                data.len()
            )));
        }
        Ok(Self { header, data })
    }

    /// Their names, in the order of their bytes.
    pub fn names(&self) -> Vec<String> {
        self.header.tensors.offset_keys()
    }

    /// A tensor, if there is one of this name.
    pub fn get(&self, name: &str) -> Option<TensorView<'a>> {
        let info = self.header.info(name)?;
        let data = self.data.get(info.data_offsets.0..info.data_offsets.1)?;
        TensorView::new(info.dtype, info.shape.clone(), data).ok()
    }
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
        let theirs: Metadata = serde_json::from_str(header).unwrap();
        let ours = parse(header).unwrap();
        let key = theirs.metadata().as_ref().and_then(|m| m.get("key"));
        assert_eq!(ours.text.as_ref(), key);
        assert_eq!(ours.tensors.offset_keys(), theirs.offset_keys());
        assert_eq!(ours.tensors.data_len(), theirs.data_len());
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
        refused("", "EOF while parsing");
        refused("[]", "expected an object");
        refused(r#"{"a":{"shape":[[]]}}"#, "nested too deeply");
        refused("{}{}", "trailing characters");
        refused(&format!("{{{a},}}"), "trailing comma");
        refused(&format!("{{{a}"), "EOF while parsing an object");
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
        refused(r#"{"__metadata__":{"key":1}}"#, "expected a string");
        refused(r#"{"__metadata__":["key"]}"#, "expected an object");
        refused(r#"{"a":1}"#, "at the tensor 'a', invalid type: integer");
        refused(r#"{"a"#, "EOF while parsing a string");
        refused("{\"a\n\":1}", "control character");
        for escape in [
            r"\x",
            r"\u12",
            r"\u12g4",
            r"\ud800",
            r"\ud800\u0041",
            r"\udc00",
            r"\é",
        ] {
            assert!(parse(&format!("{{\"{escape}\":1}}")).is_err(), "{escape}");
        }
        for place in ["[5,6]", "[3,4]"] {
            refused(
                &with(&format!(
                    r#""dtype":"U8","shape":[1],"data_offsets":{place}"#
                )),
                "invalid offset for tensor `b`",
            );
        }
        refused(
            &with(r#""dtype":"U8","shape":[1],"data_offsets":[4,6]"#),
            "the tensor 'b' has 2 bytes, but 1 follow from its shape [1] of U8",
        );
        for wrong in [
            r#""dtype":"U8","shape":[1],"data_offsets":[4,3]"#,
            r#""dtype":"F4","shape":[1],"data_offsets":[4,4]"#,
            r#""dtype":"U8","shape":[1],"data_offsets":[4]"#,
            r#""dtype":"U8","shape":[1],"data_offsets":[4,5,6]"#,
            r#""dtype":"U8","data_offsets":[4,5]"#,
        ] {
            assert!(parse(&with(wrong)).is_err(), "{wrong}");
        }
        refused(
            &with(r#""dtype":"U8","shape":[18446744073709551615,2],"data_offsets":[4,5]"#),
            "overflow",
        );
        for number in [
            "-1",
            "01",
            "",
            "1.0",
            "1e3",
            "null",
            "\"1\"",
            "18446744073709551616",
        ] {
            let wrong = format!(r#""dtype":"U8","shape":[{number}],"data_offsets":[4,{number}]"#);
            assert!(parse(&with(&wrong)).is_err(), "{wrong}");
        }
        refused(
            &with(&format!(
                r#""dtype":"U8","shape":[{}1],"data_offsets":[4,5]"#,
                "1,".repeat(MAX_INFO_BYTES / 2)
            )),
            "at the tensor 'b', its description is too long",
        );
        refused(
            &with(r#""dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[4,5]"#),
            "duplicate field `dtype`",
        );
        refused(
            &with(r#""dtype":"F33","shape":[1],"data_offsets":[4,5]"#),
            "unknown variant `F33`",
        );
        let long = "n".repeat(1000);
        refused(
            &format!(r#"{{"{long}":1}}"#),
            &format!("at the tensor '{}…', ", &long[..NAME]),
        );
        assert!(matches!(
            Header::parse(b"{\"\xff", "", 1),
            Err(HeaderError::Malformed(_))
        ));
    }

    #[test]
    fn more_entries_than_allowed_are_refused() {
        let tensor =
            |name| format!(r#""{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
        let three = ["a", "b", "c"].map(tensor).join(",");
        assert!(parse(&format!("{{{three}}}")).is_ok());
        assert!(parse(&format!(r#"{{{three},"__metadata__":{{}}}}"#)).is_ok());
        for more in [tensor("d"), [tensor("d"), tensor("e")].join(",")] {
            assert_eq!(
                parse(&format!("{{{three},{more}}}")).unwrap_err(),
                HeaderError::TooManyTensors(3)
            );
        }
        let metadata = |count: usize| {
            let entries: Vec<String> = (0..count).map(|i| format!(r#""{i}":"""#)).collect();
            format!(r#"{{"__metadata__":{{{}}}}}"#, entries.join(","))
        };
        let text = |length: usize| {
            let text = "x".repeat(length - 2); // and two quotation marks
            format!(r#"{{"__metadata__":{{"other":"{text}?","key":"{text}"}}}}"#)
        };
        assert!(parse(&text(MAX_TEXT_BYTES)).is_ok());
        refused(
            &text(MAX_TEXT_BYTES + 1),
            "the text under 'key' is longer than 655360 bytes",
        );
        assert!(parse(&metadata(MAX_METADATA)).is_ok());
        refused(&metadata(MAX_METADATA + 1), "more than 1024 entries");
    }
}
