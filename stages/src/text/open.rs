//! Builds a tokenizer from the files of a model folder: the file formats, and which of them is
//! preferred.

use std::fs;
use std::path::{Path, PathBuf};

use ahash::AHashMap;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer, decoders};

use super::bertweet::Bertweet;
use super::special::SpecialTokens;
use crate::family::{Family, PairForm};
use crate::stage::error::StageError;

/// Every file that a tokenizer on the hub may consist of.
pub const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "bpe.codes",
];

/// The tokenizer files that exist in a folder. The folder of a fine-tuned model needs a copy of
/// them.
pub fn tokenizer_files(folder: &Path) -> Vec<PathBuf> {
    TOKENIZER_FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// Whether a folder holds a tokenizer that `open` finds.
pub fn has_tokenizer(folder: &Path) -> bool {
    let sets: [&[&str]; 3] = [&["tokenizer.json"], &["vocab.json", "merges.txt"], &["vocab.txt"]];
    sets.iter().any(|set| set.iter().all(|name| folder.join(name).is_file()))
}

/// The implementation behind a tokenizer.
pub(super) enum Backend {
    Tokenizers(Box<Tokenizer>),
    Bertweet(Box<Bertweet>),
}

/// Builds the tokenizer of a folder from the first of the four sets of files that is complete.
pub(super) fn open(folder: &Path, family: &Family) -> Result<(Backend, SpecialTokens), StageError> {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    let special = SpecialTokens::read(folder, family)?;
    let backend = if let Some(path) = file("tokenizer.json") {
        whole(&path)?
    } else if let (Some(vocab), Some(merges)) = (file("vocab.json"), file("merges.txt")) {
        byte_level(&vocab, &merges, &special)?
    } else if let (Some(vocab), Some(codes)) = (file("vocab.txt"), file("bpe.codes")) {
        bertweet(&vocab, &codes)?
    } else if let Some(vocab) = file("vocab.txt") {
        word_pieces(&vocab, family, &special)?
    } else {
        return Err(StageError::File {
            path: folder.to_owned(),
            problem: "holds no tokenizer: looked for `tokenizer.json`, `vocab.json` with \
                      `merges.txt`, `vocab.txt` with `bpe.codes`, and `vocab.txt`"
                .to_owned(),
        });
    };
    Ok((backend, special))
}

/// `tokenizer.json`. Truncation, padding and dropout, which some files contain, are removed.
fn whole(path: &Path) -> Result<Backend, StageError> {
    let bytes = fs::read(path).map_err(StageError::io("reading", path))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| problem(path, error))?;
    tokenizer.with_truncation(None).map_err(|error| problem(path, error))?;
    tokenizer.with_padding(None);
    if let ModelWrapper::BPE(model) = tokenizer.get_model()
        && model.dropout.is_some()
    {
        let mut model = model.clone();
        model.dropout = None;
        tokenizer.with_model(model);
    }
    Ok(Backend::Tokenizers(Box::new(tokenizer)))
}

/// RoBERTa's byte-level BPE: `vocab.json` and `merges.txt`.
fn byte_level(vocab: &Path, merges: &Path, special: &SpecialTokens) -> Result<Backend, StageError> {
    let text = read_text(vocab)?;
    let ids: std::collections::HashMap<String, u32> = serde_json::from_str(&text)
        .map_err(|source| StageError::Json { path: vocab.to_owned(), source })?;
    let ids: AHashMap<String, u32> = ids.into_iter().collect();
    let mut pairs = Vec::new();
    for (number, line) in read_text(merges)?.lines().enumerate() {
        // The first line is the format's version.
        if line.starts_with("#version") || line.is_empty() {
            continue;
        }
        let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' '))
        else {
            return Err(StageError::Line {
                path: merges.to_owned(),
                line: number as u64 + 1,
                problem: "expected two tokens with a space between them".to_owned(),
            });
        };
        pairs.push((left.to_owned(), right.to_owned()));
    }
    let model = BPE::builder()
        .vocab_and_merges(ids, pairs)
        .build()
        .map_err(|error| problem(merges, error))?;
    let add_prefix_space = special.switch("add_prefix_space").unwrap_or(false);
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(add_prefix_space)))
        .with_decoder(Some(ByteLevel::default()));
    add_special_tokens(&mut tokenizer, special);
    let (cls, sep) = ends(&tokenizer, special, vocab)?;
    let processor = RobertaProcessing::new(sep, cls).add_prefix_space(add_prefix_space);
    tokenizer.with_post_processor(Some(processor));
    Ok(Backend::Tokenizers(Box::new(tokenizer)))
}

/// BERT's and MPNet's word pieces: `vocab.txt`, one token a line.
fn word_pieces(
    vocab: &Path,
    family: &Family,
    special: &SpecialTokens,
) -> Result<Backend, StageError> {
    let text = read_text(vocab)?;
    let ids: AHashMap<String, u32> = text
        .lines()
        .enumerate()
        .map(|(id, line)| (line.trim_end().to_owned(), id as u32))
        .collect();
    let unknown = special.content("unk_token");
    if !ids.contains_key(unknown) {
        return Err(problem(
            vocab,
            format!("has no token `{unknown}`, so it is no WordPiece vocabulary"),
        ));
    }
    let model = WordPiece::builder()
        .vocab(ids)
        .unk_token(unknown.to_owned())
        .build()
        .map_err(|error| problem(vocab, error))?;
    let normalizer = BertNormalizer::new(
        true,
        special.switch("tokenize_chinese_chars").unwrap_or(true),
        special.switch("strip_accents"),
        special.switch("do_lower_case").unwrap_or(true),
    );
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(normalizer))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(decoders::wordpiece::WordPiece::default()));
    add_special_tokens(&mut tokenizer, special);
    let (cls, sep) = ends(&tokenizer, special, vocab)?;
    if family.tokens.pairs == PairForm::Bert {
        let (cls_text, sep_text) = (cls.0.clone(), sep.0.clone());
        let processor = TemplateProcessing::builder()
            .try_single(vec![format!("{cls_text}:0"), "$A:0".to_owned(), format!("{sep_text}:0")])
            .and_then(|builder| {
                builder.try_pair(vec![
                    format!("{cls_text}:0"),
                    "$A:0".to_owned(),
                    format!("{sep_text}:0"),
                    "$B:1".to_owned(),
                    format!("{sep_text}:1"),
                ])
            })
            .map_err(|error| problem(vocab, error))?
            .special_tokens(vec![cls, sep])
            .build()
            .map_err(|error| problem(vocab, error))?;
        tokenizer.with_post_processor(Some(processor));
    } else {
        tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls)));
    }
    Ok(Backend::Tokenizers(Box::new(tokenizer)))
}

fn bertweet(vocab: &Path, codes: &Path) -> Result<Backend, StageError> {
    let tokenizer =
        Bertweet::new(&read_text(vocab)?, &read_text(codes)?).map_err(|line| StageError::Line {
            path: vocab.to_owned(),
            line: line as u64,
            problem: "expected a token, a space and its count".to_owned(),
        })?;
    Ok(Backend::Bertweet(Box::new(tokenizer)))
}

fn add_special_tokens(tokenizer: &mut Tokenizer, special: &SpecialTokens) {
    for token in special.all() {
        let tokens: [AddedToken; 1] = [token.normalized(false)];
        match tokens[0].special {
            true => tokenizer.add_special_tokens(&tokens),
            false => tokenizer.add_tokens(&tokens),
        };
    }
}

/// A token and its id.
type Token = (String, u32);

/// The tokens that begin and end a sequence, with their ids.
fn ends(
    tokenizer: &Tokenizer,
    special: &SpecialTokens,
    path: &Path,
) -> Result<(Token, Token), StageError> {
    let find = |role| {
        let content = special.content(role);
        tokenizer
            .token_to_id(content)
            .map(|id| (content.to_owned(), id))
            .ok_or_else(|| problem(path, format!("has no {role} `{content}`")))
    };
    Ok((find("cls_token")?, find("sep_token")?))
}

fn read_text(path: &Path) -> Result<String, StageError> {
    fs::read_to_string(path).map_err(StageError::io("reading", path))
}

fn problem(path: &Path, error: impl ToString) -> StageError {
    StageError::File { path: path.to_owned(), problem: error.to_string() }
}
