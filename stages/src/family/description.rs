//! The description of a family.

use super::parts::{
    Attention, ConfigFields, EmbeddingNames, HeadNames, LayerNames, MaskedLmNames, TokenDefaults,
};

/// One family of encoders.
#[derive(Debug)]
pub struct Family {
    /// As messages name it.
    pub name: &'static str,
    /// Values of `model_type`, each with the prefix of its classes in `transformers`.
    pub architectures: &'static [(&'static str, &'static str)],
    pub config: ConfigFields,
    /// Before the names of the encoder's tensors in a checkpoint with a head, for instance `bert.`.
    pub prefix: &'static str,
    pub embeddings: EmbeddingNames,
    pub layer: LayerNames,
    pub attention: Attention,
    pub head: HeadNames,
    pub masked_lm: MaskedLmNames,
    /// Beginnings of the names of tensors that a classifier does not use: other heads, buffers.
    pub unused: &'static [&'static str],
    /// Those of them that a masked language model does not use either.
    pub other_tasks: &'static [&'static str],
    pub tokens: TokenDefaults,
}

impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.name == other.name
    }
}

impl Eq for Family {}
