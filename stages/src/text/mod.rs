//! Turns text into token ids with the tokenizer of a model folder.
//!
//! [`TextTokenizer`] is the entry point. `open` reads the file formats, `special` finds the special
//! tokens, `layout` puts them around texts. The `tokenizers` library does not read two formats:
//! `bertweet` implements one, `sentencepiece` reads the other, for which `unigram` sets the library
//! up. `tweets` is BERTweet's normalization.

mod bertweet;
mod charsmap;
mod entities;
mod layout;
mod listed;
mod open;
mod sentencepiece;
mod special;
mod tokenizer;
mod tweet_words;
mod tweets;
mod unigram;

pub use layout::SpecialTokenLayout;
pub use open::{has_tokenizer, tokenizer_file_names, tokenizer_files};
pub use tokenizer::{SpecialIds, TextTokenizer};
pub use tweets::TweetNormalizer;
