//! Training curves: losses in one chart, shares in another, every other metric in its own.

use std::collections::BTreeSet;

use crate::report::charts::lines::{Band, Lines, Series, lines};
use crate::report::charts::{Caption, Figures, Ids};
use crate::report::data::Training;
use crate::report::html::{Html, tag};
use crate::report::sections::figure_words;
use crate::store::record::MetricsRow;
use crate::text::figures::figure;

/// The number of lines in one chart, at most.
pub const MOST_LINES: usize = 6;

/// The number of charts of one stage, at most.
const MOST_PANELS: usize = 6;

pub fn training(ids: &mut Ids, training: &Training) -> Html {
    let mut charts = Vec::new();
    for (title, names) in panels(&training.rows) {
        for (index, names) in names.chunks(MOST_LINES).enumerate() {
            let title = if index > 0 { format!("{title} ({})", index + 1) } else { title.clone() };
            charts.push(panel(ids, title, names, training));
        }
    }
    charts.truncate(MOST_PANELS);
    tag("div").class("charts").children(charts).into()
}

/// Groups the metrics by chart. A metric that never changes is left out.
fn panels(rows: &[MetricsRow]) -> Vec<(String, Vec<String>)> {
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.values.keys()).collect();
    let values = |name: &str| -> Vec<f64> {
        rows.iter().filter_map(|row| row.values.get(name).copied()).collect()
    };
    let (mut losses, mut shares, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for name in names.into_iter().cloned() {
        let values = values(&name);
        let varies = values.iter().any(|value| *value != values[0]);
        let is_share = values.iter().all(|value| (0.0..=1.0).contains(value));
        if is_clock(&name) {
            continue;
        }
        if name.contains("loss") {
            losses.push(name);
        } else if name.starts_with("valid_") && is_share {
            shares.push(name);
        } else if varies {
            others.push((figure_words(&name), vec![name]));
        }
    }
    let together = [("Loss".to_owned(), losses), ("Validation".to_owned(), shares)];
    let together = together.into_iter().filter(|(_, names)| !names.is_empty());
    together.chain(others).collect()
}

/// Columns that count or time the rows.
pub fn is_clock(name: &str) -> bool {
    ["epoch", "step", "steps"].contains(&name)
        || name.ends_with("seconds")
        || name.ends_with("per_second")
}

fn panel(ids: &mut Ids, title: String, names: &[String], training: &Training) -> Html {
    let rows = &training.rows;
    let series = names.iter().map(|name| Series {
        name: name.clone(),
        points: rows
            .iter()
            .filter_map(|row| Some((row.step as f64, *row.values.get(name)?)))
            .filter(|(_, value)| value.is_finite())
            .collect(),
    });
    let texts = |row: &MetricsRow| -> Vec<String> {
        let value = |name: &String| row.values.get(name).map_or("–".to_owned(), |it| figure(*it));
        names.iter().map(value).collect()
    };
    // Rows may be hundreds of steps apart.
    let gap = rows.windows(2).map(|pair| pair[1].step.saturating_sub(pair[0].step)).min();
    let half = gap.unwrap_or(1).max(1) as f64 / 2.0;
    let is_by_epoch = rows.iter().any(|row| row.values.contains_key("epoch"));
    let unit = if is_by_epoch { "epoch" } else { "step" };
    let band = |row: &MetricsRow| {
        let said = names.iter().zip(texts(row)).map(|(name, text)| format!("{name} {text}"));
        let said: Vec<String> = said.collect();
        let step = row.step as f64;
        let text = format!("{}: {}", row.step, said.join(", "));
        Band { from: step - half, to: step + half, text }
    };
    let head = ["step".to_owned()].into_iter().chain(names.iter().cloned()).collect();
    let table =
        rows.iter().map(|row| [row.step.to_string()].into_iter().chain(texts(row)).collect());
    let description = describe(&training.stage, names, rows);
    let chart = Lines {
        caption: Caption { title, description },
        x_name: unit.to_owned(),
        y_name: String::new(),
        x_range: None,
        y_range: None,
        series: series.collect(),
        marks: Vec::new(),
        bands: rows.iter().map(band).collect(),
        figures: Figures { head, rows: table.collect() },
    };
    lines(ids, chart)
}

/// The first and the last value of each line, in words.
fn describe(stage: &str, names: &[String], rows: &[MetricsRow]) -> String {
    let said = names.iter().filter_map(|name| {
        let mut values = rows.iter().filter_map(|row| row.values.get(name));
        let first = values.next()?;
        let last = values.next_back().unwrap_or(first);
        Some(format!("{name} from {} to {}", figure(*first), figure(*last)))
    });
    format!("{stage}, {} steps: {}.", rows.len(), said.collect::<Vec<_>>().join("; "))
}
