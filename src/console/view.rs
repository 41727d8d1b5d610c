//! What every view of a result has in common: a text for people, and JSON for programs.

use serde::Serialize;

use crate::console::style::TextStyle;

/// A result that [`Console::print`](crate::console::Console::print) writes to standard output.
pub trait View {
    /// Lines for people, each ended by a line feed.
    fn text(&self, style: &TextStyle) -> String;
    /// JSON, one object per line.
    fn json(&self) -> String;
}

/// The value as one line of JSON.
pub fn json_line(value: &impl Serialize) -> String {
    // Names, numbers, digests and reasons always serialize.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// One line of JSON per value.
pub fn json_lines(values: &[impl Serialize]) -> String {
    values.iter().map(json_line).collect()
}
