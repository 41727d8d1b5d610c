//! Masking: which tokens the model must predict, and what replaces them. This is RoBERTa's dynamic
//! masking (Liu et al. 2019); by default 80 % become the mask token, 10 % a random token, and 10 %
//! stay unchanged. A mask depends on seed, epoch and text alone.

use std::path::Path;

use super::params::MaskRules;
use crate::data::random::Random;
use crate::model::config::ModelConfig;
use crate::stage::error::StageError;
use crate::text::TextTokenizer;

/// The vocabulary as masking needs it.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    pub mask: u32,
    /// By id: whether a token is never predicted and never replaces another.
    pub is_special: Vec<bool>,
    /// By id.
    words: Vec<WordPart>,
    /// The ids of all tokens that are not special.
    ordinary: Vec<u32>,
}

impl Vocabulary {
    /// `is_special` and `words` are by id.
    pub fn new(mask: u32, is_special: Vec<bool>, words: Vec<WordPart>) -> Vocabulary {
        let ordinary = (0..is_special.len() as u32).filter(|id| !is_special[*id as usize]);
        Vocabulary { mask, ordinary: ordinary.collect(), is_special, words }
    }

    /// The vocabulary of the tokenizer in `folder`.
    ///
    /// # Errors
    /// The tokenizer has no mask token, or more tokens than the model.
    pub fn of(
        tokenizer: &TextTokenizer,
        config: &ModelConfig,
        folder: &Path,
    ) -> Result<Vocabulary, StageError> {
        let problem = |problem: &str| StageError::File {
            path: folder.to_owned(),
            problem: problem.to_owned(),
        };
        let mask = tokenizer.special_ids().mask;
        let mask = mask.ok_or_else(|| problem("the tokenizer has no mask token"))?;
        let size = tokenizer.vocab_size();
        if size > config.vocab_size {
            let problem =
                format!("the tokenizer has {size} tokens, the model's table {}", config.vocab_size);
            return Err(StageError::File { path: folder.to_owned(), problem });
        }
        let texts: Vec<String> =
            (0..size as u32).map(|id| tokenizer.token_text(id).unwrap_or_default()).collect();
        let marks = Marks::of(&texts);
        let words = texts.iter().enumerate().map(|(id, text)| {
            if tokenizer.is_added(id as u32) { WordPart::default() } else { marks.part(text) }
        });
        let is_special = (0..size as u32).map(|id| tokenizer.is_special(id)).collect();
        Ok(Vocabulary::new(mask, is_special, words.collect()))
    }

    fn is_special(&self, id: i32) -> bool {
        self.is_special.get(id as usize).copied().unwrap_or(true)
    }

    /// Whether two adjacent tokens belong to one word.
    fn is_one_word(&self, left: i32, right: i32) -> bool {
        let of = |id: i32| self.words.get(id as usize).copied().unwrap_or_default();
        of(left).goes_on || of(right).continues
    }

    /// Whether a sequence has a token that can be predicted.
    pub fn has_ordinary(&self, ids: &[i32]) -> bool {
        ids.iter().any(|id| !self.is_special(*id))
    }
}

/// How a token is connected to its neighbours in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordPart {
    /// It continues the word of the previous token.
    pub continues: bool,
    /// The next token continues its word.
    pub goes_on: bool,
}

/// How a vocabulary marks the parts of a word.
#[derive(Clone, Copy)]
enum Marks {
    /// Byte-level BPE and SentencePiece mark the beginning of a word, after a space.
    Begins(char),
    /// WordPiece marks a token that continues a word.
    Continues,
    /// BERTweet marks a token whose word continues.
    GoesOn,
}

impl Marks {
    fn of(texts: &[String]) -> Marks {
        let begins = |mark: char| texts.iter().any(|text| text.starts_with(mark));
        if let Some(mark) = ['Ġ', '▁'].into_iter().find(|mark| begins(*mark)) {
            return Marks::Begins(mark);
        }
        let is_word_piece = texts.iter().any(|text| text.starts_with("##"));
        if is_word_piece { Marks::Continues } else { Marks::GoesOn }
    }

    fn part(self, text: &str) -> WordPart {
        match self {
            Marks::Begins(mark) => {
                WordPart { continues: !text.starts_with(mark), ..WordPart::default() }
            }
            Marks::Continues => {
                WordPart { continues: text.starts_with("##"), ..WordPart::default() }
            }
            Marks::GoesOn => WordPart { goes_on: text.ends_with("@@"), ..WordPart::default() },
        }
    }
}

impl MaskRules {
    /// Masks a sequence in place. Returns the positions to predict, ascending, each with its
    /// original token. Of `n` words or tokens it masks `share · n`, rounded up or down at random
    /// so that the mean is exact, and at least one.
    pub fn mask(
        &self,
        ids: &mut [i32],
        vocabulary: &Vocabulary,
        random: &mut Random,
    ) -> Vec<(usize, u32)> {
        let mut units: Vec<std::ops::Range<usize>> = Vec::new();
        for (place, id) in ids.iter().enumerate().filter(|(_, id)| !vocabulary.is_special(**id)) {
            match units.last_mut() {
                Some(unit)
                    if self.whole_word
                        && unit.end == place
                        && vocabulary.is_one_word(ids[place - 1], *id) =>
                {
                    unit.end += 1;
                }
                _ => units.push(place..place + 1),
            }
        }
        let wanted = (self.share * units.len() as f64 + random.uniform_f64()) as usize;
        let wanted = wanted.max(1).min(units.len());
        // The first steps of a Fisher–Yates shuffle draw without replacement.
        for index in 0..wanted {
            let other = index + random.below((units.len() - index) as u64) as usize;
            units.swap(index, other);
        }
        let mut places: Vec<usize> = units.into_iter().take(wanted).flatten().collect();
        places.sort_unstable();
        let masked = places.into_iter().map(|place| {
            let truth = ids[place] as u32;
            let draw = random.uniform_f64();
            if draw >= self.keep + self.random {
                ids[place] = vocabulary.mask as i32;
            } else if draw >= self.keep {
                let index = random.below(vocabulary.ordinary.len() as u64) as usize;
                ids[place] = vocabulary.ordinary[index] as i32;
            }
            (place, truth)
        });
        masked.collect()
    }
}
