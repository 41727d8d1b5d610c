//! Classified texts, one line each.

use serde_json::json;
use stages::data::example::Example;
use stages::data::prediction::Prediction;

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View};
use crate::text::terminal::{WIDTH, columns, fit, printable};

/// Texts with their labels.
pub struct ClassifiedView<'a> {
    pub rows: &'a [(Example, Prediction)],
}

impl View for ClassifiedView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.rows, &page.palette)
    }

    fn json(&self) -> String {
        json(self.rows)
    }
}

/// The label, its probability, and as much of the text as fits on the line.
fn text(rows: &[(Example, Prediction)], palette: &Palette) -> String {
    let labels = rows.iter().flat_map(|(_, prediction)| prediction.probabilities.keys());
    let width = labels.map(|label| columns(&printable(label))).max().unwrap_or(0);
    let mut text = String::new();
    for (given, prediction) in rows {
        let label = printable(&prediction.label);
        let gap = " ".repeat(width.saturating_sub(columns(&label)));
        let probability = prediction.probabilities.get(&prediction.label).copied().unwrap_or(0.0);
        let rest = fit(&printable(&given.text), WIDTH.saturating_sub(width + 10));
        let label = paint(palette.name, &label);
        text.push_str(&format!("{label}{gap}  {probability:.4}  {rest}\n"));
    }
    text
}

/// One object per line.
fn json(rows: &[(Example, Prediction)]) -> String {
    let object = |(given, prediction): &(Example, Prediction)| {
        let mut object = json!({
            "text": given.text,
            "label": prediction.label,
            "probabilities": prediction.probabilities,
        });
        if !given.id.is_empty() {
            object["id"] = given.id.as_str().into();
        }
        object.to_string() + "\n"
    };
    rows.iter().map(object).collect()
}
