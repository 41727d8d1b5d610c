//! The earlier records of a stage, from which [`crate::plan::reason`] explains a run and a plan
//! estimates its time. Variants of a stage share one history, so that a new value is compared with
//! the values before it.

use std::sync::Arc;

use crate::pipeline::Stage;
use crate::store::Store;
use crate::store::record::Record;
use crate::text::variants::family;

impl Store {
    /// The records of a stage's own results, newest first. The results of its other variants, with
    /// which it shares a history, are left out.
    pub fn results_of(&self, stage: &Stage) -> impl Iterator<Item = Record> {
        let (name, own) = (stage.name.clone(), stage.family().to_owned());
        let of_another =
            move |record: &Record| record.stage != name && family(&record.stage) == own;
        let records = self.records_of_stage(stage.family(), usize::MAX).into_iter();
        records.filter(move |record| !of_another(record))
    }

    /// The records of a stage and all its variants, newest first, about `limit` of them.
    pub fn history_of(&self, stage: &Stage, limit: usize) -> Arc<Vec<Record>> {
        let family = stage.family();
        if family == stage.name {
            return Arc::new(self.records_of_stage(family, limit));
        }
        self.records_of_family(family)
    }
}
