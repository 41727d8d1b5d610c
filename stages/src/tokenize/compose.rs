//! From one example to one sequence: which turns of context go with the response, how the two
//! are put together, and what gives way when that is too long.

use std::borrow::Cow;

use super::rows::Row;
use crate::error::StageError;
use crate::text::{Sequence, TextTokenizer, TweetNormalizer};

/// The settings, as the stage's parameters give them.
pub struct Composer {
    /// How many of the last turns are used; `None` for all.
    pub turns: Option<usize>,
    pub mode: Mode,
    /// Stands between turns, and in [`Mode::Joined`] before the response.
    pub separator: String,
    /// In tokens, special tokens included.
    pub max_length: usize,
    pub side: Side,
    pub normalizer: Option<TweetNormalizer>,
}

/// How context and response become one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Two segments: the context, then the response.
    Pair,
    /// One text.
    Joined,
}

/// The side of a text that loses tokens when it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A sequence, and what was left out of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Composed {
    pub sequence: Sequence,
    /// Tokens that the untruncated sequence would have had more.
    pub lost_tokens: usize,
    /// Turns of context of which nothing is left.
    pub dropped_turns: usize,
}

impl Composer {
    /// Encodes one example.
    ///
    /// As a pair, the response is cut only when it does not fit by itself; the context gets the
    /// room that is left. Its oldest turns are dropped whole until the rest fits; if not even
    /// the newest does, that one is cut. Without any context the response stands alone, as one
    /// segment.
    pub fn compose(&self, tokenizer: &TextTokenizer, row: &Row) -> Result<Composed, StageError> {
        let wanted = self.turns.unwrap_or(usize::MAX);
        let turns = &row.context[row.context.len().saturating_sub(wanted)..];
        let turns: Vec<Cow<str>> =
            turns.iter().map(|turn| self.normalized(tokenizer, turn)).collect();
        let text = self.normalized(tokenizer, &row.text);
        match self.mode {
            Mode::Pair if !turns.is_empty() => self.pair(tokenizer, &turns, &text),
            Mode::Joined if !turns.is_empty() => {
                let mut joined = turns.join(&self.separator);
                joined.push_str(&self.separator);
                joined.push_str(&text);
                Ok(self.single(tokenizer, tokenizer.ids(&joined)?))
            }
            _ => Ok(self.single(tokenizer, tokenizer.ids(&text)?)),
        }
    }

    fn normalized<'a>(&self, tokenizer: &TextTokenizer, text: &'a str) -> Cow<'a, str> {
        match &self.normalizer {
            Some(normalizer) => {
                Cow::Owned(normalizer.normalize_around(text, tokenizer.special_texts()))
            }
            None => Cow::Borrowed(text),
        }
    }

    fn single(&self, tokenizer: &TextTokenizer, ids: Vec<u32>) -> Composed {
        let layout = tokenizer.layout();
        let kept = self.cut(&ids, self.max_length.saturating_sub(layout.single_specials()));
        let lost_tokens = ids.len() - kept.len();
        Composed { sequence: layout.single(kept), lost_tokens, dropped_turns: 0 }
    }

    fn pair(
        &self,
        tokenizer: &TextTokenizer,
        turns: &[Cow<str>],
        text: &str,
    ) -> Result<Composed, StageError> {
        let layout = tokenizer.layout();
        let response = tokenizer.ids(text)?;
        let context = tokenizer.ids(&turns.join(&self.separator))?;
        let whole = context.len();
        let room = self.max_length.saturating_sub(layout.pair_specials() + response.len());
        let (context, kept_turns) = match whole <= room {
            true => (context, turns.len()),
            false => self.newest(tokenizer, turns, room)?,
        };
        if context.is_empty() {
            let mut composed = self.single(tokenizer, response);
            composed.lost_tokens += whole;
            composed.dropped_turns = if whole == 0 { 0 } else { turns.len() };
            return Ok(composed);
        }
        Ok(Composed {
            sequence: layout.pair(&context, &response),
            // Pieces at the seams of turns may differ, so the difference is not always positive.
            lost_tokens: whole.saturating_sub(context.len()),
            dropped_turns: turns.len() - kept_turns,
        })
    }

    /// The ids of the newest turns that fit into `room` tokens, and how many turns these are; of
    /// the newest alone a part, if need be.
    fn newest(
        &self,
        tokenizer: &TextTokenizer,
        turns: &[Cow<str>],
        room: usize,
    ) -> Result<(Vec<u32>, usize), StageError> {
        let mut fitting = (Vec::new(), 0);
        for count in 1..=turns.len() {
            let newest = &turns[turns.len() - count..];
            let ids = tokenizer.ids(&newest.join(&self.separator))?;
            if ids.len() > room {
                if count == 1 {
                    fitting = (self.cut(&ids, room).to_vec(), 1);
                }
                break;
            }
            fitting = (ids, count);
        }
        Ok(fitting)
    }

    fn cut<'a>(&self, ids: &'a [u32], room: usize) -> &'a [u32] {
        let excess = ids.len().saturating_sub(room);
        match self.side {
            Side::Left => &ids[excess..],
            Side::Right => &ids[..ids.len() - excess],
        }
    }
}
