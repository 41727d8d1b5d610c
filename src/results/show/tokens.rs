//! The view of a token file: texts with their token boundaries.

use std::path::Path;

use serde_json::json;
use stages::StageError;
use stages::data::token_file::TokenFile;
use stages::text::TextTokenizer;

use super::view::ShowOptions;
use crate::text::figures::grouped;
use crate::text::terminal::columns;
use crate::text::terminal::{fit, printable};

/// Shows the first rows of a token file: id, label, and the tokens between bars. Without a
/// tokenizer, tokens are shown as numbers.
pub fn show_tokens(
    path: &Path,
    tokenizer: Option<&TextTokenizer>,
    options: &ShowOptions,
) -> Result<String, StageError> {
    let file = TokenFile::open(path)?;
    let shown = file.rows().min(options.rows);
    let label = |row: usize| file.target(row);
    let pieces = |window: usize| -> Vec<String> {
        file.ids(window).iter().map(|id| piece(*id, tokenizer)).collect()
    };
    if options.json {
        return Ok(as_json(&file, shown, |window| tokenizer.map(|_| pieces(window))) + "\n");
    }
    let (rows, tokens) = (grouped(file.rows() as u64), grouped(file.tokens() as u64));
    let (windows, longest) = match file.has_windows() {
        true => (format!(" in {} windows", grouped(file.windows() as u64)), "window"),
        false => (String::new(), "row"),
    };
    let mut text = format!(
        "token file, {rows} rows{windows}, {tokens} tokens, the longest {longest} has {} of at most {}\n",
        file.longest(),
        file.max_length()
    );
    for row in 0..shown {
        let head = match label(row) {
            Some(label) => format!("{}, {label}", file.id(row)),
            None => file.id(row).to_owned(),
        };
        let windows = file.windows_of(row);
        for (number, window) in (1..).zip(windows.clone()) {
            let of = match windows.len() {
                1 => String::new(),
                windows => format!(", window {number} of {windows}"),
            };
            let head = format!("{}{of} ({})", printable(&head), file.length(window));
            text.push_str(&fit(&head, options.width));
            text.push('\n');
            for line in folded(&pieces(window), options.width - 2) {
                text.push_str(&format!("  {line}\n"));
            }
        }
    }
    if file.rows() > shown {
        text.push_str(&format!("… {} more rows\n", grouped((file.rows() - shown) as u64)));
    }
    Ok(text)
}

/// A row of one window has its `ids` and `tokens` itself, one of several has `windows` that have them.
fn as_json(
    file: &TokenFile,
    shown: usize,
    tokens: impl Fn(usize) -> Option<Vec<String>>,
) -> String {
    let row = |row: usize| {
        let of_window = |window: usize| json!({"ids": file.ids(window), "tokens": tokens(window)});
        let mut all = json!({"id": file.id(row), "label": file.target(row)});
        let windows = file.windows_of(row);
        if windows.len() > 1 {
            all["windows"] = windows.map(of_window).collect();
        } else {
            all["ids"] = json!(file.ids(windows.start));
            all["tokens"] = json!(tokens(windows.start));
        }
        all
    };
    let rows: Vec<_> = (0..shown).map(row).collect();
    let mut all = json!({
        "kind": "tokens",
        "rows": file.rows(),
        "tokens": file.tokens(),
        "max_length": file.max_length(),
        "first": rows,
    });
    if file.has_windows() {
        all["windows"] = json!(file.windows());
    }
    all.to_string()
}

/// A token as text, with the markers that vocabularies use for a space as spaces.
fn piece(id: i32, tokenizer: Option<&TextTokenizer>) -> String {
    let text = u32::try_from(id).ok().and_then(|id| tokenizer?.token_text(id));
    match text {
        Some(text) => printable(&text.replace(['Ġ', '▁'], " ")),
        None => id.to_string(),
    }
}

/// The tokens between bars, in lines that break at a bar.
fn folded(pieces: &[String], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (index, piece) in pieces.iter().enumerate() {
        let bar = if index > 0 { "|" } else { "" };
        let piece = fit(&format!("{bar}{piece}"), width);
        let last = lines.last().map_or(0, |line| columns(line));
        if last > 0 && last + columns(&piece) > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(&piece);
        }
    }
    lines
}
