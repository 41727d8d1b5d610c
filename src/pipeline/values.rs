//! YAML text as values: `serde_yaml` reads them, after `marks` has found that they are few enough
//! and not nested too deeply. On such a text `serde_yaml` itself would take minutes, or all memory.

use serde_yaml::Value as Yaml;

use super::marks::{self, Duplicate, Mark, Origin, Span};

/// What is in a text.
pub(super) struct Values {
    pub(super) yaml: Yaml,
    pub(super) mark: Mark,
}

/// Why a text cannot be read.
pub(super) struct Unreadable {
    pub(super) span: Span,
    /// "this is not YAML: …"
    pub(super) problem: String,
}

/// Reads a text. Also returns the keys that it gives twice; if there are any, the text may have no
/// values.
pub(super) fn read(text: &str) -> (Vec<Duplicate>, Result<Values, Unreadable>) {
    let (root, duplicates) = match marks::read(text) {
        Ok(marks) => (marks.root, marks.duplicates),
        Err(excess) => {
            let (span, problem) = (excess.span, format!("this is refused: {}", excess.problem));
            return (Vec::new(), Err(Unreadable { span, problem }));
        }
    };
    let start = Origin::File(Span { line: 1, column: 1, width: 0 });
    let mark = root.unwrap_or(Mark::leaf(start));
    let read = || {
        let mut yaml: Yaml = serde_yaml::from_str(text)?;
        yaml.apply_merge()?;
        Ok(Values { yaml, mark })
    };
    let values = read().map_err(|error: serde_yaml::Error| {
        let location = error.location();
        let (line, column) = location.map_or((1, 1), |at| (at.line().max(1), at.column().max(1)));
        let message = error.to_string();
        // The location is shown separately.
        let message = message.split(" at line ").next().unwrap_or_default();
        let problem = format!("this is not YAML: {message}");
        Unreadable { span: Span { line, column, width: 1 }, problem }
    });
    (duplicates, values)
}
