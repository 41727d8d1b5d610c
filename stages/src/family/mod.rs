//! What distinguishes one family of encoders from another, as data: the fields of its `config.json`, the
//! names of its tensors, how it counts positions and attends, its head, and its special tokens. Every
//! other folder reads these descriptions, and none asks which family it has.
//!
//! To add a family, write a file like `bert.rs` and list it in [`FAMILIES`].

mod activation;
mod bert;
mod deberta_v2;
mod description;
mod distilbert;
mod electra;
mod modernbert;
mod mpnet;
mod parts;
mod roberta;

pub use activation::Activation;
pub use bert::BERT;
pub use deberta_v2::DEBERTA_V2;
pub use description::Family;
pub use distilbert::DISTILBERT;
pub use electra::ELECTRA;
pub use modernbert::MODERNBERT;
pub use mpnet::MPNET;
pub use parts::{
    ActivationOf, Attention, ConfigFields, Defaults, EmbeddingNames, HeadNames, InputDropout,
    LayerForm, LayerNames, MaskedLmNames, OutputDropout, PairForm, Positions, Projection,
    TokenDefaults,
};
pub use roberta::ROBERTA;

/// Every family, in the order in which messages list them.
pub static FAMILIES: [&Family; 7] =
    [&BERT, &ROBERTA, &MPNET, &DISTILBERT, &ELECTRA, &DEBERTA_V2, &MODERNBERT];

impl Family {
    /// The family with this `model_type`.
    pub fn of_model_type(model_type: &str) -> Option<&'static Family> {
        FAMILIES.into_iter().find(|family| family.class_prefix(model_type).is_some())
    }

    /// The prefix of the classes in `transformers` of this `model_type`, for instance `Bert`.
    pub fn class_prefix(&self, model_type: &str) -> Option<&'static str> {
        let mut all = self.architectures.iter();
        all.find(|(name, _)| *name == model_type).map(|(_, prefix)| *prefix)
    }

    /// Every `model_type` that is known, in the order of [`FAMILIES`].
    pub fn model_types() -> Vec<&'static str> {
        FAMILIES.iter().flat_map(|family| family.architectures).map(|(name, _)| *name).collect()
    }

    /// The name of the linear layer over the first token that the encoder has, as only BERT's does.
    pub fn pooler(&self) -> Option<&'static str> {
        Some(self.head.dense).filter(|_| self.head.is_pooler)
    }

    /// Whether a tensor, named as in a checkpoint, is a table of word embeddings.
    pub fn is_words(name: &str) -> bool {
        FAMILIES.iter().any(|family| {
            name.strip_suffix(".weight").is_some_and(|name| name.ends_with(family.embeddings.words))
        })
    }

    /// The name of a tensor without the prefix of its family.
    pub fn without_prefix(stored: &str) -> &str {
        FAMILIES.iter().find_map(|family| stored.strip_prefix(family.prefix)).unwrap_or(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_type_belongs_to_one_family() {
        let mut all = Family::model_types();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
        assert_eq!(Family::of_model_type("camembert"), Some(&ROBERTA));
        assert_eq!(Family::of_model_type("gpt2"), None);
    }
}
