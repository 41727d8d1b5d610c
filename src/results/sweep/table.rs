//! The table at the end of a sweep: combinations sorted by a metric, with means over keys such as
//! the seed; as JSON and CSV. `console` draws it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use stages::data::lines::csv_field;

use crate::results::sweep::results::{Came, Finished};
use crate::store::key::Key;
use crate::text::suggest::nearest;
use crate::text::values::value_text;

/// A sorted table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The keys that are columns.
    pub keys: Vec<String>,
    /// The metric by which the rows are sorted, `stage.metric`, if any.
    pub metric: Option<String>,
    /// The keys over which means are taken.
    pub over: Vec<String>,
    pub rows: Vec<TableRow>,
}

/// One combination, or several that differ only in the keys of [`Table::over`].
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// In the order of [`Table::keys`].
    pub values: Vec<Option<Value>>,
    pub came: Came,
    /// How many of the combinations are done.
    pub done: usize,
    pub runs: usize,
    /// The stage that failed, and why.
    pub problem: Option<(String, String)>,
    pub metrics: BTreeMap<String, Mean>,
    pub seconds: f64,
    /// The stages of the file, and the name of each in the sweep; empty for several combinations.
    pub stages: BTreeMap<String, String>,
    /// The stages of the file, and the key of each result.
    pub keys: BTreeMap<String, Key>,
}

/// The mean and the standard deviation of a metric over combinations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    pub mean: f64,
    /// The sample standard deviation (with n - 1); `None` for a single value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

impl Mean {
    /// Summarises at least one value. The mean of equal values is that value to the bit.
    pub fn of(values: &[f64]) -> Mean {
        let count = values.len() as f64;
        let first = values.first().copied().unwrap_or(f64::NAN);
        let mean = first + values.iter().map(|value| value - first).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Mean { mean, deviation }
    }
}

/// The metrics that at least one combination has, as `stage.metric`.
pub fn metrics_of(rows: &[Finished]) -> BTreeSet<&str> {
    rows.iter().flat_map(|row| row.metrics.keys().map(String::as_str)).collect()
}

/// Finds a metric by its full name, or by its last part if that is unique. The error is the nearest
/// known name.
pub fn find_metric<'m>(asked: &str, known: &BTreeSet<&'m str>) -> Result<&'m str, Option<&'m str>> {
    let ends = |metric: &&str| metric.rsplit('.').next() == Some(asked);
    if let Some(same) = known.get(asked) {
        return Ok(same);
    }
    let meant: Vec<&str> = known.iter().copied().filter(ends).collect();
    match meant[..] {
        [one] => Ok(one),
        _ => Err(nearest(asked, known.iter().copied())),
    }
}

/// The metric to sort by if none is named: the F1 of the validation examples (`valid_f1`, or
/// `valid_macro_f1` with more than two labels), else the first headline metric of the last stage
/// that has one.
pub fn usual_metric<'m>(known: &BTreeSet<&'m str>, stages: &[&str]) -> Option<&'m str> {
    let of = |stage: &&str| {
        let first = stages::headline(|name| known.contains(&*format!("{stage}.{name}")));
        known.get(&*format!("{stage}.{}", first.first()?)).copied()
    };
    let named = |name: &str| {
        let last_part = |metric: &&&str| metric.rsplit('.').next() == Some(name);
        known.iter().find(last_part).copied()
    };
    let f1 = named("valid_f1").or_else(|| named("valid_macro_f1"));
    f1.or_else(|| stages.iter().rev().find_map(of))
}

/// Sorts the combinations by a metric, the best first and those without it last. Combinations that
/// differ only in the keys of `over` become one row.
pub fn table(
    rows: &[Finished],
    keys: &[String],
    metric: Option<&str>,
    ascending: bool,
    over: &[String],
) -> Table {
    let kept: Vec<usize> = (0..keys.len()).filter(|key| !over.contains(&keys[*key])).collect();
    let mut groups: Vec<(String, Vec<&Finished>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        // Without `over` each combination is a row, even if two have the same values.
        let own = if over.is_empty() { index.to_string() } else { String::new() };
        let values: Vec<&Option<Value>> = kept.iter().map(|key| &row.values[*key]).collect();
        let name = format!("{own}{values:?}");
        let place = *places.entry(name.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((name, Vec::new()));
        }
        groups[place].1.push(row);
    }
    let mut rows: Vec<TableRow> =
        groups.iter().map(|(_, members)| of_group(members, &kept)).collect();
    if let Some(metric) = metric {
        let mean = |row: &TableRow| row.metrics.get(metric).map(|figure| figure.mean);
        rows.sort_by(|one, two| match (mean(one), mean(two)) {
            (Some(one), Some(two)) if ascending => one.total_cmp(&two),
            (Some(one), Some(two)) => two.total_cmp(&one),
            (one, two) => two.is_some().cmp(&one.is_some()),
        });
    }
    rows.sort_by(|one, two| match (one.done, two.done) {
        (0, 0) => one.came.cmp(&two.came),
        (0, _) => Ordering::Greater,
        (_, 0) => Ordering::Less,
        _ => Ordering::Equal,
    });
    let keys = kept.iter().map(|key| keys[*key].clone()).collect();
    Table { keys, metric: metric.map(str::to_owned), over: over.to_vec(), rows }
}

fn of_group(members: &[&Finished], kept: &[usize]) -> TableRow {
    let done: Vec<&&Finished> = members.iter().filter(|row| row.came == Came::Done).collect();
    // If none is done, the metrics of unfinished ones are better than nothing.
    let counted: Vec<&Finished> = match done.is_empty() {
        true => members.to_vec(),
        false => done.iter().map(|row| **row).collect(),
    };
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, value) in counted.iter().flat_map(|row| &row.metrics) {
        figures.entry(name.clone()).or_default().push(*value);
    }
    let first = members[0];
    let single = members.len() == 1;
    TableRow {
        values: kept.iter().map(|key| first.values[*key].clone()).collect(),
        came: members.iter().map(|row| row.came).max().unwrap_or(Came::Unfinished),
        done: done.len(),
        runs: members.len(),
        problem: members.iter().find_map(|row| row.problem.clone()),
        metrics: figures.into_iter().map(|(name, of)| (name, Mean::of(&of))).collect(),
        seconds: members.iter().map(|row| row.seconds).sum(),
        stages: if single { first.stages.clone() } else { BTreeMap::new() },
        keys: if single { first.keys.clone() } else { BTreeMap::new() },
    }
}

/// One line of JSON per row.
pub fn json(table: &Table) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        event: &'static str,
        rank: usize,
        outcome: Came,
        runs: usize,
        done: usize,
        values: BTreeMap<&'a str, &'a Option<Value>>,
        metrics: BTreeMap<&'a str, f64>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        deviations: BTreeMap<&'a str, f64>,
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        failed_stage: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        stages: &'a BTreeMap<String, String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        keys: &'a BTreeMap<String, Key>,
    }
    let mut text = String::new();
    for (index, row) in table.rows.iter().enumerate() {
        let deviation =
            |(name, figure): (&'_ String, &Mean)| Some((name.clone(), figure.deviation?));
        let deviations: BTreeMap<String, f64> = row.metrics.iter().filter_map(deviation).collect();
        let line = Line {
            event: "combination",
            rank: index + 1,
            outcome: row.came,
            runs: row.runs,
            done: row.done,
            values: table.keys.iter().map(String::as_str).zip(&row.values).collect(),
            metrics: row.metrics.iter().map(|(name, it)| (name.as_str(), it.mean)).collect(),
            deviations: deviations.iter().map(|(name, it)| (name.as_str(), *it)).collect(),
            seconds: row.seconds,
            failed_stage: row.problem.as_ref().map(|(stage, _)| stage.as_str()),
            message: row.problem.as_ref().map(|(_, message)| message.as_str()),
            stages: &row.stages,
            keys: &row.keys,
        };
        // Names and finite numbers always serialize.
        text += &(serde_json::to_string(&line).unwrap_or_default() + "\n");
    }
    text
}

/// Comma-separated values (RFC 4180), one line per row: keys, outcome, seconds, every metric.
pub fn csv(table: &Table) -> String {
    let metrics: BTreeSet<&String> = table.rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let means = !table.over.is_empty();
    let mut header: Vec<String> = table.keys.clone();
    header.extend(["outcome".to_owned(), "seconds".to_owned()]);
    if means {
        header.extend(["runs".to_owned(), "done".to_owned()]);
    }
    for metric in &metrics {
        header.push((*metric).clone());
        if means {
            header.push(format!("{metric} deviation"));
        }
    }
    let mut text = csv_line(&header);
    for row in &table.rows {
        let value = |value: &Option<Value>| value.as_ref().map(value_text).unwrap_or_default();
        let mut cells: Vec<String> = row.values.iter().map(value).collect();
        let outcome = serde_json::to_value(row.came).unwrap_or_default();
        cells.extend([value_text(&outcome), format!("{:.3}", row.seconds)]);
        if means {
            cells.extend([row.runs.to_string(), row.done.to_string()]);
        }
        for metric in &metrics {
            let figure = row.metrics.get(*metric);
            cells.push(figure.map(|figure| figure.mean.to_string()).unwrap_or_default());
            if means {
                let deviation = figure.and_then(|figure| figure.deviation);
                cells.push(deviation.map(|value| value.to_string()).unwrap_or_default());
            }
        }
        text += &csv_line(&cells);
    }
    text
}

fn csv_line(cells: &[String]) -> String {
    cells.iter().map(|cell| csv_field(cell)).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::results::sweep::table::{Mean, usual_metric};

    #[test]
    fn the_usual_metric_is_the_f1_of_the_validation_examples_under_the_name_it_has() {
        let of = |metrics: &[&'static str], stages: &[&str]| {
            usual_metric(&metrics.iter().copied().collect::<BTreeSet<&str>>(), stages)
        };
        let two = ["score.test_f1", "score.valid_f1", "score.valid_macro_f1"];
        assert_eq!(of(&two, &["score"]), Some("score.valid_f1"));
        let more = ["score.test_macro_f1", "score.valid_accuracy", "score.valid_macro_f1"];
        assert_eq!(of(&more, &["score"]), Some("score.valid_macro_f1"));
        assert_eq!(of(&["score.test_macro_f1"], &["score"]), Some("score.test_macro_f1"));
        assert_eq!(of(&["own.size"], &["own"]), None);
    }

    #[test]
    fn the_scatter_is_that_of_a_sample() {
        let figure = Mean::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(figure.mean, 5.0);
        assert!((figure.deviation.unwrap() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[0.1]), Mean { mean: 0.1, deviation: None });
        assert_eq!(Mean::of(&[0.1, 0.1, 0.1]), Mean { mean: 0.1, deviation: Some(0.0) });
    }
}
