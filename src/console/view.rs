//! What the console prints: a value of the domain together with the way to show it.

use serde::Serialize;

use crate::console::style::Palette;

/// How to print: the colours of standard output, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub palette: Palette,
    pub verbose: bool,
}

impl Page {
    /// A stage with at least this many variants is printed as one line.
    pub fn fold_from(&self) -> usize {
        const MANY: usize = 7;
        if self.verbose { usize::MAX } else { MANY }
    }
}

/// Something that a command prints on standard output.
pub trait View {
    /// For people.
    fn text(&self, page: &Page) -> String;

    /// For programs: JSON, one value per line.
    fn json(&self) -> String;
}

/// A value as one line of JSON. Names, numbers, digests and reasons always serialize.
pub fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Values as lines of JSON.
pub fn json_lines<T: Serialize>(values: &[T]) -> String {
    values.iter().map(json_line).collect()
}
