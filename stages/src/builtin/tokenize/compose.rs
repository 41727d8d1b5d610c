//! From one example to one sequence: which turns of context go with the response, how the two
//! are put together, and what gives way when that is too long.

use std::borrow::Cow;

use super::rows::Row;
use crate::data::token_file::Sequence;
use crate::stage::error::StageError;
use crate::text::{TextTokenizer, TweetNormalizer};

/// The settings, as the stage's parameters give them.
pub struct Composer {
    /// How many of the last turns are used; `None` for all.
    pub turns: Option<usize>,
    pub mode: Mode,
    /// Whether the response comes before the context.
    pub response_first: bool,
    /// Stands between turns, and in [`Mode::Joined`] between context and response.
    pub separator: String,
    /// Whether the end of the first turn that does not fit whole fills the room that is left.
    pub partial_turn: bool,
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
    /// The response is cut only when it does not fit by itself; the context gets the room that is
    /// left. Its oldest turns are dropped whole until the rest fits. If not even the newest does,
    /// that one is cut; with `partial_turn` the last of those dropped keeps as much of its end as
    /// fits. Without any context the response stands alone, as one segment.
    pub fn compose(&self, tokenizer: &TextTokenizer, row: &Row) -> Result<Composed, StageError> {
        let wanted = self.turns.unwrap_or(usize::MAX);
        let turns = &row.context[row.context.len().saturating_sub(wanted)..];
        let turns: Vec<Cow<str>> =
            turns.iter().map(|turn| self.normalized(tokenizer, turn)).collect();
        let text = self.normalized(tokenizer, &row.text);
        if turns.is_empty() {
            return Ok(self.single(tokenizer, tokenizer.ids(&text)?));
        }
        match self.mode {
            Mode::Pair => self.pair(tokenizer, &turns, &text),
            Mode::Joined => self.joined(tokenizer, &turns, &text),
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
            return Ok(self.response_alone(tokenizer, response, whole, turns.len()));
        }
        let sequence = match self.response_first {
            false => layout.pair(&context, &response),
            true => layout.pair(&response, &context),
        };
        Ok(Composed {
            sequence,
            // Pieces at the seams of turns may differ, so the difference is not always positive.
            lost_tokens: whole.saturating_sub(context.len()),
            dropped_turns: turns.len() - kept_turns,
        })
    }

    fn joined(
        &self,
        tokenizer: &TextTokenizer,
        turns: &[Cow<str>],
        text: &str,
    ) -> Result<Composed, StageError> {
        let layout = tokenizer.layout();
        let limit = self.max_length.saturating_sub(layout.single_specials());
        let separator = &self.separator;
        let ids_with = |turns: &[Cow<str>]| {
            let context = turns.join(separator);
            tokenizer.ids(&match self.response_first {
                false => format!("{context}{separator}{text}"),
                true => format!("{text}{separator}{context}"),
            })
        };
        let whole = ids_with(turns)?;
        if whole.len() <= limit {
            return Ok(self.single(tokenizer, whole));
        }
        let mut kept = (Vec::new(), 0);
        for count in 1..turns.len() {
            let ids = ids_with(&turns[turns.len() - count..])?;
            if ids.len() > limit {
                break;
            }
            kept = (ids, count);
        }
        if kept.1 == 0 || self.partial_turn {
            // Cut between the two, so that the context alone gives way; the separator is the
            // response's.
            let response = tokenizer.ids(&match self.response_first {
                false => format!("{separator}{text}"),
                true => format!("{text}{separator}"),
            })?;
            let room = limit.saturating_sub(response.len());
            let (context, count) = self.newest(tokenizer, turns, room)?;
            if !context.is_empty() && context.len() + response.len() > kept.0.len() {
                let parts = match self.response_first {
                    false => [context, response],
                    true => [response, context],
                };
                kept = (parts.concat(), count);
            }
        }
        if kept.1 == 0 {
            let response = tokenizer.ids(text)?;
            let lost = whole.len().saturating_sub(response.len());
            return Ok(self.response_alone(tokenizer, response, lost, turns.len()));
        }
        Ok(Composed {
            lost_tokens: whole.len().saturating_sub(kept.0.len()),
            sequence: layout.single(&kept.0),
            dropped_turns: turns.len() - kept.1,
        })
    }

    /// No token of the context is left, of the `context` ones that there were in `turns` turns.
    fn response_alone(
        &self,
        tokenizer: &TextTokenizer,
        response: Vec<u32>,
        context: usize,
        turns: usize,
    ) -> Composed {
        let mut composed = self.single(tokenizer, response);
        composed.lost_tokens += context;
        composed.dropped_turns = if context == 0 { 0 } else { turns };
        composed
    }

    /// The ids of the newest turns that fit into `room` tokens, and how many turns these are;
    /// where need be or [`Composer::partial_turn`] wants it, a part of the oldest of them.
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
                if self.partial_turn && room > fitting.0.len() {
                    fitting = (ids[ids.len() - room..].to_vec(), count);
                } else if count == 1 {
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
