//! Text that is safe and fits on a terminal: no control characters, counted in columns.

use unicode_width::UnicodeWidthChar;

/// A text in which every control character is written as an escape, so that what somebody
/// tweeted cannot move the cursor or change the title of a terminal. The marks that turn the
/// direction of text around are escaped too: they can make a line read as something else.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if character.is_control() || turns_direction(character) => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// How many columns a printable text takes.
pub fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// The beginning of a printable text that fits into `width` columns, with `…` where it was cut.
pub fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used >= width {
            break;
        }
        cut.push(character);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size for the eye: `812 B`, `3.9 MB` (powers of 1,000).
pub fn bytes_in_words(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        // 999.95 would be written as 1000.0.
        if size < 999.95 {
            break;
        }
        size /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

fn turns_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number as a person reads it: whole ones as such, else four digits that count.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        format!("{value}")
    } else if size >= 0.001 {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use crate::text::text::{bytes_in_words, columns, fit, grouped, printable};

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{7f}"), "a\\u{1b}[2Jb\\nc\\u{7f}");
        assert_eq!(printable("\u{202e}evil"), "\\u{202e}evil");
    }

    #[test]
    fn a_cut_text_is_never_wider_than_asked() {
        for text in [
            "plain ascii text",
            "日本語のテキスト",
            "mixed 日本 🙂🙃 text",
            "e\u{301}e\u{301}e\u{301}",
        ] {
            for width in 0..20 {
                assert!(columns(&fit(text, width)) <= width, "{text:?} in {width}");
            }
        }
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abcd", 4), "abcd");
    }

    #[test]
    fn numbers_and_sizes_read_well() {
        assert_eq!([0, 999, 1_000, 124_645_632].map(grouped).join(" "), "0 999 1,000 124,645,632");
        let sizes = [0, 999, 1_000, 3_876_480, 999_960, u64::MAX].map(bytes_in_words);
        assert_eq!(sizes.join(" | "), "0 B | 999 B | 1.0 kB | 3.9 MB | 1.0 MB | 18446744.1 TB");
    }
}
