//! The events of a stage's process, as far as its record keeps them.

use std::collections::BTreeMap;

use stages::Event;

use crate::store::record::MetricsRow;

#[derive(Default)]
pub struct CollectedEvents {
    pub metrics: BTreeMap<String, f64>,
    pub history: Vec<MetricsRow>,
    pub device: Option<String>,
    /// The message and the hint of a built-in that has failed.
    pub failed: Option<(String, Option<String>)>,
}

impl CollectedEvents {
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Device { name } => self.device = Some(name.clone()),
            Event::Metrics { step: None, values } => self.metrics.extend(values.clone()),
            Event::Metrics { step: Some(step), values } => {
                self.history.push(MetricsRow { step: *step, values: values.clone() });
            }
            Event::Failed { message, hint } => {
                self.failed = Some((message.clone(), hint.clone()));
            }
            Event::Progress { .. } | Event::Note { .. } | Event::Warning { .. } => {}
        }
    }
}
