//! Reads a SentencePiece model: the few fields of its protobuf message that decide how a text is
//! cut. [`super::unigram`] builds a tokenizer from them.
//!
//! The numbers of the fields are those of `sentencepiece_model.proto`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use prost::Message;

use crate::stage::error::StageError;

/// The largest file that is read. The published models have about 5 MB.
const LARGEST_BYTES: u64 = 1 << 26;
/// The longest piece in bytes. The library's trie of pieces is as deep as the longest of them, and
/// drops it recursively.
const LONGEST_PIECE: usize = 1024;
/// `model_type` of a Unigram model, which is also the default.
const UNIGRAM: i32 = 1;

/// A Unigram model as a file holds it.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// At least one. No two have the same text, and every score is finite.
    pub pieces: Vec<Piece>,
    pub unk_id: usize,
    /// The compiled rules of the normaliser; `None` if it has none.
    pub charsmap: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Piece {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(float, tag = "2")]
    pub score: f32,
    /// [`Piece::CONTROL`], [`Piece::USER_DEFINED`] or another kind; 1 by default.
    #[prost(int32, tag = "3")]
    kind: i32,
}

impl Piece {
    const CONTROL: i32 = 3;
    const USER_DEFINED: i32 = 4;

    /// Whether a text never yields this piece by itself, as `<s>`.
    pub fn is_control(&self) -> bool {
        self.kind == Piece::CONTROL
    }

    /// Whether this piece is kept whole wherever a text contains it.
    pub fn is_user_defined(&self) -> bool {
        self.kind == Piece::USER_DEFINED
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(int32, optional, tag = "40")]
    unk_id: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    charsmap: Option<Vec<u8>>,
}

impl SentencePiece {
    /// Reads a model and checks everything that the `tokenizers` library takes for granted.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or holds a model of another kind than Unigram.
    pub fn read(path: &Path) -> Result<SentencePiece, StageError> {
        let reading = |error| StageError::io("reading", path)(error);
        let problem = |problem: String| StageError::File { path: path.to_owned(), problem };
        let bytes = fs::metadata(path).map_err(reading)?.len();
        if bytes > LARGEST_BYTES {
            return Err(problem(format!(
                "has {bytes} bytes; a SentencePiece model has at most {LARGEST_BYTES}"
            )));
        }
        let bytes = fs::read(path).map_err(reading)?;
        let proto = ModelProto::decode(bytes.as_slice())
            .map_err(|error| problem(format!("is no SentencePiece model: {error}")))?;
        SentencePiece::checked(proto).map_err(problem)
    }

    fn checked(proto: ModelProto) -> Result<SentencePiece, String> {
        let ModelProto { pieces, trainer, normalizer } = proto;
        let trainer = trainer.unwrap_or_default();
        if pieces.is_empty() {
            return Err("is no SentencePiece model: it has no pieces".to_owned());
        }
        match trainer.model_type.unwrap_or(UNIGRAM) {
            UNIGRAM => {}
            kind => {
                let name = match kind {
                    2 => "BPE",
                    3 => "word",
                    4 => "character",
                    _ => "unknown",
                };
                return Err(format!(
                    "is a SentencePiece model of the {name} type; models of this family have one of \
                     the Unigram type, and `transformers` reads no other either"
                ));
            }
        }
        let mut seen = HashSet::with_capacity(pieces.len());
        for (id, piece) in pieces.iter().enumerate() {
            let Piece { text, score, .. } = piece;
            if text.is_empty() || text.len() > LONGEST_PIECE {
                let bytes = text.len();
                return Err(format!(
                    "is damaged: piece {id} has {bytes} bytes, expected 1 to {LONGEST_PIECE}"
                ));
            }
            if !score.is_finite() {
                return Err(format!("is damaged: the score of piece {id} `{text}` is {score}"));
            }
            if !seen.insert(text.as_str()) {
                return Err(format!("is damaged: piece {id} `{text}` occurs twice"));
            }
        }
        let unk_id = trainer.unk_id.unwrap_or(0);
        let known = usize::try_from(unk_id).ok().filter(|id| *id < pieces.len());
        let unk_id = known.ok_or_else(|| {
            format!("is damaged: `unk_id` is {unk_id}, there are {} pieces", pieces.len())
        })?;
        let charsmap = normalizer.and_then(|spec| spec.charsmap).filter(|map| !map.is_empty());
        Ok(SentencePiece { pieces, unk_id, charsmap })
    }
}
