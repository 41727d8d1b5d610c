//! The findings of `pipe doctor`, one or two lines each.

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_lines};
use crate::maintenance::doctor::{Finding, Severity};
use crate::text::terminal::wrapped;

/// The findings of `pipe doctor`.
pub struct FindingsView<'a> {
    pub findings: &'a [Finding],
}

impl View for FindingsView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.findings, &page.palette)
    }

    fn json(&self) -> String {
        json_lines(self.findings)
    }
}

/// The indentation of the texts, past the sign and the longest name.
const INDENT: usize = 15;

fn text(findings: &[Finding], palette: &Palette) -> String {
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.state {
            Severity::Good => paint(palette.good, "✓"),
            Severity::Note => paint(palette.warning, "!"),
            Severity::Bad => paint(palette.bad, "✗"),
        };
        // Sign and name take the place of the indentation of the first line.
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
