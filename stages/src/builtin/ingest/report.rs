//! What `ingest` found, as figures: `report.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::duplicates::{Duplicates, Shared};
use crate::data::example::Example;

/// `report.json`.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<InputReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<InputReport>,
    /// Given where both inputs are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_train_and_test: Option<Shared>,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputReport {
    pub format: &'static str,
    /// Rows written.
    pub rows: u64,
    /// Lines left out.
    pub skipped: u64,
    pub labels: BTreeMap<String, LabelShare>,
    pub unlabelled_rows: u64,
    pub empty_texts: u64,
    /// Lengths of texts: Unicode scalar values, and words between white space.
    pub characters: Summary,
    pub words: Summary,
    pub context_turns: Summary,
    pub duplicate_texts: Duplicates,
}

/// A label's rows, and their share of all labelled rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelShare {
    pub rows: u64,
    pub share: f64,
}

/// Least, middle, mean and greatest of a set of whole numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub min: u64,
    pub median: f64,
    pub mean: f64,
    pub max: u64,
}

/// The lengths of an input's rows, in memory that does not grow with them.
#[derive(Default)]
pub struct Lengths {
    pub characters: Histogram,
    pub words: Histogram,
    pub context_turns: Histogram,
    pub empty_texts: u64,
}

impl Lengths {
    pub fn add(&mut self, example: &Example) {
        self.characters.add(example.text.chars().count() as u64);
        self.words.add(example.text.split_whitespace().count() as u64);
        self.context_turns.add(example.context.len() as u64);
        self.empty_texts += u64::from(example.text.trim().is_empty());
    }
}

/// Lengths below this are counted one by one.
const EXACT: usize = 1 << 14;

/// How often each length occurs. From 16,384 on, lengths between two powers of two count as the
/// lower one, which only the median can show.
pub struct Histogram {
    counts: Vec<u64>,
    number: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        let buckets = EXACT + (u64::BITS - EXACT.ilog2()) as usize;
        Histogram { counts: vec![0; buckets], number: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, length: u64) {
        let bucket = match usize::try_from(length) {
            Ok(length) if length < EXACT => length,
            _ => EXACT + (length.ilog2() - EXACT.ilog2()) as usize,
        };
        self.counts[bucket] += 1;
        self.number += 1;
        self.sum += length;
        self.min = self.min.min(length);
        self.max = self.max.max(length);
    }

    /// All 0 where nothing was added.
    pub fn summary(&self) -> Summary {
        let number = self.number.max(1);
        Summary {
            min: self.min.min(self.max),
            median: (self.at(number.div_ceil(2)) + self.at(number / 2 + 1)) / 2.0,
            mean: self.sum as f64 / number as f64,
            max: self.max,
        }
    }

    /// The length at a rank counted from 1.
    fn at(&self, rank: u64) -> f64 {
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        match bucket {
            None => 0.0,
            Some(bucket) if bucket < EXACT => bucket as f64,
            Some(bucket) => ((EXACT as u64) << (bucket - EXACT)) as f64,
        }
    }
}
