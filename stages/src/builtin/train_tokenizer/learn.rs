//! From texts to a tokenizer: how often each word occurs, and the merges that the `tokenizers`
//! library's BPE trainer makes of that.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{
    AddedToken, Model, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizer, Tokenizer,
};

use super::SPECIAL;
use crate::data::corpus::for_each_text;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;

/// Texts that are split into words at once.
const BATCH: usize = 1 << 14;

/// The stage's parameters.
pub struct Settings {
    pub vocab_size: usize,
    pub min_frequency: u64,
    pub keep: Vec<String>,
    pub add_prefix_space: bool,
}

impl Settings {
    /// Special tokens and those to keep, in the order of their ids.
    pub fn added_tokens(&self) -> Vec<AddedToken> {
        // The mask and what is kept take the space before them along: it would be a token of its
        // own otherwise.
        let special = SPECIAL
            .iter()
            .map(|text| AddedToken::from(*text, true).lstrip(*text == "<mask>").normalized(false));
        let keep = self.keep.iter();
        let keep = keep.map(|text| AddedToken::from(text, false).lstrip(true).normalized(false));
        special.chain(keep).collect()
    }

    fn pre_tokenizer(&self) -> ByteLevel {
        ByteLevel::new(self.add_prefix_space, true, true)
    }
}

/// How often each word occurs in the texts, in the characters that stand for bytes.
pub struct Words {
    pub texts: u64,
    /// How many of the texts' tokens are kept whole.
    pub kept: u64,
    counts: BTreeMap<String, u64>,
}

/// Counts the words of a file.
pub fn count_words(
    context: &Context,
    path: &Path,
    format: &str,
    settings: &Settings,
) -> Result<Words, StageError> {
    let mut splitter = Tokenizer::new(BPE::default());
    add_tokens(&mut splitter, settings);
    let mut words = Words { texts: 0, kept: 0, counts: BTreeMap::new() };
    let mut batch: Vec<String> = Vec::new();
    let mut progress = Progress::new(context, "text");
    let mut count = |batch: &mut Vec<String>| {
        let split = |text: &String| split(&splitter, settings, text);
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
    for_each_text(path, format, |text| {
        batch.push(text.to_owned());
        if batch.len() == BATCH { count(&mut batch) } else { Ok(()) }
    })?;
    count(&mut batch)?;
    Ok(words)
}

/// How many kept tokens a text has, and its words.
fn split(
    splitter: &Tokenizer,
    settings: &Settings,
    text: &str,
) -> tokenizers::Result<(u64, Vec<String>)> {
    let added = splitter.get_added_vocabulary();
    let mut parts = added.extract_and_normalize(None::<&NormalizerWrapper>, text);
    settings.pre_tokenizer().pre_tokenize(&mut parts)?;
    let (mut kept, mut words) = (0, Vec::new());
    for (word, _, tokens) in parts.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
        match tokens {
            Some(tokens) => kept += tokens.len() as u64,
            None => words.push(word.to_owned()),
        }
    }
    Ok((kept, words))
}

/// A tokenizer, and how many tokens it makes of the texts that it was learnt from.
pub struct Learnt {
    pub tokenizer: Tokenizer,
    pub tokens: u64,
}

/// Learns the merges and puts the tokenizer together.
pub fn learn(words: &Words, settings: &Settings) -> Result<Learnt, StageError> {
    let trainer = BpeTrainer::builder()
        .vocab_size(settings.vocab_size)
        .min_frequency(settings.min_frequency)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(settings.added_tokens())
        .show_progress(false)
        .build();
    let unfit = |error: tokenizers::Error| StageError::Unavailable {
        what: "a vocabulary of these texts".to_owned(),
        problem: error.to_string(),
    };
    let mut model = BPE::default();
    let counts = words.counts.iter().map(|(word, count)| (word.as_str().into(), *count)).collect();
    // Merges go by count and then by the ids of the pair, so the order of the words is nothing.
    trainer.do_train(&counts, &mut model).map_err(unfit)?;
    let mut tokens = words.kept;
    for (word, count) in &words.counts {
        tokens += count * model.tokenize(word).map_err(unfit)?.len() as u64;
    }
    let id = |text: &str| (text.to_owned(), model.token_to_id(text).unwrap_or_default());
    let processor = RobertaProcessing::new(id("</s>"), id("<s>"))
        .trim_offsets(true)
        .add_prefix_space(settings.add_prefix_space);
    let mut tokenizer = Tokenizer::new(model);
    add_tokens(&mut tokenizer, settings);
    tokenizer
        .with_pre_tokenizer(Some(settings.pre_tokenizer()))
        .with_decoder(Some(ByteLevel::default()))
        .with_post_processor(Some(processor));
    Ok(Learnt { tokenizer, tokens })
}

fn add_tokens(tokenizer: &mut Tokenizer, settings: &Settings) {
    for token in settings.added_tokens() {
        match token.special {
            true => tokenizer.add_special_tokens(&[token]),
            false => tokenizer.add_tokens(&[token]),
        };
    }
}

fn unfit(path: &Path, error: tokenizers::Error) -> StageError {
    StageError::File { path: path.to_owned(), problem: format!("a text cannot be split: {error}") }
}
