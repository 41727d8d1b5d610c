//! The parts of the page, one after the other, and what they have in common.

pub mod comparison;
pub mod curves;
pub mod difference;
pub mod evaluation;
pub mod examples;
pub mod overview;
pub mod stages;
pub mod training;

use crate::report::html::{Html, Tag, tag};
use crate::run::event::Outcome;

/// A part of the page that the table of contents leads to.
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

/// How a stage ended, in words and as a class.
pub fn outcome_words(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Ran => ("ran", "ran"),
        Outcome::Hit => ("up to date", "hit"),
        Outcome::Failed => ("failed", "failed"),
        Outcome::Skipped => ("skipped", "skipped"),
    }
}

/// A state as a word with a mark before it.
pub fn badge(words: &str, class: &'static str) -> Tag {
    tag("span").class(&format!("badge {class}")).text(words)
}

/// A table that may be wider than the page; it scrolls by itself, by keys too.
pub fn scrolling(name: &str, table: impl Into<Html>) -> Tag {
    tag("div")
        .class("scroll")
        .attr("role", "region")
        .attr("aria-label", name)
        .attr("tabindex", 0)
        .child(table)
}

/// Terms with what they mean.
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

/// `score.test_f1` as `test F1`: how a figure is called in prose.
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
