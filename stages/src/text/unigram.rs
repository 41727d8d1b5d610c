//! Builds the tokenizer of a SentencePiece model: what `transformers` makes of it when a folder has
//! no `tokenizer.json`. The families differ in their first ids, in the normaliser, and in the
//! tokens around a text.

use std::path::Path;

use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Precompiled, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::charsmap;
use super::sentencepiece::{Piece, SentencePiece};
use super::special::SpecialTokens;
use crate::family::{BERT, ROBERTA};
use crate::stage::error::StageError;

/// How a family turns a SentencePiece model into a tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    /// `<s> <pad> </s> <unk>` come first, as in fairseq, and replace the model's first three
    /// pieces. `<mask>` comes last.
    XlmRoberta,
    /// fairseq's first four tokens and a fifth precede all pieces but the first; `<s>` and `</s>`
    /// are the model's own. `<mask>` comes last.
    Camembert,
    /// The ids are those of the model. White space is normalised by rules of the family, and not by
    /// those of the model.
    DebertaV2,
}

impl Conversion {
    /// The conversion that goes with a value of `tokenizer_class` or of `model_type`.
    pub fn named(name: &str) -> Option<Conversion> {
        match name.strip_suffix("Fast").unwrap_or(name) {
            "XLMRobertaTokenizer" | "xlm-roberta" => Some(Conversion::XlmRoberta),
            "CamembertTokenizer" | "camembert" => Some(Conversion::Camembert),
            "DebertaV2Tokenizer" | "deberta-v2" => Some(Conversion::DebertaV2),
            _ => None,
        }
    }

    /// The name of the file that holds the model.
    pub fn file(self) -> &'static str {
        match self {
            Conversion::XlmRoberta | Conversion::Camembert => "sentencepiece.bpe.model",
            Conversion::DebertaV2 => "spm.model",
        }
    }

    /// The special tokens of a folder whose tokenizer is such a model.
    ///
    /// # Errors
    /// As for [`SpecialTokens::read`].
    pub fn special_tokens(self, folder: &Path) -> Result<SpecialTokens, StageError> {
        let family = match self {
            Conversion::XlmRoberta | Conversion::Camembert => &ROBERTA,
            Conversion::DebertaV2 => &BERT,
        };
        SpecialTokens::read(folder, family)
    }

    /// Builds the tokenizer of a model file, special tokens included.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is no model for this family.
    pub fn tokenizer(self, path: &Path, special: &SpecialTokens) -> Result<Tokenizer, StageError> {
        let model = SentencePiece::read(path)?;
        self.build(&model, special).map_err(|problem| StageError::File {
            path: path.to_owned(),
            problem: problem.to_string(),
        })
    }

    fn build(
        self,
        model: &SentencePiece,
        special: &SpecialTokens,
    ) -> tokenizers::Result<Tokenizer> {
        let (vocab, unk_id) = self.vocab(model, special);
        let mut tokenizer = Tokenizer::new(Unigram::from(vocab, Some(unk_id), false)?);
        let spaces = self.spaces(special);
        tokenizer
            .with_normalizer(self.normalizer(model, special)?)
            .with_pre_tokenizer(Some(self.pre_tokenizer(&spaces, special)))
            .with_decoder(Some(spaces));
        for token in special.all().into_iter().chain(added_pieces(model, special)) {
            let tokens = [token.normalized(false)];
            match tokens[0].special {
                true => tokenizer.add_special_tokens(&tokens),
                false => tokenizer.add_tokens(&tokens),
            };
        }
        Ok(tokenizer)
    }

    /// The pieces with their scores in the order of their ids, and the id of the unknown token.
    fn vocab(self, model: &SentencePiece, special: &SpecialTokens) -> (Vec<(String, f64)>, usize) {
        let first = |text: &str| (text.to_owned(), 0.0);
        let named = |role| first(special.content(role));
        let piece = |piece: &Piece| (piece.text.clone(), f64::from(piece.score));
        let (mut vocab, skipped) = match self {
            Conversion::XlmRoberta => {
                (["bos_token", "pad_token", "eos_token", "unk_token"].map(named).to_vec(), 3)
            }
            Conversion::Camembert => {
                let firsts = [
                    first("<s>NOTUSED"),
                    named("pad_token"),
                    first("</s>NOTUSED"),
                    named("unk_token"),
                    ("<unk>NOTUSED".to_owned(), -100.0),
                ];
                (firsts.to_vec(), 1)
            }
            Conversion::DebertaV2 => (Vec::new(), 0),
        };
        vocab.extend(model.pieces.iter().skip(skipped).map(piece));
        match self {
            Conversion::XlmRoberta | Conversion::Camembert => {
                vocab.push(named("mask_token"));
                (vocab, 3)
            }
            Conversion::DebertaV2 => {
                let unknown = named("unk_token");
                let unk_id = vocab.iter().position(|piece| *piece == unknown);
                (vocab, unk_id.unwrap_or(model.unk_id))
            }
        }
    }

    fn normalizer(
        self,
        model: &SentencePiece,
        special: &SpecialTokens,
    ) -> tokenizers::Result<Option<NormalizerWrapper>> {
        match self {
            Conversion::XlmRoberta | Conversion::Camembert => {
                let Some(map) = &model.charsmap else { return Ok(None) };
                charsmap::check(map)
                    .map_err(|problem| format!("is damaged: its character map {problem}"))?;
                Ok(Some(Precompiled::from(map)?.into()))
            }
            Conversion::DebertaV2 => {
                let pattern = ReplacePattern::Regex(r"\s{2,}|[\n\r\t]".to_owned());
                let mut parts: Vec<NormalizerWrapper> = Vec::new();
                if special.switch("do_lower_case").unwrap_or(false) {
                    parts.push(Lowercase.into());
                }
                parts.push(Replace::new(pattern, " ")?.into());
                parts.push(NFC.into());
                parts.push(Strip::new(false, true).into());
                Ok(Some(Sequence::new(parts).into()))
            }
        }
    }

    /// What marks the words: `▁` in place of the space before each of them.
    fn spaces(self, special: &SpecialTokens) -> Metaspace {
        let scheme = match self {
            _ if special.switch("add_prefix_space").unwrap_or(true) => PrependScheme::Always,
            Conversion::XlmRoberta | Conversion::Camembert => PrependScheme::Never,
            Conversion::DebertaV2 => PrependScheme::First,
        };
        Metaspace::new('▁', scheme, true)
    }

    fn pre_tokenizer(self, spaces: &Metaspace, special: &SpecialTokens) -> PreTokenizerWrapper {
        let mut parts: Vec<PreTokenizerWrapper> = Vec::new();
        match self {
            Conversion::XlmRoberta | Conversion::Camembert => parts.push(WhitespaceSplit.into()),
            Conversion::DebertaV2 => {
                if special.switch("split_by_punct").unwrap_or(false) {
                    parts.push(Punctuation::new(SplitDelimiterBehavior::Isolated).into());
                }
            }
        }
        parts.push(spaces.clone().into());
        PreSequence::new(parts).into()
    }
}

/// The pieces that a text yields only whole. `transformers` does not look at them if
/// `tokenizer_config.json` lists further special tokens.
fn added_pieces<'a>(
    model: &'a SentencePiece,
    special: &SpecialTokens,
) -> impl Iterator<Item = AddedToken> + 'a {
    let pieces = if special.has_others() { &[][..] } else { &model.pieces };
    let added = pieces.iter().filter(|piece| piece.is_control() || piece.is_user_defined());
    added.map(|piece| AddedToken::from(piece.text.clone(), piece.is_control()))
}
