//! Learns a tokenizer from texts: counts the words, and passes the counts to the BPE trainer of
//! the `tokenizers` library, which learns the merges.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{
    Model, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizer, Tokenizer,
};

use super::params::TrainTokenizerParams;
use crate::data::corpus::for_each_text;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;

/// How many texts are split into words in parallel.
const BATCH: usize = 1 << 14;

/// How often each word occurs in the texts. Words consist of the characters that byte-level BPE
/// uses for the 256 bytes.
pub struct WordCounts {
    pub texts: u64,
    /// How many tokens of the texts are tokens to keep.
    pub kept: u64,
    counts: BTreeMap<String, u64>,
}

/// Counts the words of a file.
///
/// # Errors
/// The file cannot be read as its format says.
pub fn count_words(
    context: &Context,
    path: &Path,
    params: &TrainTokenizerParams,
) -> Result<WordCounts, StageError> {
    let mut splitter = Tokenizer::new(BPE::default());
    add_tokens(&mut splitter, params);
    let mut words = WordCounts { texts: 0, kept: 0, counts: BTreeMap::new() };
    let mut batch: Vec<String> = Vec::new();
    let mut progress = Progress::new(context, "text");
    let mut count = |batch: &mut Vec<String>| {
        let split = |text: &String| split(&splitter, params, text);
        let found: Vec<_> = batch.par_iter().map(split).collect();
        for found in found {
            let (kept, found) = found.map_err(|error| unfit(path, error))?;
            words.kept += kept;
            words.texts += 1;
            for word in found {
                *words.counts.entry(word).or_default() += 1;
            }
        }
        progress.update_unknown(words.texts);
        batch.clear();
        Ok::<(), StageError>(())
    };
    for_each_text(path, params.format, |text| {
        batch.push(text.to_owned());
        if batch.len() == BATCH { count(&mut batch) } else { Ok(()) }
    })?;
    count(&mut batch)?;
    Ok(words)
}

/// Splits a text: how many tokens to keep it has, and its words.
fn split(
    splitter: &Tokenizer,
    params: &TrainTokenizerParams,
    text: &str,
) -> tokenizers::Result<(u64, Vec<String>)> {
    let added = splitter.get_added_vocabulary();
    let mut parts = added.extract_and_normalize(None::<&NormalizerWrapper>, text);
    pre_tokenizer(params).pre_tokenize(&mut parts)?;
    let (mut kept, mut words) = (0, Vec::new());
    for (word, _, tokens) in parts.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
        match tokens {
            Some(tokens) => kept += tokens.len() as u64,
            None => words.push(word.to_owned()),
        }
    }
    Ok((kept, words))
}

/// A tokenizer, and the number of tokens in the texts that it was learned from.
pub struct LearnedTokenizer {
    pub tokenizer: Tokenizer,
    pub tokens: u64,
}

/// Learns the merges and builds the tokenizer.
///
/// # Errors
/// The trainer fails.
pub fn learn(
    words: &WordCounts,
    params: &TrainTokenizerParams,
) -> Result<LearnedTokenizer, StageError> {
    let trainer = BpeTrainer::builder()
        .vocab_size(params.vocab_size)
        .min_frequency(params.min_frequency)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(params.added_tokens())
        .show_progress(false)
        .build();
    let unfit = |error: tokenizers::Error| StageError::Unavailable {
        what: "a vocabulary of these texts".to_owned(),
        problem: error.to_string(),
    };
    let mut model = BPE::default();
    let counts = words.counts.iter().map(|(word, count)| (word.as_str().into(), *count)).collect();
    // Merges are ordered by count and then by the ids of the pair, so the order of the words does
    // not matter.
    trainer.do_train(&counts, &mut model).map_err(unfit)?;
    let mut tokens = words.kept;
    for (word, count) in &words.counts {
        tokens += count * model.tokenize(word).map_err(unfit)?.len() as u64;
    }
    let id = |text: &str| (text.to_owned(), model.token_to_id(text).unwrap_or_default());
    let processor = RobertaProcessing::new(id("</s>"), id("<s>"))
        .trim_offsets(true)
        .add_prefix_space(params.add_prefix_space);
    let mut tokenizer = Tokenizer::new(model);
    add_tokens(&mut tokenizer, params);
    tokenizer
        .with_pre_tokenizer(Some(pre_tokenizer(params)))
        .with_decoder(Some(ByteLevel::default()))
        .with_post_processor(Some(processor));
    Ok(LearnedTokenizer { tokenizer, tokens })
}

fn pre_tokenizer(params: &TrainTokenizerParams) -> ByteLevel {
    ByteLevel::new(params.add_prefix_space, true, true)
}

fn add_tokens(tokenizer: &mut Tokenizer, params: &TrainTokenizerParams) {
    for token in params.added_tokens() {
        match token.special {
            true => tokenizer.add_special_tokens(&[token]),
            false => tokenizer.add_tokens(&[token]),
        };
    }
}

fn unfit(path: &Path, error: tokenizers::Error) -> StageError {
    StageError::File { path: path.to_owned(), problem: format!("a text cannot be split: {error}") }
}
