//! Ids used twice, and equal texts, by hashes: 16 bytes a row rather than the row.

use std::collections::HashSet;

use serde::Serialize;

use crate::data::example::TextKey;

/// The ids of an input. A row without one is given `<input>_<line>`; those are kept as ranges
/// of lines, so that an input without ids takes no memory for them.
#[derive(Default)]
pub struct Ids {
    prefix: String,
    seen: HashSet<u64>,
    /// Ranges of lines whose rows were given an id, ascending.
    given: Vec<(u64, u64)>,
}

impl Ids {
    pub fn new(input: &str) -> Ids {
        Ids { prefix: format!("{input}_"), ..Ids::default() }
    }

    /// The row's own id, or one from its line; an error if another row has it.
    pub fn of_row(&mut self, own: Option<String>, line: u64) -> Result<String, String> {
        let own_id = own.is_some();
        let id = own.unwrap_or_else(|| format!("{}{line}", self.prefix));
        // 64 bits: among a hundred million ids a false alarm has a chance of 1 in 3,000.
        let hash = blake3::hash(id.as_bytes());
        let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = *hash.as_bytes();
        let hash = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let taken = match own_id {
            true => self.was_given(&id) || !self.seen.insert(hash),
            false => self.seen.contains(&hash),
        };
        if taken {
            return Err(format!("the id `{id}` is used by an earlier row"));
        }
        if !own_id {
            match self.given.last_mut() {
                Some((_, last)) if *last + 1 == line => *last = line,
                _ => self.given.push((line, line)),
            }
        }
        Ok(id)
    }

    fn was_given(&self, id: &str) -> bool {
        let Some(line) = id.strip_prefix(&self.prefix).and_then(|line| line.parse().ok()) else {
            return false;
        };
        let after = self.given.partition_point(|&(first, _)| first <= line);
        after > 0 && line <= self.given[after - 1].1 && id == format!("{}{line}", self.prefix)
    }
}

/// Equal texts within one input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Texts that more than one row has.
    pub groups: u64,
    /// Rows in such groups.
    pub rows: u64,
    /// Groups whose rows have different labels.
    pub conflicting_groups: u64,
}

/// Equal texts in two inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// Texts that both have.
    pub groups: u64,
    pub train_rows: u64,
    pub test_rows: u64,
}

/// Counts the equal texts among sorted keys.
pub fn count_duplicates(keys: &[TextKey]) -> Duplicates {
    let mut counts = Duplicates::default();
    for group in keys.chunk_by(|a, b| a.same_text(*b)).filter(|group| group.len() > 1) {
        counts.groups += 1;
        counts.rows += group.len() as u64;
        counts.conflicting_groups += u64::from(group.first() < group.last());
    }
    counts
}

/// Counts the texts that are both among `train` and `test`, each sorted.
pub fn count_shared(train: &[TextKey], test: &[TextKey]) -> Shared {
    let mut counts = Shared::default();
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
