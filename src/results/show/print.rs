//! Views as text.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::chart::charts;
use super::folder::{Folder, Model};
use super::outline::outline;
use super::table::{Align, table};
use super::tensors::Tensors;
use super::view::{ShowOptions, View};
use crate::text::figures::{self, grouped, number};
use crate::text::terminal::{fit, printable};

/// A line that names the kind of data, then its content.
pub(super) fn print(path: &Path, view: &View, options: &ShowOptions) -> String {
    let (what, body) = match view {
        View::Empty => ("empty".to_owned(), String::new()),
        View::Jsonl { bytes, rows, first } => (
            format!("JSONL, {}, {}", counted(*rows, "row"), figures::bytes(*bytes)),
            rows_table(first, options)
                + &rest(*rows, first.len(), "row")
                + &charts(first, options.width),
        ),
        View::Json { bytes, value } => {
            (format!("JSON, {}", figures::bytes(*bytes)), outline(value, options.width))
        }
        View::Safetensors(tensors) => (
            format!(
                "safetensors, {}, {}, {}",
                counted(tensors.tensors, "tensor"),
                counted(tensors.numbers, "number"),
                figures::bytes(tensors.bytes)
            ),
            tensors_table(tensors, options),
        ),
        View::Text { bytes, lines, first, note } => {
            let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            (
                format!("text{note}, {}, {}", counted(*lines, "line"), figures::bytes(*bytes)),
                lines_of(first, options.width) + &rest(*lines, first.len(), "line"),
            )
        }
        View::Binary { bytes, first, note } => {
            let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            let body = format!("{}\n", fit(first, options.width));
            (format!("binary{note}, {}", figures::bytes(*bytes)), body)
        }
        View::Folder(folder) => (
            format!("folder, {}, {}", counted(folder.files, "file"), figures::bytes(folder.bytes)),
            folder_table(folder, options),
        ),
    };
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    format!("{}: {}\n{body}", printable(&name), printable(&what))
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// "… 4,990 more rows", if not all are shown.
fn rest(total: u64, shown: usize, what: &str) -> String {
    match total.saturating_sub(shown as u64) {
        0 => String::new(),
        more => format!("… {} more {what}{}\n", grouped(more), if more == 1 { "" } else { "s" }),
    }
}

/// A table with a column for each key, in the order in which the keys appear.
fn rows_table(rows: &[Value], options: &ShowOptions) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut seen = BTreeSet::new();
    let mut keys: Vec<&str> = Vec::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
        if seen.insert(key) {
            keys.push(key);
        }
    }
    let loose = rows.iter().any(|row| !row.is_object());
    let numeric = |key: &str| {
        let mut cells = rows.iter().filter_map(|row| row.get(key)).peekable();
        cells.peek().is_some() && cells.all(Value::is_number)
    };
    let names: Vec<String> = keys.iter().map(|key| printable(key)).collect();
    let mut heads: Vec<(&str, Align)> = keys
        .iter()
        .zip(&names)
        .map(|(key, name)| (name.as_str(), if numeric(key) { Align::Right } else { Align::Left }))
        .collect();
    if loose {
        heads.push(("value", Align::Left));
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut cells: Vec<String> =
                keys.iter().map(|key| row.get(key).map(cell).unwrap_or_default()).collect();
            if loose {
                cells.push(if row.is_object() { String::new() } else { cell(row) });
            }
            cells
        })
        .collect();
    table(&heads, &cells, options.width)
}

/// A value on one printable line; strings without quotes.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Number(value) if value.is_f64() => value.as_f64().map(number).unwrap_or_default(),
        other => printable(&other.to_string()),
    }
}

fn lines_of(lines: &[String], width: usize) -> String {
    lines.iter().map(|line| fit(&printable_line(line), width) + "\n").collect()
}

/// Like [`printable`], but with tabs as spaces, which keeps columns aligned.
fn printable_line(line: &str) -> String {
    printable(&line.replace('\t', "    "))
}

fn tensors_table(tensors: &Tensors, options: &ShowOptions) -> String {
    let mut out = String::new();
    for (key, value) in &tensors.metadata {
        let _ = writeln!(out, "{}", fit(&printable(&format!("{key}: {value}")), options.width));
    }
    let rows: Vec<Vec<String>> = tensors
        .first
        .iter()
        .map(|tensor| {
            let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
            vec![
                printable(&tensor.name),
                printable(&tensor.dtype),
                format!("[{}]", shape.join(", ")),
                figures::bytes(tensor.bytes),
            ]
        })
        .collect();
    let heads = [
        ("name", Align::Left),
        ("dtype", Align::Left),
        ("shape", Align::Left),
        ("size", Align::Right),
    ];
    out + &table(&heads, &rows, options.width)
        + &rest(tensors.tensors, tensors.first.len(), "tensor")
}

fn folder_table(folder: &Folder, options: &ShowOptions) -> String {
    let mut out = String::new();
    if let Some(model) = &folder.model {
        let _ = writeln!(out, "{}", fit(&printable(&model_line(model)), options.width));
    }
    if !folder.first.is_empty() {
        let rows: Vec<Vec<String>> = folder
            .first
            .iter()
            .map(|file| vec![printable(&file.path), figures::bytes(file.bytes)])
            .collect();
        out += &table(&[("file", Align::Left), ("size", Align::Right)], &rows, options.width);
    }
    out + &rest(folder.files, folder.first.len(), "file")
}

/// "roberta, 12 layers of 768, 12 heads, 124,645,632 parameters, labels NOT_SARCASM, SARCASM".
fn model_line(model: &Model) -> String {
    let number = |name: &str| model.config.get(name).and_then(Value::as_u64);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(model.config.get("model_type").and_then(Value::as_str).map(str::to_owned));
    if let (Some(layers), Some(size)) = (number("num_hidden_layers"), number("hidden_size")) {
        parts.push(format!("{} of {size}", counted(layers, "layer")));
    }
    parts.extend(number("num_attention_heads").map(|heads| counted(heads, "head")));
    parts.extend(number("vocab_size").map(|tokens| counted(tokens, "token")));
    parts.extend(model.parameters.map(|count| counted(count, "parameter")));
    if let Some(labels) = model.config.get("id2label").and_then(Value::as_object) {
        let names: Vec<String> = labels.values().map(cell).collect();
        parts.push(format!("labels {}", names.join(", ")));
    }
    parts.join(", ")
}
