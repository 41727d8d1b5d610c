//! The figures of `report.json`, and the tally of rows that they come from.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::duplicates::{DuplicateTexts, SharedTexts, count_duplicates};
use super::layout::DataFormat;
use crate::data::example::{Example, TextKey};
use crate::data::labels::LabelTable;
use crate::data::target::Target;
use crate::data::task::Task;

/// `report.json`.
#[derive(Debug, Serialize)]
pub struct IngestReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<InputReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<InputReport>,
    /// Present if both inputs are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_train_and_test: Option<SharedTexts>,
}

/// The report on one input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputReport {
    pub format: &'static str,
    /// Rows written.
    pub rows: u64,
    /// Malformed rows left out.
    pub skipped: u64,
    pub labels: BTreeMap<String, LabelShare>,
    pub unlabelled_rows: u64,
    pub empty_texts: u64,
    /// Lengths of the texts in Unicode scalar values, and in words between white space.
    pub characters: LengthSummary,
    pub words: LengthSummary,
    pub context_turns: LengthSummary,
    pub duplicate_texts: DuplicateTexts,
    /// With `task: multi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_sets: Option<LabelSets>,
    /// With `task: regression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberSummary>,
    /// The labels that `label_map` replaced.
    #[serde(skip)]
    pub replaced: BTreeSet<String>,
}

/// The rows of a label, and their share of all labelled rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelShare {
    pub rows: u64,
    pub share: f64,
}

/// The lists of labels of an input.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelSets {
    /// Rows whose labels are known, also if there is none.
    pub known: u64,
    /// Those of them with no label.
    pub empty: u64,
    /// Labels per row.
    pub mean: f64,
    pub most: u64,
}

/// The numbers of an input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NumberSummary {
    pub rows: u64,
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

/// Minimum, median, mean and maximum of whole numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthSummary {
    pub min: u64,
    pub median: f64,
    pub mean: f64,
    pub max: u64,
}

/// What is counted of one input while its rows pass by.
#[derive(Default)]
pub struct InputTally {
    labels: LabelTable,
    /// The rows without a label, then the rows of each label by its number.
    label_rows: Vec<u64>,
    /// In the order of the rows. The label is that of [`InputTally::label_of`].
    pub keys: Vec<TextKey>,
    characters: LengthHistogram,
    words: LengthHistogram,
    context_turns: LengthHistogram,
    empty_texts: u64,
    pub skipped: u64,
    /// The labels that `label_map` replaced.
    pub replaced: BTreeSet<String>,
    sets: LabelSets,
    numbers: Option<NumberSummary>,
}

impl InputTally {
    /// The label for the key of an example: 0 for none, else the number of its label plus 1. For a
    /// list of labels and for a number it is a hash, which tells different ones apart except for one
    /// pair in 65,535.
    ///
    /// # Errors
    /// The input has too many labels.
    pub fn label_of(&mut self, example: &Example) -> Result<u16, String> {
        match &example.label {
            Some(Target::Label(label)) => Ok(1 + self.labels.number(label)?),
            Some(target @ Target::Labels(labels)) => {
                for label in labels {
                    self.labels.number(label)?;
                }
                Ok(hashed(target))
            }
            Some(target @ Target::Number(_)) => Ok(hashed(target)),
            None => Ok(0),
        }
    }

    /// Counts an example; `label` is its [`InputTally::label_of`].
    pub fn add(&mut self, example: &Example, label: u16) {
        self.label_rows.resize(1 + self.labels.len(), 0);
        match &example.label {
            None | Some(Target::Label(_)) => self.label_rows[usize::from(label)] += 1,
            Some(Target::Labels(labels)) => self.add_labels(labels),
            Some(Target::Number(number)) => self.add_number(*number),
        }
        self.keys.push(TextKey::new(&example.text, label));
        self.characters.add(example.text.chars().count() as u64);
        self.words.add(example.text.split_whitespace().count() as u64);
        self.context_turns.add(example.context.len() as u64);
        self.empty_texts += u64::from(example.text.trim().is_empty());
    }

    fn add_labels(&mut self, labels: &[String]) {
        for number in labels.iter().filter_map(|label| self.labels.get(label)) {
            self.label_rows[1 + usize::from(number)] += 1;
        }
        self.sets.known += 1;
        self.sets.empty += u64::from(labels.is_empty());
        self.sets.most = self.sets.most.max(labels.len() as u64);
    }

    fn add_number(&mut self, number: f64) {
        let first = NumberSummary { rows: 0, min: number, mean: 0.0, max: number };
        let all = self.numbers.get_or_insert(first);
        all.rows += 1;
        all.min = all.min.min(number);
        all.max = all.max.max(number);
        all.mean += (number - all.mean) / all.rows as f64;
    }

    /// The report on an input with at least one row, and the sorted keys of its texts.
    pub fn finish(mut self, format: DataFormat, task: Task) -> (InputReport, Vec<TextKey>) {
        self.keys.sort_unstable();
        let labels: u64 = self.label_rows[1..].iter().sum();
        self.sets.mean = labels as f64 / self.sets.known.max(1) as f64;
        let labelled = if task == Task::Multi { self.sets.known } else { labels };
        let share = |(name, number): (&str, u16)| {
            // A label that occurs only in skipped rows has no rows.
            let rows = *self.label_rows.get(1 + usize::from(number)).filter(|rows| **rows > 0)?;
            Some((name.to_owned(), LabelShare { rows, share: rows as f64 / labelled as f64 }))
        };
        let report = InputReport {
            format: format.name(),
            rows: self.keys.len() as u64,
            skipped: self.skipped,
            labels: self.labels.iter().filter_map(share).collect(),
            unlabelled_rows: self.label_rows[0],
            empty_texts: self.empty_texts,
            characters: self.characters.summary(),
            words: self.words.summary(),
            context_turns: self.context_turns.summary(),
            duplicate_texts: count_duplicates(&self.keys),
            label_sets: (task == Task::Multi).then_some(self.sets),
            numbers: self.numbers,
            replaced: self.replaced,
        };
        (report, self.keys)
    }
}

/// From 1 on.
fn hashed(target: &Target) -> u16 {
    let text = match target {
        Target::Labels(labels) => labels.join("\0"),
        other => other.to_string(),
    };
    let hash = blake3::hash(text.as_bytes());
    let [b0, b1, b2, b3, ..] = *hash.as_bytes();
    (1 + u32::from_le_bytes([b0, b1, b2, b3]) % u32::from(u16::MAX)) as u16
}

/// Every length below this has a bucket of its own.
const EXACT: usize = 1 << 14;

/// How often each length occurs. From 16,384 on, lengths between two powers of two count as the
/// lower power, which affects only the median.
pub struct LengthHistogram {
    counts: Vec<u64>,
    number: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Default for LengthHistogram {
    fn default() -> LengthHistogram {
        let buckets = EXACT + (u64::BITS - EXACT.ilog2()) as usize;
        LengthHistogram { counts: vec![0; buckets], number: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl LengthHistogram {
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

    /// All figures are 0 if no length was added.
    pub fn summary(&self) -> LengthSummary {
        let number = self.number.max(1);
        LengthSummary {
            min: self.min.min(self.max),
            median: (self.at(number.div_ceil(2)) + self.at(number / 2 + 1)) / 2.0,
            mean: self.sum as f64 / number as f64,
            max: self.max,
        }
    }

    /// The length at this rank, counted from 1.
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
