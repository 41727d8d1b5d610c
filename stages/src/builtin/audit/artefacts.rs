//! Which surface features give the label away, and which set training and test examples apart: mutual
//! information with the label or the part, with bootstrap intervals.

use std::collections::BTreeMap;

use serde::Serialize;

use super::params::AuditParams;
use super::surface::{FEATURES, Feature, Of, Remedy};
use crate::builtin::score::bootstrap::{draw, percentiles, running_sums};
use crate::data::example::Example;
use crate::data::marks::Mark;
use crate::data::random::Random;

/// Numbers are put into at most this many bins with about equally many rows.
const BINS: usize = 8;

/// The most frequent words that count as values of their own.
const WORDS: usize = 60;

/// A word that fewer rows have is no value of its own.
const LEAST_ROWS: u64 = 10;

/// What a feature tells about the groups of the rows: the labels, or training and test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Artefact {
    pub feature: &'static str,
    /// The mutual information with the group, in bits, as counted.
    pub bits: f64,
    /// The same without the bias of counting, as a share of the entropy of the groups: 1 if the
    /// feature alone tells the group.
    pub share: f64,
    pub interval: [f64; 2],
    /// The share of the rows whose group the feature alone tells, and that of the largest group.
    pub right: f64,
    pub by_chance: f64,
    /// Where the groups differ most, in words.
    pub example: String,
    pub remedy: Option<String>,
    /// Whether a model can see it.
    pub seen: bool,
}

/// All features with a value that differs between rows, the most telling first. `groups` has the group
/// of each row.
pub fn artefacts(
    rows: &[&Example],
    groups: &[usize],
    names: &[&str],
    params: &AuditParams,
    purpose: &str,
) -> Vec<Artefact> {
    let mut found: Vec<Artefact> = FEATURES
        .iter()
        .filter_map(|feature| {
            let values = values(feature, rows);
            (values.names.len() > 1)
                .then(|| of_feature(feature, &values, rows, groups, names, params, purpose))
        })
        .collect();
    found.sort_by(|a, b| b.seen.cmp(&a.seen).then(b.share.total_cmp(&a.share)));
    found
}

/// A feature with its values in bins.
struct Values {
    /// What each bin holds: `≥ 3`, `…`.
    names: Vec<String>,
    of_rows: Vec<usize>,
    /// Whether the bins are in order, so that they can be cut in two.
    ordered: bool,
}

fn values(feature: &Feature, rows: &[&Example]) -> Values {
    match feature.of {
        Of::Number(of) => numbers(&rows.iter().map(|row| of(row)).collect::<Vec<_>>()),
        Of::Word(of) => words(&rows.iter().map(|row| of(row)).collect::<Vec<_>>()),
    }
}

/// Bins with about equally many rows; equal numbers are in one bin.
fn numbers(values: &[f64]) -> Values {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut starts: Vec<f64> =
        (0..BINS).filter_map(|bin| sorted.get(bin * sorted.len() / BINS).copied()).collect();
    // A value that most rows have leaves the others to a bin of their own.
    let after = |start: f64| sorted.iter().copied().find(|value| *value > start);
    let next: Vec<f64> = starts.iter().filter_map(|start| after(*start)).collect();
    starts.extend(next);
    starts.sort_by(f64::total_cmp);
    starts.dedup();
    let of_rows =
        values.iter().map(|value| starts.partition_point(|start| start <= value) - 1).collect();
    let name =
        |start: &f64| if start.fract() == 0.0 { format!("{start}") } else { format!("{start:.2}") };
    Values { names: starts.iter().map(name).collect(), of_rows, ordered: true }
}

/// The most frequent values, and one for all others.
fn words(values: &[String]) -> Values {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    values.iter().for_each(|value| *counts.entry(value).or_default() += 1);
    let mut frequent: Vec<(&str, u64)> =
        counts.into_iter().filter(|(_, rows)| *rows >= LEAST_ROWS).collect();
    frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    frequent.truncate(WORDS);
    let place: BTreeMap<&str, usize> =
        frequent.iter().enumerate().map(|(place, (word, _))| (*word, place + 1)).collect();
    let of_rows: Vec<usize> =
        values.iter().map(|value| place.get(value.as_str()).copied().unwrap_or(0)).collect();
    let names = std::iter::once("another".to_owned());
    let names = names.chain(frequent.iter().map(|(word, _)| (*word).to_owned())).collect();
    Values { names, of_rows, ordered: false }
}

fn of_feature(
    feature: &Feature,
    values: &Values,
    rows: &[&Example],
    groups: &[usize],
    names: &[&str],
    params: &AuditParams,
    purpose: &str,
) -> Artefact {
    let mut counts = vec![0; values.names.len() * names.len()];
    for (value, group) in values.of_rows.iter().zip(groups) {
        counts[value * names.len() + group] += 1;
    }
    let table = Table { counts, groups: names.len() };
    let entropy = table.entropy_of_groups();
    let bits = table.bits();
    let share = |bits: f64| if entropy > 0.0 { (bits / entropy).clamp(0.0, 1.0) } else { 0.0 };
    let before = running_sums(&table.counts);
    let all = before[table.counts.len()];
    let mut drawn = Table { counts: vec![0; table.counts.len()], groups: table.groups };
    let mut replicates = Vec::with_capacity(params.replicates);
    for replicate in 0..params.replicates {
        let stream = format!("{purpose} {}", feature.name);
        let mut random = Random::new(params.seed, &stream, replicate as u64, 0);
        draw(&mut random, all, &before, &mut drawn.counts);
        replicates.push(drawn.bits());
    }
    // Counting overstates information, in a replicate as much again as in the data: the basic interval
    // takes the bias off.
    let [low, high] = percentiles(replicates, params.confidence);
    let largest = (0..names.len()).map(|group| table.rows_of_group(group)).max().unwrap_or(0);
    Artefact {
        feature: feature.name,
        bits,
        share: share(bits - table.bias()),
        interval: [share(2.0 * bits - high), share(2.0 * bits - low)],
        right: table.right() as f64 / all.max(1) as f64,
        by_chance: largest as f64 / all.max(1) as f64,
        example: example(values, &table, names),
        remedy: remedy(feature.remedy, rows),
        seen: feature.remedy != Remedy::Unseen,
    }
}

/// Rows by value, then by group.
struct Table {
    counts: Vec<u64>,
    groups: usize,
}

impl Table {
    fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks(self.groups)
    }

    fn rows_of_group(&self, group: usize) -> u64 {
        self.rows().map(|row| row[group]).sum()
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum::<u64>().max(1) as f64
    }

    fn entropy_of_groups(&self) -> f64 {
        let total = self.total();
        entropy((0..self.groups).map(|group| self.rows_of_group(group) as f64 / total))
    }

    /// The mutual information of value and group, in bits.
    fn bits(&self) -> f64 {
        let total = self.total();
        let of_values = entropy(self.rows().map(|row| row.iter().sum::<u64>() as f64 / total));
        let of_both = entropy(self.counts.iter().map(|count| *count as f64 / total));
        (of_values + self.entropy_of_groups() - of_both).max(0.0)
    }

    /// How much [`Table::bits`] overstates the information, to the first order (G. Miller, "Note on
    /// the bias of information estimates", 1955).
    fn bias(&self) -> f64 {
        let values = self.rows().filter(|row| row.iter().any(|count| *count > 0)).count() as f64;
        let groups = (0..self.groups).filter(|it| self.rows_of_group(*it) > 0).count() as f64;
        (values - 1.0).max(0.0) * (groups - 1.0).max(0.0)
            / (2.0 * self.total() * std::f64::consts::LN_2)
    }

    /// The rows that are in the largest group of their value.
    fn right(&self) -> u64 {
        self.rows().map(|row| row.iter().copied().max().unwrap_or(0)).sum()
    }
}

fn entropy(shares: impl Iterator<Item = f64>) -> f64 {
    -shares.filter(|share| *share > 0.0).map(|share| share * share.log2()).sum::<f64>()
}

/// The cut between bins, or the word, that tells most: `at least 1: 57 % of A, 21 % of B`.
fn example(values: &Values, table: &Table, names: &[&str]) -> String {
    let cut = |inside: &dyn Fn(usize) -> bool| {
        let mut counts = vec![0; 2 * names.len()];
        for (value, row) in table.rows().enumerate() {
            let side = if inside(value) { 0 } else { names.len() };
            row.iter().enumerate().for_each(|(group, count)| counts[side + group] += count);
        }
        Table { counts, groups: names.len() }
    };
    let cuts = (1..values.names.len()).map(|at| match values.ordered {
        true => (at, cut(&|value| value >= at)),
        false => (at, cut(&|value| value == at)),
    });
    let best = cuts.reduce(|best, it| if it.1.bits() > best.1.bits() { it } else { best });
    let Some((at, table)) = best else { return String::new() };
    let what = match (values.ordered, values.names[at].as_str()) {
        (true, least) => format!("at least {least}"),
        (false, "") => "no word".to_owned(),
        (false, word) => format!("`{word}`"),
    };
    let share =
        |group: usize| table.counts[group] as f64 / table.rows_of_group(group).max(1) as f64;
    // The two groups that differ most.
    let mut order: Vec<usize> =
        (0..names.len()).filter(|it| table.rows_of_group(*it) > 0).collect();
    order.sort_by(|a, b| share(*b).total_cmp(&share(*a)));
    let (most, least) = (order.first().copied().unwrap_or(0), order.last().copied().unwrap_or(0));
    let said = |group: usize| format!("{} of {}", percent(share(group)), names[group]);
    format!("{what}: {}, {}", said(most), said(least))
}

/// A share in per cent, with a digit after the point where it is small.
pub fn percent(share: f64) -> String {
    let digits = if share > 0.0 && share < 0.1 { 1 } else { 0 };
    format!("{:.digits$} %", 100.0 * share)
}

fn remedy(remedy: Remedy, rows: &[&Example]) -> Option<String> {
    match remedy {
        Remedy::Ingest(parameter) => Some(format!("`{parameter}` of `ingest`")),
        Remedy::Other(parameter) => Some(parameter.to_owned()),
        Remedy::Strip(mark) => Some(format!("`{}` of `ingest`", of_mark(mark, rows))),
        Remedy::None | Remedy::Unseen => None,
    }
}

/// `remove: ["@USER"]` if nearly all marks are one text, else `strip: [mentions]`.
fn of_mark(mark: Mark, rows: &[&Example]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for found in rows.iter().flat_map(|row| mark.occurrences(&row.text)) {
        *counts.entry(found).or_default() += 1;
    }
    let all: u64 = counts.values().sum();
    match counts.into_iter().max_by_key(|(_, rows)| *rows) {
        Some((text, rows)) if rows * 20 >= all * 19 => {
            format!("remove: [{}]", serde_json::Value::from(text))
        }
        _ => format!("strip: [{}]", mark.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_feature_that_tells_the_label_has_all_its_bits() {
        let table = Table { counts: vec![5, 0, 0, 5], groups: 2 };
        assert!((table.bits() - 1.0).abs() < 1e-12);
        assert_eq!(table.right(), 10);
        let none = Table { counts: vec![5, 5, 5, 5], groups: 2 };
        assert!(none.bits().abs() < 1e-12);
    }
}
