//! The figures of `report.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::label_sets::LabelSets;
use crate::data::example::TextKey;
use crate::data::labels::LabelTable;

/// `report.json`.
#[derive(Serialize)]
pub struct SplitReport {
    pub rows: u64,
    /// Groups of rows that stay in one part. Equals `rows` if every row is a group by itself.
    pub groups: u64,
    /// The share of the rows that is in the training part.
    pub share: f64,
    pub train: PartReport,
    pub valid: PartReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold_rows: Option<Vec<u64>>,
}

#[derive(Serialize)]
pub struct PartReport {
    pub rows: u64,
    /// Rows by label; 0 for a label that only the other part has.
    pub labels: BTreeMap<String, u64>,
}

impl PartReport {
    /// Counts the training part, or the validation part if `train` is false. The label of a key
    /// is 0 for none, else its number plus 1.
    /// With several labels a text, `sets` has them.
    pub fn count(
        keys: &[TextKey],
        parts: &[Option<bool>],
        train: bool,
        labels: &LabelTable,
        sets: &LabelSets,
    ) -> PartReport {
        let mut counts = vec![0_u64; labels.len() + 1];
        let mut rows = 0;
        for row in (0..keys.len()).filter(|row| parts[*row] == Some(train)) {
            rows += 1;
            match sets.is_empty() {
                true => counts[usize::from(keys[row].label())] += 1,
                false => sets.of_row(row).iter().for_each(|it| counts[usize::from(*it) + 1] += 1),
            }
        }
        let label_rows = |number: u16| counts[usize::from(number) + 1];
        PartReport {
            rows,
            labels: labels.iter().map(|(name, it)| (name.to_owned(), label_rows(it))).collect(),
        }
    }

    /// The labels with their rows.
    pub fn label_rows(&self) -> Vec<(&str, u64)> {
        self.labels.iter().map(|(name, &rows)| (name.as_str(), rows)).collect()
    }
}
