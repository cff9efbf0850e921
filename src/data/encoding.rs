//! The encodings that texts have.

use std::fmt;
use std::str::FromStr;

/// The encoding of a text, one of those that browsers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(pub(super) &'static encoding_rs::Encoding);

/// A name that no encoding has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no encoding that is known; some are utf-8, windows-1252, iso-8859-2, shift_jis, gbk, euc-kr, \
     utf-16le"
)]
pub struct UnknownEncoding;

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name())
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    /// Takes the labels of the Encoding Standard, in any case: `latin1`, `Shift_JIS`.
    fn from_str(label: &str) -> Result<Self, Self::Err> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes())
            .map(Self)
            .ok_or(UnknownEncoding)
    }
}
