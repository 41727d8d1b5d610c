//! The reference of the built-in stages as Markdown, from the tables that pipelines are checked
//! against: the generated part of `docs/stages.md`.

use std::fmt::Write;

use stages::stage::params::ParamSpec;
use stages::{Count, Stage};

use crate::files::digest::kind_name;
use crate::text::values::value_text;

/// A section for each stage, in the order of a pipeline.
pub fn stages_page() -> String {
    stages::all().iter().map(|stage| section(*stage)).collect::<Vec<_>>().join("\n")
}

fn section(stage: &dyn Stage) -> String {
    let mut text = format!("### {}\n\n{}\n\n", stage.name(), sentence(stage.summary()));
    let _ = writeln!(text, "Version {}.\n", stage.version());
    let rows = stage.inputs().iter().map(|input| {
        let kind = match input.count {
            Count::One => kind_name(input.kind).to_owned(),
            Count::OneOrSeveral => format!("{} or a set", kind_name(input.kind)),
            Count::Set => "a set".to_owned(),
        };
        let needed = if input.required { "required" } else { "optional" };
        vec![code(input.name), format!("{kind}, {needed}"), cell(input.doc)]
    });
    text.push_str(&table(["input", "kind", ""], rows.collect()));
    let rows = stage.outputs().iter().map(|output| {
        let given = output.given.map(|input| format!(", only if `{input}` is given"));
        let kind = format!("{} {}", kind_name(output.kind), code(output.file));
        vec![code(output.name), kind + &given.unwrap_or_default(), cell(output.doc)]
    });
    text.push_str(&table(["output", "kind", ""], rows.collect()));
    let rows = stage.params().iter().map(|param| {
        vec![code(param.name), cell(&param.kind.expected()), default(param), cell(param.doc)]
    });
    text.push_str(&table(["parameter", "value", "default", ""], rows.collect()));
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// A Markdown table and an empty line; nothing for no rows.
fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(COLUMNS));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text + "\n"
}

fn default(param: &ParamSpec) -> String {
    match param.default.value() {
        None => "required".to_owned(),
        Some(serde_json::Value::Null) => "not set".to_owned(),
        Some(value) => match value.as_str() {
            Some("") => "empty".to_owned(),
            Some(" ") => "a space".to_owned(),
            _ => code(&value_text(&value)),
        },
    }
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

/// As a sentence: the tables' texts start in lower case and end without a period.
fn sentence(text: &str) -> String {
    let mut letters = cell(text).chars().collect::<Vec<_>>();
    if let Some(first) = letters.first_mut() {
        first.make_ascii_uppercase();
    }
    letters.into_iter().chain(['.']).collect()
}

/// One line, with `|` escaped so that it does not end the table's cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
