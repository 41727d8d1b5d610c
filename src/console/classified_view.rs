//! Classified texts, one line each.

use serde_json::json;
use stages::data::example::Example;
use stages::data::prediction::Prediction;
use stages::data::target::Target;
use stages::data::task::Task;

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View};
use crate::text::terminal::{WIDTH, columns, fit, printable};

/// A text and its prediction; a blank line has none.
pub type ClassifiedRow = (Example, Option<Prediction>);

/// Texts with their labels.
pub struct ClassifiedView<'a> {
    /// A blank line has no prediction.
    pub rows: &'a [ClassifiedRow],
}

impl View for ClassifiedView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.rows, &page.palette)
    }

    fn json(&self) -> String {
        json(self.rows)
    }
}

/// The label, its probability, and as much of the text as fits on the line. A blank line stays one.
fn text(rows: &[ClassifiedRow], palette: &Palette) -> String {
    let predictions = || rows.iter().filter_map(|(_, prediction)| prediction.as_ref());
    if predictions().any(|prediction| prediction.label.task() != Task::Single) {
        return other_task(rows, palette);
    }
    let labels = predictions().flat_map(|prediction| prediction.probabilities.keys());
    let width = labels.map(|label| columns(&printable(label))).max().unwrap_or(0);
    let mut text = String::new();
    for (given, prediction) in rows {
        let Some(prediction) = prediction else {
            text.push('\n');
            continue;
        };
        let label = prediction.label.label().unwrap_or_default();
        let probability = prediction.probabilities.get(label).copied().unwrap_or(0.0);
        let label = printable(label);
        let gap = " ".repeat(width.saturating_sub(columns(&label)));
        let rest = fit(&printable(&given.text), WIDTH.saturating_sub(width + 10));
        let label = paint(palette.name, &label);
        text.push_str(&format!("{label}{gap}  {probability:.4}  {rest}\n"));
    }
    text
}

/// The labels with their probabilities, or the number, and as much of the text as fits on the line.
fn other_task(rows: &[ClassifiedRow], palette: &Palette) -> String {
    let said = |prediction: &Prediction| {
        let each = prediction.label.labels().iter().map(|label| {
            let probability = prediction.probabilities.get(label).copied().unwrap_or(0.0);
            format!("{} {probability:.4}", printable(label))
        });
        match &prediction.label {
            Target::Number(number) => format!("{number:.4}"),
            label if label.labels().is_empty() => label.to_string(),
            _ => each.collect::<Vec<_>>().join(", "),
        }
    };
    let all: Vec<Option<String>> =
        rows.iter().map(|(_, prediction)| prediction.as_ref().map(said)).collect();
    let width = all.iter().flatten().map(|said| columns(said)).max().unwrap_or(0);
    let width = width.min(WIDTH / 2);
    let line = |((given, _), said): (&ClassifiedRow, &Option<String>)| {
        let Some(said) = said else { return "\n".to_owned() };
        let wide = width.max(columns(said));
        let gap = " ".repeat(wide - columns(said));
        let rest = fit(&printable(&given.text), WIDTH.saturating_sub(wide + 2).max(1));
        format!("{}{gap}  {rest}\n", paint(palette.name, said))
    };
    rows.iter().zip(&all).map(line).collect()
}

/// One object per line.
fn json(rows: &[ClassifiedRow]) -> String {
    let object = |(given, prediction): &ClassifiedRow| {
        let prediction = prediction.as_ref();
        let mut object = json!({
            "text": given.text,
            "label": prediction.map(|it| &it.label),
            "probabilities": prediction.map(|it| &it.probabilities),
        });
        if !given.id.is_empty() {
            object["id"] = given.id.as_str().into();
        }
        if let Some(file) = &given.file {
            object["file"] = file.as_str().into();
        }
        object.to_string() + "\n"
    };
    rows.iter().map(object).collect()
}
