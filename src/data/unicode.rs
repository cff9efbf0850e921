//! One spelling for what looks the same.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::reading::Notes;

/// Whether a character shows nothing and only steers how others are shown: zero-width characters, soft
/// hyphens and the marks of direction.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// The text without invisible characters, in Unicode's normalization form C: `é` is one character,
/// however it was typed. ASCII stays as it is.
///
/// ```
/// use gpu_makemore::data::normalized;
///
/// assert_eq!(normalized("Rene\u{301}"), "Ren\u{e9}");
/// assert_eq!(normalized("zero\u{200b}width"), "zerowidth");
/// ```
pub fn normalized(text: &str) -> Cow<'_, str> {
    normalize(text, &mut Notes::default())
}

/// [`normalized`], with what it changed counted.
pub(super) fn normalize<'a>(text: &'a str, notes: &mut Notes) -> Cow<'a, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let invisible = text.chars().filter(|&c| is_invisible(c)).count();
    notes.invisible += invisible;
    let visible = match invisible {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(text.chars().filter(|&c| !is_invisible(c)).collect()),
    };
    if is_nfc_quick(visible.chars()) == IsNormalized::Yes {
        return visible;
    }
    let composed: String = visible.nfc().collect();
    if composed == visible {
        return visible;
    }
    notes.composed += 1;
    Cow::Owned(composed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_counted() {
        let mut notes = Notes::default();
        assert_eq!(normalize("a\u{300}b\u{ad}c\u{200f}", &mut notes), "àbc");
        assert_eq!((notes.composed, notes.invisible), (1, 2));
        // Hangul is composed as well: three letters are a syllable.
        assert_eq!(normalize("\u{1112}\u{1161}\u{11ab}", &mut notes), "한");
        assert_eq!(notes.composed, 2);
        for same in ["emma", "", "é", "한국", "e\u{353}"] {
            assert!(
                matches!(normalize(same, &mut notes), Cow::Borrowed(_)),
                "{same}"
            );
        }
        assert_eq!((notes.composed, notes.invisible), (2, 2));
    }
}
