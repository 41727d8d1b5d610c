//! An answer traced back, as text.

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_line};
use crate::results::why_row::{Answer, WhyRow};
use crate::text::figures::count;
use crate::text::terminal::{printable, wrapped};

/// One answer traced back.
pub struct WhyRowView<'a> {
    pub why: &'a WhyRow,
}

impl View for WhyRowView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.why, &page.palette, page.verbose)
    }

    fn json(&self) -> String {
        json_line(self.why)
    }
}

/// The indentation of the texts, past the names of the lines.
const INDENT: usize = 10;
/// The number of disagreeing results to list, at most, without `-v`.
const SHOWN: usize = 5;

fn text(why: &WhyRow, palette: &Palette, all: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, body: &str| {
        let body = wrapped(body, INDENT);
        let body = if body.is_empty() { "\n" } else { body.trim_start() };
        text.push_str(&format!("{}{body}", paint(palette.dim, &format!("{name:INDENT$}"))));
    };
    if let Some(found) = &why.example {
        for (index, turn) in found.context.iter().enumerate() {
            line(if index == 0 { "context" } else { "" }, &format!("· {}", printable(turn)));
        }
        line("text", &printable(&found.text));
        if let Some(label) = &found.label {
            line("label", &printable(&label.to_string()));
        }
        let file =
            found.file.as_ref().map_or("a download".into(), |file| file.display().to_string());
        let at = if found.line > 0 { format!(", line {}", found.line) } else { String::new() };
        line("source", &format!("{}{at} ({})", printable(&file), found.artifact));
    }
    if let Some(part) = &why.part {
        line("part", part);
    }
    for tokens in &why.tokens {
        let texts = match tokens.texts.is_empty() {
            true => tokens.ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            false => tokens.texts.iter().map(|text| printable(text)).collect(),
        };
        let many = count(tokens.ids.len(), "token");
        let window = tokens
            .window
            .map_or(String::new(), |window| format!(", window {} of {}", window.number, window.of));
        line("tokens", &format!("{} ({many}{window}, {})", texts.join(" "), tokens.artifact));
    }
    for said in &why.said {
        line("answer", &answer(said));
    }
    match (why.others, why.disagreeing.len()) {
        (0, _) => {}
        (others, 0) => {
            line("others", &format!("{} in the store: all agree", count(others, "other result")))
        }
        (others, disagree) => {
            line(
                "others",
                &format!(
                    "{} in the store, {disagree} of them disagree:",
                    count(others, "other result")
                ),
            );
            let shown = if all { disagree } else { SHOWN };
            for other in why.disagreeing.iter().take(shown) {
                let probability = other.probability.map_or(String::new(), |it| format!(" {it:.4}"));
                let run = match &other.run {
                    Some(run) => format!("run {run}"),
                    None => format!("key {:.12}", other.key.to_string()),
                };
                line(
                    "",
                    &format!(
                        "{}{probability} by {} ({run})",
                        printable(&other.label.to_string()),
                        other.stage
                    ),
                );
            }
            if disagree > shown {
                line("", &format!("… {} more, with -v", disagree - shown));
            }
        }
    }
    text
}

fn answer(said: &Answer) -> String {
    let label = labels_in_words(said);
    let truth = match &said.gold {
        Some(gold) if *gold == said.label => ", which is right".to_owned(),
        Some(gold) => format!(", but it is {}", printable(&gold.to_string())),
        None => String::new(),
    };
    let threshold = said.threshold.map_or(String::new(), |it| format!(", threshold {it:.4}"));
    format!("{label}{truth} ({}{threshold})", said.artifact)
}

/// The predicted labels, each with its probability, or the number.
fn labels_in_words(said: &Answer) -> String {
    let probability = |label: &String| {
        said.probabilities.get(label).map_or(String::new(), |it| format!(" {it:.4}"))
    };
    match said.label.labels() {
        [] => match said.label.number() {
            Some(number) => format!("{number:.4}"),
            None => said.label.to_string(),
        },
        labels => {
            let each = labels.iter().map(|it| format!("{}{}", printable(it), probability(it)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}
