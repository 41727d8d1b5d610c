//! Builds a tokenizer from the files of a model folder: the file formats, and which of them is
//! preferred.

use std::fs;
use std::path::{Path, PathBuf};

use ahash::AHashMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TokenizerImpl, decoders,
};

use super::bertweet::Bertweet;
use super::charsmap;
use super::listed::{Listed, ModelKind};
use super::special::{SpecialTokens, read_map};
use super::unigram::Conversion;
use crate::family::{Family, PairForm};
use crate::stage::error::StageError;

/// Every file that a tokenizer on the hub may consist of.
const TOKENIZER_FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "bpe.codes",
    SENTENCE_PIECES[0],
    SENTENCE_PIECES[1],
];

/// The names under which a SentencePiece model is read.
const SENTENCE_PIECES: [&str; 2] = ["sentencepiece.bpe.model", "spm.model"];

/// The names of the files that a tokenizer consists of, in a place that `has` some files. A
/// SentencePiece model is not used beside a `tokenizer.json`.
pub fn tokenizer_file_names(has: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static str> {
    let is_used = move |name: &&str| {
        has(name) && !(SENTENCE_PIECES.contains(name) && has(TOKENIZER_FILES[0]))
    };
    TOKENIZER_FILES.into_iter().filter(is_used)
}

/// The tokenizer files in a folder. The folder of a fine-tuned model needs a copy of them.
pub fn tokenizer_files(folder: &Path) -> Vec<PathBuf> {
    tokenizer_file_names(|name| folder.join(name).is_file()).map(|name| folder.join(name)).collect()
}

/// Whether a folder holds a tokenizer that `open` finds.
pub fn has_tokenizer(folder: &Path) -> bool {
    let sets: [&[&str]; 3] = [&["tokenizer.json"], &["vocab.json", "merges.txt"], &["vocab.txt"]];
    sets.iter().any(|set| set.iter().all(|name| folder.join(name).is_file()))
        || matches!(sentence_piece_model(folder), Ok(Some(_)))
}

/// The implementation behind a tokenizer.
pub(super) enum Backend {
    Tokenizers(Box<Tokenizer>),
    Bertweet(Box<Bertweet>),
}

/// A tokenizer, and what its file lists if that was asked for and can be told.
pub(super) struct Opened {
    pub(super) backend: Backend,
    pub(super) special: SpecialTokens,
    pub(super) listed: Option<Listed>,
}

/// Builds the tokenizer of a folder from the first of these that it holds: `tokenizer.json`, the
/// SentencePiece model of its kind of tokenizer, one of the three older sets of files.
pub(super) fn open(folder: &Path, family: &Family, lists: bool) -> Result<Opened, StageError> {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    if file("tokenizer.json").is_none()
        && let Some((conversion, path)) = sentence_piece_model(folder)?
    {
        let special = conversion.special_tokens(folder)?;
        let backend = sentence_pieces(&path, conversion, &special)?;
        return Ok(Opened { backend, special, listed: None });
    }
    let special = SpecialTokens::read(folder, family)?;
    let mut listed = None;
    let backend = if let Some(path) = file("tokenizer.json") {
        let bytes = fs::read(&path).map_err(StageError::io("reading", &path))?;
        let list = || lists.then(|| Listed::of(&bytes)).flatten();
        let (backend, found) = rayon::join(|| whole(&path, &bytes), list);
        listed = found;
        backend?
    } else if let (Some(vocab), Some(merges)) = (file("vocab.json"), file("merges.txt")) {
        byte_level(&vocab, &merges, &special)?
    } else if let (Some(vocab), Some(codes)) = (file("vocab.txt"), file("bpe.codes")) {
        bertweet(&vocab, &codes)?
    } else if let Some(vocab) = file("vocab.txt") {
        word_pieces(&vocab, family, &special)?
    } else {
        return Err(StageError::File { path: folder.to_owned(), problem: nothing_found(folder)? });
    };
    Ok(Opened { backend, special, listed })
}

/// How the folder's SentencePiece model is read. As in `transformers`, `tokenizer_class` decides
/// before `model_type`, so that a BERT with the tokenizer of XLM-RoBERTa is read as its author meant.
fn conversion(folder: &Path) -> Result<Option<Conversion>, StageError> {
    let files = ["tokenizer_config.json", "config.json"].map(|name| folder.join(name));
    let maps = [read_map(&files[0])?.unwrap_or_default(), read_map(&files[1])?.unwrap_or_default()];
    let named = |map: &Map<String, Value>, field: &str| {
        map.get(field).and_then(Value::as_str).and_then(Conversion::named)
    };
    Ok(named(&maps[0], "tokenizer_class")
        .or_else(|| named(&maps[1], "tokenizer_class"))
        .or_else(|| named(&maps[1], "model_type")))
}

/// The folder's SentencePiece model, if it has one that its kind of tokenizer reads.
fn sentence_piece_model(folder: &Path) -> Result<Option<(Conversion, PathBuf)>, StageError> {
    let found = conversion(folder)?.map(|conversion| (conversion, folder.join(conversion.file())));
    Ok(found.filter(|(_, path)| path.is_file()))
}

/// Why a folder has no tokenizer that can be read.
fn nothing_found(folder: &Path) -> Result<String, StageError> {
    let wanted = conversion(folder)?.map(Conversion::file);
    let stray = SENTENCE_PIECES.into_iter().find(|name| folder.join(name).is_file());
    if let (None, Some(name)) = (wanted, stray) {
        return Ok(format!(
            "holds `{name}`, but neither `tokenizer_class` nor `model_type` names a tokenizer that \
             reads it; a `tokenizer.json`, saved with `transformers`, says how"
        ));
    }
    let wanted = wanted.map_or_else(String::new, |name| format!("`{name}`, "));
    Ok(format!(
        "holds no tokenizer: looked for `tokenizer.json`, {wanted}`vocab.json` with `merges.txt`, \
         `vocab.txt` with `bpe.codes`, and `vocab.txt`"
    ))
}

/// `tokenizer.json`, with these bytes. Truncation, padding and dropout, which some files contain, are
/// removed.
fn whole(path: &Path, bytes: &[u8]) -> Result<Backend, StageError> {
    let Parts { normalizer, model } = serde_json::from_slice(bytes).unwrap_or_default();
    let kind = model.and_then(|model| first_type(model.get()).or_else(|| any_type(model.get())));
    charsmap::check_all_in(&normalizer).map_err(|error| {
        problem(path, format!("is damaged: the character map of its normalizer {error}"))
    })?;
    let tokenizer = match kind {
        Some(ModelKind::Bpe) => with_model::<BPE>(bytes),
        Some(ModelKind::Unigram) => with_model::<Unigram>(bytes),
        Some(ModelKind::WordPiece) => with_model::<WordPiece>(bytes),
        None => None,
    };
    let tokenizer = tokenizer.map_or_else(|| Tokenizer::from_bytes(bytes), Ok);
    let mut tokenizer = tokenizer.map_err(|error| problem(path, error))?;
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

/// The parts of a `tokenizer.json` that are looked at before the library reads the file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts<'a> {
    normalizer: Value,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// The type of a model that begins with it, as the library writes them. The vocabulary, most of the
/// file, is then not read once more.
fn first_type(model: &str) -> Option<ModelKind> {
    let mut tokens = ["{", "\"type\"", ":"].into_iter();
    let rest = tokens.try_fold(model, |rest, token| rest.trim_start().strip_prefix(token))?;
    serde_json::Deserializer::from_str(rest).into_iter().next()?.ok()
}

/// The type of a model, wherever it is.
fn any_type(model: &str) -> Option<ModelKind> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: ModelKind,
    }
    serde_json::from_str(model).ok().map(|Typed { kind }| kind)
}

/// Reads a `tokenizer.json` whose model is of a known kind. Otherwise the library reads the vocabulary
/// into two general trees before it makes the model, which takes most of the time. `None` where this
/// fails; the general way may still succeed.
fn with_model<M>(bytes: &[u8]) -> Option<Tokenizer>
where
    M: DeserializeOwned + Model + Into<ModelWrapper>,
{
    type Typed<M> = TokenizerImpl<
        M,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >;
    serde_json::from_slice::<Typed<M>>(bytes).ok().map(Tokenizer::from)
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
    let (cls, sep) = ends(&tokenizer, special, ["cls_token", "sep_token"], vocab)?;
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
    let (cls, sep) = ends(&tokenizer, special, ["cls_token", "sep_token"], vocab)?;
    if family.tokens.pairs == PairForm::Bert {
        tokenizer.with_post_processor(Some(typed_pairs(cls, sep, vocab)?));
    } else {
        tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls)));
    }
    Ok(Backend::Tokenizers(Box::new(tokenizer)))
}

/// A SentencePiece model.
fn sentence_pieces(
    model: &Path,
    conversion: Conversion,
    special: &SpecialTokens,
) -> Result<Backend, StageError> {
    let mut tokenizer = conversion.tokenizer(model, special)?;
    match conversion {
        Conversion::XlmRoberta | Conversion::Camembert => {
            let (bos, eos) = ends(&tokenizer, special, ["bos_token", "eos_token"], model)?;
            tokenizer.with_post_processor(Some(RobertaProcessing::new(eos, bos)));
        }
        Conversion::DebertaV2 => {
            let (cls, sep) = ends(&tokenizer, special, ["cls_token", "sep_token"], model)?;
            tokenizer.with_post_processor(Some(typed_pairs(cls, sep, model)?));
        }
    }
    Ok(Backend::Tokenizers(Box::new(tokenizer)))
}

/// BERT's `[CLS] A [SEP] B [SEP]`, whose second text has token type 1.
fn typed_pairs(cls: Token, sep: Token, path: &Path) -> Result<TemplateProcessing, StageError> {
    let (start, end) = (&cls.0, &sep.0);
    let single = vec![format!("{start}:0"), "$A:0".to_owned(), format!("{end}:0")];
    let mut pair = single.clone();
    pair.extend(["$B:1".to_owned(), format!("{end}:1")]);
    TemplateProcessing::builder()
        .try_single(single)
        .and_then(|builder| builder.try_pair(pair))
        .map_err(|error| problem(path, error))?
        .special_tokens(vec![cls, sep])
        .build()
        .map_err(|error| problem(path, error))
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
    [first, last]: [&'static str; 2],
    path: &Path,
) -> Result<(Token, Token), StageError> {
    let find = |role| {
        let content = special.content(role);
        tokenizer
            .token_to_id(content)
            .map(|id| (content.to_owned(), id))
            .ok_or_else(|| problem(path, format!("has no {role} `{content}`")))
    };
    Ok((find(first)?, find(last)?))
}

fn read_text(path: &Path) -> Result<String, StageError> {
    fs::read_to_string(path).map_err(StageError::io("reading", path))
}

fn problem(path: &Path, error: impl ToString) -> StageError {
    StageError::File { path: path.to_owned(), problem: error.to_string() }
}
