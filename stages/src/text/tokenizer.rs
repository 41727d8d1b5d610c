//! One tokenizer type for all formats. Turns texts into ids, and ids into readable text. Its digest
//! tells whether two tokenizers give the same ids.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokenizers::{Model, ModelWrapper, Tokenizer};

use super::layout::SpecialTokenLayout;
use super::listed::Listed;
use super::open::{Backend, Opened, open};
use crate::family::Family;
use crate::stage::error::StageError;

/// Texts whose ids show what a tokenizer does with case, accents, white space, numbers, symbols,
/// special tokens and long words.
const PROBES: [&str; 10] = [
    "The quick brown FOX jumps over the lazy dog",
    "  two  spaces,\ta tab,\na line\r\nand\u{a0}more ",
    "I'm sure you're WON'T we'll don't 's",
    "Café naïve über Straße Ångström e\u{301} ﬁ ½ Ａ",
    "0 12 345 6,789.01 $5 50% 1e-3 2020-01-01",
    "@USER #Sarcasm http://example.com/a?b=c &amp; <URL> :-) ...!!?? — “quoted” ‘so’",
    "😂😂 👍🏽 ❤️ 🇩🇪",
    "日本語のテキスト 中文 한국어 русский العربية",
    "<s> </s> <pad> <unk> <mask> [CLS] [SEP] [PAD] [UNK] [MASK]@@ ##ing",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// The tokenizer of a model folder.
pub struct TextTokenizer {
    folder: PathBuf,
    backend: Backend,
    layout: SpecialTokenLayout,
    special: SpecialIds,
    special_texts: Vec<String>,
    asks_for_normalization: bool,
    /// What the file lists, if it was asked for.
    listed: Option<Listed>,
}

/// The ids of the special tokens; `None` for those that the vocabulary lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialIds {
    pub cls: Option<u32>,
    pub sep: Option<u32>,
    pub pad: Option<u32>,
    pub unk: Option<u32>,
    pub mask: Option<u32>,
}

impl TextTokenizer {
    /// Reads the tokenizer of a folder from the first of these that exists: `tokenizer.json`;
    /// `vocab.json` with `merges.txt`; BERTweet's `vocab.txt` with `bpe.codes`; `vocab.txt`.
    ///
    /// # Errors
    /// None of them exists, or a file cannot be read or is malformed.
    pub fn open(folder: &Path, family: &Family) -> Result<TextTokenizer, StageError> {
        TextTokenizer::of(folder, open(folder, family, false)?)
    }

    /// Like [`TextTokenizer::open`], for one whose [`digest`](TextTokenizer::digest) is wanted: with several
    /// threads, what that needs is read at the same time.
    ///
    /// # Errors
    /// As [`TextTokenizer::open`].
    pub fn open_to_digest(folder: &Path, family: &Family) -> Result<TextTokenizer, StageError> {
        TextTokenizer::of(folder, open(folder, family, true)?)
    }

    fn of(folder: &Path, opened: Opened) -> Result<TextTokenizer, StageError> {
        let Opened { backend, special: tokens, listed } = opened;
        let id = |role: &'static str| match &backend {
            Backend::Tokenizers(tokenizer) => tokenizer.token_to_id(tokens.content(role)),
            Backend::Bertweet(tokenizer) => tokenizer.id(tokens.content(role)),
        };
        let special = SpecialIds {
            cls: id("cls_token"),
            sep: id("sep_token"),
            pad: id("pad_token"),
            unk: id("unk_token"),
            mask: id("mask_token"),
        };
        let layout = match &backend {
            Backend::Tokenizers(tokenizer) => SpecialTokenLayout::of(tokenizer),
            Backend::Bertweet(_) => match (special.cls, special.sep) {
                (Some(cls), Some(sep)) => Ok(SpecialTokenLayout::roberta(cls, sep)),
                _ => Err("its special tokens are not in the vocabulary".to_owned()),
            },
        };
        let layout = layout.map_err(|problem| StageError::File {
            path: folder.to_owned(),
            problem: format!("the tokenizer cannot be used: {problem}"),
        })?;
        let mut special_texts: Vec<String> =
            tokens.all().into_iter().map(|token| token.content).collect();
        special_texts.retain(|text| !text.is_empty());
        // Longest first, so that a token is found before another that is a prefix of it.
        special_texts.sort_by_key(|text| (std::cmp::Reverse(text.len()), text.clone()));
        special_texts.dedup();
        let asks_for_normalization = tokens.switch("normalization").unwrap_or(false);
        let folder = folder.to_owned();
        Ok(TextTokenizer {
            folder,
            backend,
            layout,
            special,
            special_texts,
            asks_for_normalization,
            listed,
        })
    }

    /// The ids of a text, without special tokens around it.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, StageError> {
        match &self.backend {
            Backend::Tokenizers(tokenizer) => match tokenizer.encode_fast(text, false) {
                Ok(encoding) => Ok(encoding.get_ids().to_vec()),
                Err(error) => Err(StageError::File {
                    path: self.folder.clone(),
                    problem: format!("the tokenizer failed on a text: {error}"),
                }),
            },
            Backend::Bertweet(tokenizer) => Ok(tokenizer.encode(text)),
        }
    }

    /// A digest of what the tokenizer does: its vocabulary and merges, its special tokens and their
    /// places, and the ids of some texts. It does not depend on the files' format, so a tokenizer
    /// that another program has saved again keeps its digest.
    ///
    /// Token files hold this digest. If it changes for a tokenizer that did not, every token file
    /// in a cache is refused, so `tokenize` then needs a new version.
    pub fn digest(&self) -> Result<String, StageError> {
        let json = |source| StageError::Json { path: self.folder.clone(), source };
        let (tokens, merges) = self.lists().map_err(json)?;
        let SpecialIds { cls, sep, pad, unk, mask } = self.special;
        let special = [cls, sep, pad, unk, mask];
        let probes = PROBES.iter().map(|text| self.ids(text));
        let probes: Vec<Vec<u32>> = probes.collect::<Result<_, _>>()?;
        let facts = (tokens, merges, special, self.layout.numbers(), probes);
        let facts = serde_json::to_vec(&facts).map_err(json)?;
        Ok(blake3::hash(&facts).to_hex().to_string())
    }

    /// Every token with its id, and [`ordered_parts`], as JSON.
    fn lists(&self) -> Result<(Box<RawValue>, Vec<Box<RawValue>>), serde_json::Error> {
        let tokenizer = match &self.backend {
            Backend::Tokenizers(tokenizer) => tokenizer,
            Backend::Bertweet(tokenizer) => {
                let token = |id| Some((id, tokenizer.token(id)?));
                let tokens: Vec<(u32, &str)> =
                    (0..=tokenizer.vocab_size() as u32).filter_map(token).collect();
                return Ok((to_raw_value(&tokens)?, Vec::new()));
            }
        };
        if let Some(listed) = &self.listed
            && listed.is_of(tokenizer, vocab_size(tokenizer))
        {
            return Ok((listed.tokens.clone(), listed.merges.iter().cloned().collect()));
        }
        Ok((to_raw_value(&all_tokens(tokenizer))?, ordered_parts(tokenizer.get_model())?))
    }

    /// The ids of texts, without special tokens around them. Runs on all threads of the current
    /// rayon pool; the result does not depend on their number.
    pub fn ids_of_all(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, StageError> {
        let ids: Vec<_> = texts.par_iter().map(|text| self.ids(text)).collect();
        ids.into_iter().collect()
    }

    /// The positions of the special tokens around texts.
    pub fn layout(&self) -> &SpecialTokenLayout {
        &self.layout
    }

    pub fn special_ids(&self) -> SpecialIds {
        self.special
    }

    /// The special tokens as a text may contain them, longest first.
    pub fn special_texts(&self) -> &[String] {
        &self.special_texts
    }

    /// Whether an id is that of a special token, which is not a part of a text or stands for one.
    pub fn is_special(&self, id: u32) -> bool {
        let SpecialIds { cls, sep, pad, unk, mask } = self.special;
        [cls, sep, pad, unk, mask].contains(&Some(id))
            || match &self.backend {
                Backend::Tokenizers(tokenizer) => {
                    let added = tokenizer.get_added_vocabulary();
                    let text = added.simple_id_to_token(id);
                    text.is_some_and(|text| added.is_special_token(&text))
                }
                Backend::Bertweet(_) => false,
            }
    }

    /// Whether an id is that of a token that was added to the vocabulary whole.
    pub fn is_added(&self, id: u32) -> bool {
        match &self.backend {
            Backend::Tokenizers(tokenizer) => {
                tokenizer.get_added_vocabulary().simple_id_to_token(id).is_some()
            }
            Backend::Bertweet(_) => false,
        }
    }

    /// Whether `tokenizer_config.json` asks for normalized tweets.
    pub fn asks_for_normalization(&self) -> bool {
        self.asks_for_normalization
    }

    /// The number of tokens, added tokens included.
    pub fn vocab_size(&self) -> usize {
        match &self.backend {
            Backend::Tokenizers(tokenizer) => vocab_size(tokenizer),
            Backend::Bertweet(tokenizer) => tokenizer.vocab_size(),
        }
    }

    /// The token with an id as the vocabulary spells it, for instance `Ġhello`.
    pub fn token_text(&self, id: u32) -> Option<String> {
        match &self.backend {
            Backend::Tokenizers(tokenizer) => tokenizer.id_to_token(id),
            Backend::Bertweet(tokenizer) => tokenizer.token(id).map(str::to_owned),
        }
    }

    /// The text of ids, special tokens included; unknown ids are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        match &self.backend {
            Backend::Tokenizers(tokenizer) => tokenizer.decode(ids, false).unwrap_or_default(),
            Backend::Bertweet(tokenizer) => {
                let tokens: Vec<&str> = ids.iter().filter_map(|id| tokenizer.token(*id)).collect();
                tokens.join(" ").replace("@@ ", "")
            }
        }
    }
}

/// The number of tokens. The library's own count, which this equals, copies the vocabulary.
fn vocab_size(tokenizer: &Tokenizer) -> usize {
    let model = tokenizer.get_model();
    if matches!(model, ModelWrapper::Unigram(_)) {
        // Its size counts a piece twice that is listed twice.
        return tokenizer.get_vocab_size(true);
    }
    let added = tokenizer.get_added_vocabulary().get_vocab().keys();
    model.get_vocab_size() + added.filter(|token| model.token_to_id(token).is_none()).count()
}

/// Every token and its id, in the order of ids.
fn all_tokens(tokenizer: &Tokenizer) -> Vec<(u32, String)> {
    let count = vocab_size(tokenizer);
    let token = |id| {
        let token = tokenizer.id_to_token(id)?;
        (tokenizer.token_to_id(&token) == Some(id)).then_some((id, token))
    };
    let tokens: Vec<(u32, String)> = (0..count as u32).filter_map(token).collect();
    if tokens.len() == count {
        return tokens;
    }
    // Ids have gaps, or two tokens have one.
    let all = tokenizer.get_vocab(true).into_iter();
    let mut tokens: Vec<(u32, String)> = all.map(|(token, id)| (id, token)).collect();
    tokens.sort_unstable();
    tokens
}

/// The parts of a model whose order or numbers decide how a word is cut, as JSON: BPE's merges, and
/// the scores of a Unigram vocabulary.
fn ordered_parts(model: &ModelWrapper) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    /// The library shows these parts only as JSON. What is not named here is skipped.
    #[derive(Deserialize)]
    struct Merges {
        merges: Box<RawValue>,
    }
    #[derive(Deserialize)]
    struct Scores {
        vocab: Box<RawValue>,
    }
    Ok(match model {
        ModelWrapper::BPE(_) => {
            let Merges { merges } = serde_json::from_slice(&serde_json::to_vec(model)?)?;
            vec![merges]
        }
        ModelWrapper::Unigram(_) => {
            let Scores { vocab } = serde_json::from_slice(&serde_json::to_vec(model)?)?;
            vec![vocab]
        }
        ModelWrapper::WordPiece(_) | ModelWrapper::WordLevel(_) => Vec::new(),
    })
}
