//! The model card: the `README.md` of a model folder on the Hugging Face hub, as the record of the model
//! tells it. The YAML at its top is what the hub reads (huggingface.co/docs/hub/model-cards); the rest is for
//! people.

pub mod facts;
mod gather;
mod metadata;
mod text;

use self::facts::ModelCard;

pub use gather::{Known, made, scored};

impl ModelCard {
    /// The text of `README.md`.
    pub fn markdown(&self) -> String {
        format!("---\n{}---\n\n{}", metadata::yaml(self), text::body(self))
    }
}
