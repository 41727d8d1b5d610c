//! The records of a stage and its variants, kept in memory: a stage with 1,000 variants would
//! otherwise read them 1,000 times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::record::Record;

/// The records read so far, by the stage's name without the label of a variant.
#[derive(Debug, Default)]
pub struct Families(Mutex<BTreeMap<String, Arc<Vec<Record>>>>);

impl Families {
    /// The records of a family. The first call for a family calls `read`.
    pub fn records(&self, family: &str, read: impl FnOnce() -> Vec<Record>) -> Arc<Vec<Record>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(family.to_owned()).or_insert_with(|| Arc::new(read())).clone()
    }
}
