//! Turns text into token ids with the tokenizer of a model folder.
//!
//! [`TextTokenizer`] is the entry point. `open` reads the file formats, `special` finds the special
//! tokens, `layout` puts them around texts, `bertweet` is the one format that the `tokenizers`
//! library does not read, `tweets` is BERTweet's normalization.

mod bertweet;
mod entities;
mod layout;
mod open;
mod special;
mod tokenizer;
mod tweet_words;
mod tweets;

pub use layout::SpecialTokenLayout;
pub use open::{TOKENIZER_FILES, has_tokenizer, tokenizer_files};
pub use tokenizer::{SpecialIds, TextTokenizer};
pub use tweets::TweetNormalizer;
