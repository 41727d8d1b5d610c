//! The earlier records of a stage, for [`crate::plan::reason`] and for what a stage may take. Variants
//! of one stage share their history: a new value is compared with the values before.

use std::sync::Arc;

use crate::pipeline::Stage;
use crate::store::Store;
use crate::store::record::Record;
use crate::text::variants::family;

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
        self.records_of_family(family)
    }
}
