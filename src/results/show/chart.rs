//! Metrics over epochs or steps, one line of blocks for each: the course of a training run at a
//! glance.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::text::figures::number;
use crate::text::terminal::{columns, fit, printable};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The columns that count the rows, and are not metrics themselves.
const COUNTERS: [&str; 3] = ["epoch", "step", "steps"];

/// The length of a line in blocks, at most; longer courses are averaged.
const MOST_BLOCKS: usize = 40;

/// A line for each metric that all rows have; empty if the rows are not metrics over epochs.
pub(super) fn charts(rows: &[Value], width: usize) -> String {
    let is_counted = |row: &Value| COUNTERS.iter().any(|name| row[name].is_number());
    if rows.len() < 2 || !rows.iter().all(is_counted) {
        return String::new();
    }
    let mut courses: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        for (name, value) in row.as_object().into_iter().flatten() {
            if let Some(value) = value.as_f64().filter(|_| !COUNTERS.contains(&name.as_str())) {
                courses.entry(name).or_default().push(value);
            }
        }
    }
    courses.retain(|_, course| course.len() == rows.len());
    let names: Vec<String> = courses.keys().map(|name| printable(name)).collect();
    let longest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (name, course) in names.iter().zip(courses.values()) {
        let gap = " ".repeat(longest - columns(name));
        let (first, last) = (number(course[0]), number(course[course.len() - 1]));
        let line = format!("{name}{gap}  {first:>8} {} {last}", blocks(course));
        text.push_str(fit(&line, width).trim_end());
        text.push('\n');
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// The course, scaled from its lowest to its highest value.
fn blocks(course: &[f64]) -> String {
    let size = course.len().div_ceil(MOST_BLOCKS);
    let means = course.chunks(size).map(|part| part.iter().sum::<f64>() / part.len() as f64);
    let means: Vec<f64> = means.collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: &f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        BLOCKS[((share * 8.0) as usize).min(7)]
    };
    means.iter().map(block).collect()
}
