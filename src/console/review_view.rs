//! One issue for a person to decide on.

use stages::data::issue::{Issue, Neighbour};

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_line};
use crate::text::terminal::{printable, wrapped};

/// An issue, the number that it has, and the labels that it can be given.
pub struct IssueView<'a> {
    pub issue: &'a Issue,
    pub number: usize,
    pub of: usize,
    pub labels: &'a [String],
}

/// The indentation of the texts, past the names of the lines.
const INDENT: usize = 12;

/// Of a label, a text or a name, no more is shown.
const MOST_CHARACTERS: usize = 1_000;

impl View for IssueView<'_> {
    fn text(&self, page: &Page) -> String {
        let issue = self.issue;
        let palette = &page.palette;
        let problems: Vec<&str> = issue.problems.iter().map(|problem| problem.words()).collect();
        let title = format!("{} of {}  {}", self.number, self.of, printable(&issue.id));
        let mut text = format!("\n{}\n", paint(palette.name, &title));
        let mut line = |name: &str, body: &str| {
            let cut: String = body.chars().take(MOST_CHARACTERS).collect();
            let body = wrapped(&printable(&cut), INDENT);
            let body = if body.is_empty() { "\n" } else { body.trim_start() };
            text.push_str(&format!("{}{body}", paint(palette.dim, &format!("{name:INDENT$}"))));
        };
        line("problem", &problems.join(", "));
        if let Some(turn) = &issue.after {
            line("after", turn);
        }
        line("text", &issue.text);
        line("label", issue.label.as_deref().unwrap_or("none"));
        if !issue.probabilities.is_empty() {
            let mut order: Vec<(&String, &f64)> = issue.probabilities.iter().collect();
            order.sort_by(|a, b| b.1.total_cmp(a.1));
            let said = order.iter().take(5).map(|(label, p)| format!("{label} {p:.3}"));
            line("predicted", &said.collect::<Vec<_>>().join(", "));
        }
        for (index, neighbour) in issue.neighbours.iter().enumerate() {
            line(if index == 0 { "similar" } else { "" }, &told(neighbour));
        }
        text + &keys(issue, self.labels, palette)
    }

    fn json(&self) -> String {
        json_line(self.issue)
    }
}

fn told(neighbour: &Neighbour) -> String {
    let label = neighbour.label.as_deref().unwrap_or(&neighbour.part);
    let cut: String = neighbour.text.chars().take(200).collect();
    format!("{label} · {cut}")
}

/// What can be typed.
fn keys(issue: &Issue, labels: &[String], palette: &Palette) -> String {
    let mut keys = vec!["[k]eep".to_owned(), "[d]rop".to_owned()];
    if let Some(suggested) = &issue.suggested {
        keys.push(format!("[r]elabel as {suggested}"));
    }
    if labels.len() > 2 {
        let numbered = labels.iter().take(9).enumerate();
        keys.extend(numbered.map(|(index, label)| format!("[{}] {label}", index + 1)));
    }
    keys.extend(["[s]kip", "[b]ack", "[q]uit"].map(str::to_owned));
    paint(palette.dim, &printable(&keys.join("  "))) + "\n"
}
