//! Cleaning: from names as a register spells them to a small alphabet.

/// Brings a name down to lower-case ASCII. In this order:
///
/// 1. Of several official names, separated by `/`, the first stays: `Alacant/Alicante` → `Alacant`.
/// 2. An article filed at the end returns to the front: `Rioja, La` → `La Rioja`.
/// 3. Other scripts and accents are transliterated to ASCII, and what has no transliteration is
///    dropped: `Ñora` → `Nora`.
/// 4. Lower case, without the characters `(` `)` `'` `"`, and without white space at the ends.
///
/// The alternatives come first because transliteration makes new slashes (`½` → `1/2`), and the
/// unwanted characters go last because it makes new quotes (`’` → `'`).
///
/// Nothing else is special: an article that ends in an apostrophe keeps the space of rule 2, so
/// `Alfàs del Pi, l'` becomes `l alfas del pi`. The result can be empty.
///
/// ```
/// use gpu_makemore::data::clean;
///
/// assert_eq!(clean("Orxa, l'/Lorcha"), "l orxa");
/// assert_eq!(clean("Noáin (Valle de Elorz)/Noain (Elortzibar)"), "noain valle de elorz");
/// ```
pub fn clean(name: &str) -> String {
    let name = name.split_once('/').map_or(name, |(first, _)| first);
    let ascii = match name.rsplit_once(", ") {
        Some((rest, article)) => transliterate(&format!("{} {}", article.trim(), rest.trim())),
        None => transliterate(name),
    };
    let kept: String = ascii
        .chars()
        .filter(|c| !matches!(c, '(' | ')' | '\'' | '"'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    kept.trim().to_owned()
}

/// ASCII without control characters.
fn transliterate(text: &str) -> String {
    deunicode::deunicode_with_tofu(text, "")
        .chars()
        // A few characters (line and paragraph separators) become line breaks.
        .map(|c| if c.is_ascii_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules() {
        for (name, cleaned) in [
            ("Vitoria-Gasteiz", "vitoria-gasteiz"),
            ("Añana", "anana"),
            ("Alacant/Alicante", "alacant"),
            ("Agurain / Salvatierra", "agurain"),
            ("Rioja, La", "la rioja"),
            ("Palmas de Gran Canaria, Las", "las palmas de gran canaria"),
            ("Camp de Mirra, el/Campo de Mirra", "el camp de mirra"),
            ("Hospitalet de l'Infant, L'", "l hospitalet de linfant"),
            ("Noáin (Valle de Elorz)", "noain valle de elorz"),
            ("L’Hospitalet", "lhospitalet"),
            ("Vitória ½", "vitoria 1/2"),
            ("Æneid", "aeneid"),
            ("Łódź", "lodz"),
            ("Страна", "strana"),
            ("a, b, c", "c a, b"),
            ("a,b", "a,b"),
            ("St. John", "st. john"),
            ("  x  ", "x"),
            ("/x", ""),
            ("()", ""),
            ("\u{e000}", ""),
            ("", ""),
        ] {
            assert_eq!(clean(name), cleaned, "{name}");
        }
    }

    #[test]
    fn every_character_becomes_printable_ascii() {
        for c in '\0'..=char::MAX {
            let cleaned = clean(&c.to_string());
            assert!(
                cleaned.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
                "{c:?} became {cleaned:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn cleaned_words_are_trimmed_and_plain(name in any::<String>()) {
            let cleaned = clean(&name);
            prop_assert_eq!(cleaned.trim(), &cleaned);
            for c in cleaned.chars() {
                prop_assert!(c == ' ' || c.is_ascii_graphic());
                prop_assert!(!c.is_ascii_uppercase() && !"()'\"".contains(c));
            }
        }
    }
}
