//! The figures of each label where a text may have several.

use crate::report::data::LabelRow;
use crate::report::html::{Html, tag};
use crate::report::sections::scrolling;
use crate::text::figures::{figure, grouped};

/// A card with a row for each label; nothing if a text has one label.
pub fn per_label(artifact: &str, labels: &[LabelRow]) -> Html {
    if labels.is_empty() {
        return Html::new();
    }
    let head = ["label", "precision", "recall", "F1", "average precision", "rows"];
    let head = head.iter().zip(0..).map(|(name, index)| {
        tag("th").attr("scope", "col").class(if index == 0 { "" } else { "number" }).text(name)
    });
    let row = |row: &LabelRow| {
        let average = row.average_precision.map_or("–".to_owned(), figure);
        let cells = [figure(row.precision), figure(row.recall), figure(row.f1), average];
        let cells = cells.into_iter().chain([grouped(row.support)]);
        tag("tr")
            .child(tag("th").attr("scope", "row").text(&row.label))
            .children(cells.map(|cell| tag("td").class("number").text(cell)))
    };
    let table = tag("table")
        .class("figures")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(labels.iter().map(row)));
    let name = format!("Labels of {artifact}");
    tag("div").class("card").child(tag("h4").text("Labels")).child(scrolling(&name, table)).into()
}
