//! The architectures that are supported. The family decides which special tokens a tokenizer has
//! by default, and how the encoder is built.

/// The architecture of a checkpoint. BERTweet and all Twitter-RoBERTa models are
/// [`Family::Roberta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Bert,
    Roberta,
    /// RoBERTa's layout with one relative attention bias shared by all layers, no token types.
    Mpnet,
}
