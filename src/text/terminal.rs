//! Text for a terminal: without control characters, and fitted to a width in columns.

use unicode_width::UnicodeWidthChar;

/// The width of all output, in columns.
pub const WIDTH: usize = 80;

/// Escapes every control character, so that a tweet cannot move the cursor or change the title of
/// the terminal. Also escapes the marks that change the direction of text, which can make a line
/// read differently.
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

/// The width of a printable text, in columns.
pub fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// Cuts a printable text to at most `width` columns, with `…` at the cut.
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

/// Lays out rows in aligned columns. Lines are cut at [`WIDTH`].
pub fn table(rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(columns(cell)) + 2));
        }
        text.push_str(fit(line.trim_end(), WIDTH).as_str());
        text.push('\n');
    }
    text
}

/// Wraps a paragraph at [`WIDTH`], with each line indented by `indent` spaces.
pub fn wrapped(paragraph: &str, indent: usize) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if !line.is_empty() && indent + columns(&line) + 1 + columns(word) > WIDTH {
            text.push_str(&format!("{:indent$}{line}\n", ""));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&format!("{:indent$}{line}\n", ""));
    }
    text
}

fn turns_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use crate::text::terminal::{columns, fit, printable};

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
}
