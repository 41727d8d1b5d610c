//! The findings of `pipe doctor`, a line or two each.

use crate::console::style::{TextStyle, paint};
use crate::console::view::{View, json_lines};
use crate::maintenance::doctor::{Finding, Severity};
use crate::text::terminal::{printable, wrapped};

/// The indentation of the texts: past the sign and the longest name.
const INDENT: usize = 15;

/// What `pipe doctor` found.
pub struct DoctorView<'a>(pub &'a [Finding]);

impl View for DoctorView<'_> {
    fn text(&self, style: &TextStyle) -> String {
        text(self.0, style)
    }

    fn json(&self) -> String {
        json_lines(self.0)
    }
}

fn text(findings: &[Finding], TextStyle { palette, .. }: &TextStyle) -> String {
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.state {
            Severity::Good => paint(palette.good, "✓"),
            Severity::Note => paint(palette.warning, "!"),
            Severity::Bad => paint(palette.bad, "✗"),
        };
        // Sign and name take the place of the first line's indentation.
        let body = wrapped(&printable(&finding.text), INDENT);
        text.push_str(&format!(
            "{sign} {:width$}{}",
            finding.what,
            body.trim_start(),
            width = INDENT - 2
        ));
        if let Some(hint) = &finding.hint {
            text.push_str(&paint(palette.dim, &wrapped(hint, INDENT)));
        }
    }
    text
}
