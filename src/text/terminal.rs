//! Text for a terminal: without control characters, and fitted to a width in columns.

use std::borrow::Cow;

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
            _ if is_unsafe(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

/// The styles of this program, in the sequences that select them: plain, bold, dim, red, green,
/// yellow.
const STYLES: [&str; 6] =
    ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];

/// Escapes what [`printable`] escapes in a finished text, except for line breaks, tabs and, if it
/// has `styles`, the styles of this program. Everything for a terminal passes through here, so that
/// no text from outside can reach it raw, whichever way it took.
pub fn safe(text: &str, styles: bool) -> Cow<'_, str> {
    let stays = |character: char| matches!(character, '\n' | '\t') || !is_unsafe(character);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let style = STYLES.iter().find(|style| styles && rest.starts_with(**style));
        let length = style.map_or(character.len_utf8(), |style| style.len());
        let (taken, after) = rest.split_at(length);
        match style.is_some() || stays(character) {
            true => shown.push_str(taken),
            false => shown.push_str(&printable(taken)),
        }
        rest = after;
    }
    Cow::Owned(shown)
}

/// The same for a text in JSON, whose strings may hold control characters that JSON does not
/// escape, such as U+009B, which is another way to write an escape sequence.
pub fn safe_json(text: &str) -> Cow<'_, str> {
    let stays = |character: char| matches!(character, '\n' | '\t') || !is_unsafe(character);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match stays(character) {
            true => shown.push(character),
            // All of them are in the basic plane.
            false => shown.push_str(&format!("\\u{:04x}", u32::from(character))),
        }
    }
    Cow::Owned(shown)
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

/// Whether a terminal may obey this character, or turn the direction of text.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use crate::text::terminal::{columns, fit, printable, safe, safe_json};

    #[test]
    fn a_finished_text_keeps_its_lines_and_styles_and_nothing_else() {
        let text = "\u{1b}[1ma\u{1b}[0m\tb\n\u{1b}]0;title\u{7}\r\u{9b}2J\u{1b}[8m";
        let end = "\\u{1b}]0;title\\u{7}\\r\\u{9b}2J\\u{1b}[8m";
        assert_eq!(safe(text, true), format!("\u{1b}[1ma\u{1b}[0m\tb\n{end}"));
        assert_eq!(safe(text, false), format!("\\u{{1b}}[1ma\\u{{1b}}[0m\tb\n{end}"));
        assert_eq!(safe("plain 日本\n", true), "plain 日本\n");
    }

    #[test]
    fn json_stays_json_and_means_the_same() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}[2J \u{202e}\u{7f}\n🙂"});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = safe_json(&text);
            assert!(
                !shown.chars().any(|character| "\u{9b}\u{202e}\u{7f}\u{1b}".contains(character))
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

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
