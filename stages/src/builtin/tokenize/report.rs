//! The counts of `report.json`, and those that go into the record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compose::Composed;
use crate::data::token_file::Sequence;
use crate::data::token_labels::Gold;

/// The width of a bin of the length histogram, in tokens.
const BIN_WIDTH: usize = 8;

/// The counts of one input.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TokenCounts {
    pub rows: u64,
    pub labelled: u64,
    /// Rows by class; classes without rows may be absent at the end.
    #[serde(skip)]
    pub label_rows: Vec<u64>,
    /// The windows of all rows; `None` unless long texts are divided into windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<u64>,
    /// Special tokens included; those that windows share count in each.
    pub tokens: u64,
    /// The longest row, or the longest window of a row, in tokens.
    pub longest: usize,
    /// Tokens per row.
    pub mean: f64,
    /// Rows that lost tokens, and how many tokens they lost.
    pub truncated_rows: u64,
    pub truncated_tokens: u64,
    /// Turns of context that did not fit.
    pub dropped_turns: u64,
    pub unknown_tokens: u64,
    /// Rows, or their windows, by length up to the longest; empty bins are included.
    pub histogram: Vec<LengthBin>,
}

/// The rows with `from..=to` tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthBin {
    pub from: usize,
    pub to: usize,
    pub rows: u64,
}

/// `report.json`.
#[derive(Debug, Serialize)]
pub struct TokenizeReport<'a> {
    pub labels: &'a [String],
    pub max_length: usize,
    pub vocab_size: usize,
    pub inputs: BTreeMap<&'static str, TokenCounts>,
}

impl TokenCounts {
    /// Counts one row; `unknown` is the id of the unknown token.
    pub fn add(&mut self, row: &Composed, label: &Gold, unknown: Option<u32>) {
        self.rows += 1;
        if let Some(windows) = &mut self.windows {
            *windows += row.windows.len() as u64;
        }
        self.labelled += u64::from(*label != Gold::None);
        let classes = match label {
            Gold::Class(class) => std::slice::from_ref(class),
            Gold::Classes(classes) => classes,
            Gold::None | Gold::Number(_) => &[],
        };
        for &class in classes {
            self.label_rows.resize(self.label_rows.len().max(class + 1), 0);
            self.label_rows[class] += 1;
        }
        for Sequence { ids, .. } in &row.windows {
            self.tokens += ids.len() as u64;
            self.longest = self.longest.max(ids.len());
            let is_unknown = |id: &&u32| Some(**id) == unknown;
            self.unknown_tokens += ids.iter().filter(is_unknown).count() as u64;
            let bin = ids.len().saturating_sub(1) / BIN_WIDTH;
            while self.histogram.len() <= bin {
                let from = self.histogram.len() * BIN_WIDTH + 1;
                self.histogram.push(LengthBin { from, to: from + BIN_WIDTH - 1, rows: 0 });
            }
            self.histogram[bin].rows += 1;
        }
        self.mean = self.tokens as f64 / self.rows as f64;
        self.truncated_rows += u64::from(row.lost_tokens > 0);
        self.truncated_tokens += row.lost_tokens as u64;
        self.dropped_turns += row.dropped_turns as u64;
    }

    /// The metrics for the record.
    pub fn metrics(&self, input: &str) -> impl Iterator<Item = (String, f64)> {
        [
            ("rows", self.rows as f64),
            ("tokens", self.tokens as f64),
            ("longest", self.longest as f64),
            ("truncated_rows", self.truncated_rows as f64),
        ]
        .into_iter()
        .chain(self.windows.map(|windows| ("windows", windows as f64)))
        .map(move |(name, value)| (format!("{input}_{name}"), value))
    }
}
