//! The findings of `pipe doctor`, a line or two each.

use crate::console::style::{Palette, paint};
use crate::maintenance::doctor::{Finding, Severity};
use crate::text::terminal::wrapped;

/// The indentation of the texts: past the sign and the longest name.
const INDENT: usize = 15;

pub fn text(findings: &[Finding], palette: &Palette) -> String {
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.state {
            Severity::Good => paint(palette.good, "✓"),
            Severity::Note => paint(palette.warning, "!"),
            Severity::Bad => paint(palette.bad, "✗"),
        };
        // Sign and name take the place of the first line's indentation.
        let body = wrapped(&crate::text::terminal::printable(&finding.text), INDENT);
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
