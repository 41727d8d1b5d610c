//! The positions of a model's special tokens around one text or two: `<s> A </s></s> B </s>`. The
//! layout is read from the tokenizer once. Sequences are then built from plain ids, so that
//! `tokenize` can truncate in its own way.

use crate::data::token_file::Sequence;

use tokenizers::tokenizer::{Encoding, Token, Tokenizer};

/// The special tokens around one text and around two, in order, each with its token type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokenLayout {
    single: Vec<Slot>,
    pair: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Special { id: u32, kind: u8 },
    First { kind: u8 },
    Second { kind: u8 },
}

/// Placeholders for the texts when the layout is read from a tokenizer. No vocabulary has these
/// ids.
const FIRST: u32 = u32::MAX - 1;
const SECOND: u32 = u32::MAX;

impl SpecialTokenLayout {
    /// RoBERTa's: `<s> A </s>` and `<s> A </s></s> B </s>`, without token types.
    pub fn roberta(cls: u32, sep: u32) -> SpecialTokenLayout {
        let special = |id| Slot::Special { id, kind: 0 };
        let first = Slot::First { kind: 0 };
        let second = Slot::Second { kind: 0 };
        SpecialTokenLayout {
            single: vec![special(cls), first, special(sep)],
            pair: vec![special(cls), first, special(sep), special(sep), second, special(sep)],
        }
    }

    /// Runs the tokenizer's post-processor on one placeholder for each text.
    ///
    /// # Errors
    /// The problem in words: the post-processor fails, or does not keep each text exactly once.
    pub fn of(tokenizer: &Tokenizer) -> Result<SpecialTokenLayout, String> {
        let placeholder =
            |id| Encoding::from_tokens(vec![Token::new(id, String::new(), (0, 0))], 0);
        let slots = |second: bool| {
            let pair = second.then(|| placeholder(SECOND));
            let encoding = tokenizer
                .post_process(placeholder(FIRST), pair, true)
                .map_err(|error| error.to_string())?;
            let types = encoding.get_type_ids();
            let slots: Vec<Slot> = encoding.get_ids().iter().zip(types).map(slot).collect();
            let count =
                |wanted: fn(&Slot) -> bool| slots.iter().filter(|slot| wanted(slot)).count();
            let firsts = count(|slot| matches!(slot, Slot::First { .. }));
            let seconds = count(|slot| matches!(slot, Slot::Second { .. }));
            match firsts == 1 && seconds == usize::from(second) {
                true => Ok(slots),
                false => Err("its post-processor does not keep each text once".to_owned()),
            }
        };
        Ok(SpecialTokenLayout { single: slots(false)?, pair: slots(true)? })
    }

    /// How many special tokens are put around one text.
    pub fn single_specials(&self) -> usize {
        self.single.len() - 1
    }

    /// How many special tokens are put around two texts.
    pub fn pair_specials(&self) -> usize {
        self.pair.len() - 2
    }

    /// The layout as numbers, for a digest.
    pub fn numbers(&self) -> Vec<[u32; 3]> {
        let number = |slot: &Slot| match *slot {
            Slot::Special { id, kind } => [0, id, kind.into()],
            Slot::First { kind } => [1, 0, kind.into()],
            Slot::Second { kind } => [2, 0, kind.into()],
        };
        self.single.iter().chain(&self.pair).map(number).collect()
    }

    /// One text with its special tokens.
    pub fn single(&self, text: &[u32]) -> Sequence {
        fill(&self.single, text, &[])
    }

    /// Two texts with their special tokens.
    pub fn pair(&self, first: &[u32], second: &[u32]) -> Sequence {
        fill(&self.pair, first, second)
    }
}

fn slot((id, kind): (&u32, &u32)) -> Slot {
    // Token types are 0 or 1 in every family. A larger type is clamped here and rejected by the
    // model's type table.
    let kind = u8::try_from(*kind).unwrap_or(u8::MAX);
    match *id {
        FIRST => Slot::First { kind },
        SECOND => Slot::Second { kind },
        id => Slot::Special { id, kind },
    }
}

fn fill(slots: &[Slot], first: &[u32], second: &[u32]) -> Sequence {
    let mut sequence = Sequence::default();
    for slot in slots {
        match slot {
            Slot::Special { id, kind } => sequence.push(&[*id], *kind),
            Slot::First { kind } => sequence.push(first, *kind),
            Slot::Second { kind } => sequence.push(second, *kind),
        }
    }
    sequence
}
