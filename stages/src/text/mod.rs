//! Text to token ids, with the tokenizer that a model folder brings along.
//!
//! [`TextTokenizer`] is what others use. `open` knows the file formats, `layout` the special
//! tokens around texts, `bertweet` the one format that the `tokenizers` library does not read,
//! `tweets` BERTweet's normalisation.

mod bertweet;
mod entities;
mod layout;
mod open;
mod special;
mod tokenizer;
mod tweet_words;
mod tweets;

pub use layout::Layout;
pub use open::tokenizer_files;
pub use tokenizer::{SpecialIds, TextTokenizer};
pub use tweets::TweetNormalizer;
