//! The earlier records of a stage, for [`crate::plan::reason`] and for what a stage may take. Variants
//! of one stage share their history: a new value is compared with the values before. What they
//! share is read once per process; with 1,000 variants it would be read 1,000 times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::Stage;
use crate::store::Store;
use crate::store::record::Record;
use crate::text::variants::family;

/// How many of a family's records are kept in memory.
const KEPT: usize = 64;

/// What has been read, by the name before `@`.
#[derive(Debug, Default)]
pub struct Families(Mutex<BTreeMap<String, Arc<Vec<Record>>>>);

impl Store {
    /// The records that hold a stage's own results, newest first: variants share their history,
    /// but what another variant made is not meant.
    pub fn results_of(&self, stage: &Stage) -> impl Iterator<Item = Record> {
        let (name, own) = (stage.name.clone(), stage.family().to_owned());
        let of_another =
            move |record: &Record| record.stage != name && family(&record.stage) == own;
        let records = self.records_of_stage(stage.family(), usize::MAX).into_iter();
        records.filter(move |record| !of_another(record))
    }

    /// The records that a stage, or any variant of it, has had: newest first, about `limit`.
    pub fn history_of(&self, stage: &Stage, limit: usize) -> Arc<Vec<Record>> {
        let family = stage.family();
        if family == stage.name {
            return Arc::new(self.records_of_stage(family, limit));
        }
        let mut known = self.families.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(records) = known.get(family) {
            return records.clone();
        }
        let records = Arc::new(self.records_of_stage(family, KEPT));
        known.insert(family.to_owned(), records.clone());
        records
    }
}
