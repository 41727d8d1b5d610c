//! Finds ids that occur twice and texts that are equal. Compares hashes, so that memory holds at
//! most 16 bytes a row.

use std::collections::HashSet;

use serde::Serialize;

use crate::data::example::TextKey;

/// The ids of an input. A row without an id gets `<input>_<line>`. These are kept as ranges of
/// lines, so that an input without ids needs no memory for them.
#[derive(Default)]
pub struct Ids {
    prefix: String,
    seen: HashSet<u64>,
    /// Ascending ranges of the lines whose rows got an id here.
    generated: Vec<(u64, u64)>,
}

impl Ids {
    pub fn new(input: &str) -> Ids {
        Ids { prefix: format!("{input}_"), ..Ids::default() }
    }

    /// The row's own id, or one made of its line if its own is empty.
    ///
    /// # Errors
    /// An earlier row has the same id.
    pub fn of_row(&mut self, own: String, line: u64) -> Result<String, String> {
        let has_own = !own.is_empty();
        let id = if has_own { own } else { format!("{}{line}", self.prefix) };
        // With 64 bits, the chance of a false alarm among a hundred million ids is 1 in 3,000.
        let hash = blake3::hash(id.as_bytes());
        let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = *hash.as_bytes();
        let hash = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let taken = match has_own {
            true => self.was_generated(&id) || !self.seen.insert(hash),
            false => self.seen.contains(&hash),
        };
        if taken {
            return Err(format!("the id `{id}` is used by an earlier row"));
        }
        if !has_own {
            match self.generated.last_mut() {
                Some((_, last)) if *last + 1 == line => *last = line,
                _ => self.generated.push((line, line)),
            }
        }
        Ok(id)
    }

    fn was_generated(&self, id: &str) -> bool {
        let Some(line) = id.strip_prefix(&self.prefix).and_then(|line| line.parse().ok()) else {
            return false;
        };
        let after = self.generated.partition_point(|&(first, _)| first <= line);
        after > 0 && line <= self.generated[after - 1].1 && id == format!("{}{line}", self.prefix)
    }
}

/// The equal texts of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DuplicateTexts {
    /// Distinct texts that more than one row has.
    pub groups: u64,
    /// The rows with these texts.
    pub rows: u64,
    /// Those of the texts whose rows have different labels.
    pub conflicting_groups: u64,
}

/// The texts that both inputs have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SharedTexts {
    /// Distinct texts.
    pub groups: u64,
    pub train_rows: u64,
    pub test_rows: u64,
}

/// Counts the equal texts among sorted keys.
pub fn count_duplicates(keys: &[TextKey]) -> DuplicateTexts {
    let mut counts = DuplicateTexts::default();
    for group in keys.chunk_by(|a, b| a.same_text(*b)).filter(|group| group.len() > 1) {
        counts.groups += 1;
        counts.rows += group.len() as u64;
        // The keys without a label, 0, come first. A text that has a label in one row only is no conflict.
        let labelled = group.iter().find(|key| key.label() != 0);
        counts.conflicting_groups += u64::from(labelled.is_some() && labelled < group.last());
    }
    counts
}

/// Counts the texts that occur in both `train` and `test`, whose keys are sorted.
pub fn count_shared(train: &[TextKey], test: &[TextKey]) -> SharedTexts {
    let mut counts = SharedTexts::default();
    let mut rest = train;
    for group in test.chunk_by(|a, b| a.same_text(*b)) {
        rest = &rest[rest.partition_point(|key| key.text() < group[0].text())..];
        let same = rest.partition_point(|key| key.text() <= group[0].text());
        if same > 0 {
            counts.groups += 1;
            counts.train_rows += same as u64;
            counts.test_rows += group.len() as u64;
        }
    }
    counts
}
