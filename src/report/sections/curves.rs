//! Metrics by step of several runs, or of the combinations of a sweep, in one chart each.

use std::collections::BTreeSet;

use crate::report::charts::lines::{Lines, Series, lines};
use crate::report::charts::{Caption, Figures, Ids};
use crate::report::data::{Curve, Curves};
use crate::report::html::{Html, tag};
use crate::report::sections::figure_words;
use crate::report::sections::training::{MOST_LINES, is_clock};
use crate::text::figures::figure;

/// The number of charts of one stage, at most.
const MOST_PANELS: usize = 4;

/// A chart for each metric that at least two runs have.
pub fn curves(ids: &mut Ids, found: &[Curves]) -> Html {
    let mut all = Html::new();
    for Curves { stage, curves } in found {
        let names: BTreeSet<&String> =
            curves.iter().flat_map(|it| &it.rows).flat_map(|row| row.values.keys()).collect();
        let panels = names.into_iter().filter(|name| !is_clock(name) && *name != "learning_rate");
        // The metrics that people look at first.
        let mut panels: Vec<&String> = panels.collect();
        let rank = |name: &&String| (!name.starts_with("valid_"), !name.ends_with("_f1"));
        panels.sort_by_key(rank);
        let drawn = panels.into_iter().filter_map(|name| panel(ids, stage, name, curves));
        let drawn: Vec<Html> = drawn.take(MOST_PANELS).collect();
        if !drawn.is_empty() {
            all.push(tag("h3").text(stage));
            all.push(tag("div").class("charts").children(drawn));
        }
    }
    all
}

fn panel(ids: &mut Ids, stage: &str, name: &str, curves: &[Curve]) -> Option<Html> {
    let points = |curve: &Curve| -> Vec<(f64, f64)> {
        let rows = curve.rows.iter();
        let points = rows.filter_map(|row| Some((row.step as f64, *row.values.get(name)?)));
        points.filter(|(_, value)| value.is_finite()).collect()
    };
    let series = curves.iter().map(|it| Series { name: it.name.clone(), points: points(it) });
    let mut series: Vec<Series> = series.filter(|it| !it.points.is_empty()).collect();
    if series.len() < 2 {
        return None;
    }
    let all = series.len();
    let last = |series: &Series| series.points.last().map_or(0.0, |(_, value)| *value);
    let sign = if name.contains("loss") { 1.0 } else { -1.0 };
    series.sort_by(|one, two| (sign * last(one)).total_cmp(&(sign * last(two))));
    series.truncate(MOST_LINES);
    let ends: Vec<String> =
        series.iter().map(|it| format!("{} {}", it.name, figure(last(it)))).collect();
    let which = match all > series.len() {
        true => format!("the best {} of {all} at the end", series.len()),
        false => "at the end".to_owned(),
    };
    let steps: BTreeSet<u64> =
        series.iter().flat_map(|it| &it.points).map(|(step, _)| *step as u64).collect();
    let row = |step: &u64| -> Vec<String> {
        let value = |it: &Series| {
            let found = it.points.iter().find(|(at, _)| *at as u64 == *step);
            found.map_or("–".to_owned(), |(_, value)| figure(*value))
        };
        [step.to_string()].into_iter().chain(series.iter().map(value)).collect()
    };
    let head = ["step".to_owned()].into_iter().chain(series.iter().map(|it| it.name.clone()));
    let figures = Figures { head: head.collect(), rows: steps.iter().map(row).collect() };
    let words = figure_words(name);
    let description = format!("{stage}, {words} by epoch, {which}: {}.", ends.join("; "));
    let chart = Lines {
        caption: Caption { title: words, description },
        x_name: "epoch".to_owned(),
        y_name: String::new(),
        x_range: None,
        y_range: None,
        series,
        marks: Vec::new(),
        bands: Vec::new(),
        figures,
    };
    Some(lines(ids, chart))
}
