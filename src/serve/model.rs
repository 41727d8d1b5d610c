//! The model that answers, with the way its texts are prepared.

use std::sync::{Arc, Mutex, PoisonError};

use stages::StageError;
use stages::builtin::classify::{PreparedText, TextClassifier};
use stages::builtin::ingest::params::IngestParams;
use stages::builtin::ingest::texts::cleaned;
use stages::data::example::Example;

/// A loaded model. Requests that it has begun keep it until they are answered.
pub struct ServedModel {
    pub classifier: TextClassifier,
    pub ingest: IngestParams,
    /// How many turns of a context it reads; `None`: all.
    pub turns: Option<usize>,
    /// A folder or an artifact, as the user named it.
    pub name: String,
    /// Of its weights and its `config.json`.
    pub digest: String,
}

impl ServedModel {
    /// Cleans and tokenizes a text, as the pipeline does.
    pub fn prepare(&self, text: Example) -> Result<PreparedText, StageError> {
        self.classifier.prepare(&cleaned(text, &self.ingest))
    }

    /// The side at which it cuts texts, in English.
    pub fn cut_side(&self) -> &'static str {
        if self.classifier.cuts_left() { "left" } else { "right" }
    }
}

/// The place of the model that answers new requests.
pub struct ModelSlot(Mutex<Arc<ServedModel>>);

impl ModelSlot {
    pub fn new(model: ServedModel) -> ModelSlot {
        ModelSlot(Mutex::new(Arc::new(model)))
    }

    pub fn get(&self) -> Arc<ServedModel> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, model: ServedModel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
    }
}
