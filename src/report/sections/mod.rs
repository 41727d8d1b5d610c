//! The sections of the page, and the elements that they share.

pub mod audit;
pub mod comparison;
pub mod curves;
pub mod difference;
pub mod evaluation;
pub mod examples;
pub mod live;
pub mod overview;
pub mod per_label;
pub mod stages;
pub mod training;

use crate::report::html::{Html, Tag, tag};
use crate::run::event::Outcome;

/// A section of the page, listed in the table of contents.
pub struct Section {
    pub id: &'static str,
    pub title: String,
    pub content: Html,
}

impl Section {
    pub fn new(id: &'static str, title: &str, content: Html) -> Section {
        Section { id, title: title.to_owned(), content }
    }
}

/// The outcome of a stage in words, and its class.
pub fn outcome_words(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Ran => ("ran", "ran"),
        Outcome::Hit => ("up to date", "hit"),
        Outcome::Failed => ("failed", "failed"),
        Outcome::Skipped => ("skipped", "skipped"),
    }
}

/// A state as a word with a sign before it.
pub fn badge(words: &str, class: &'static str) -> Tag {
    tag("span").class(&format!("badge {class}")).text(words)
}

/// Wraps a table that may be wider than the page, so that it scrolls, also by keyboard.
pub fn scrolling(name: &str, table: impl Into<Html>) -> Tag {
    tag("div")
        .class("scroll")
        .attr("role", "region")
        .attr("aria-label", name)
        .attr("tabindex", 0)
        .child(table)
}

/// A list of terms and their values.
pub fn terms(entries: Vec<(&str, Html)>) -> Html {
    let entries = entries
        .into_iter()
        .map(|(name, value)| tag("div").child(tag("dt").text(name)).child(tag("dd").child(value)));
    tag("dl").class("terms").children(entries).into()
}

pub fn paragraph(class: &'static str, text: &str) -> Tag {
    tag("p").class(class).text(text)
}

pub fn notes(notes: &[String]) -> Html {
    notes.iter().map(|note| paragraph("note", note)).collect()
}

/// The name of a metric in prose: `test F1` for `test_f1`.
pub fn figure_words(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let words = last.split('_').map(|word| match word {
        "f1" => "F1".to_owned(),
        "roc" | "auc" => word.to_uppercase(),
        "brier" | "matthews" => {
            let mut letters = word.chars();
            letters.next().map_or(String::new(), |it| it.to_uppercase().chain(letters).collect())
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `2026-11-23T19:13:36.943Z` as `2026-11-23 19:13:36 UTC`.
pub fn time_words(rfc3339: &str) -> String {
    let text = rfc3339.split(['.', 'Z']).next().unwrap_or(rfc3339);
    format!("{} UTC", text.replace('T', " "))
}
