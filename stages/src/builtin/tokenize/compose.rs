//! Composes one sequence from one example: selects the turns of context, joins them with the
//! response, and truncates what is too long, or divides it into windows.

use std::borrow::Cow;
use std::ops::Range;

use super::params::{ContextMode, ResponsePlace, TokenizeParams, TruncatedSide};
use crate::data::example::Example;
use crate::data::token_file::Sequence;
use crate::model::config::ModelConfig;
use crate::stage::error::StageError;
use crate::text::{TextTokenizer, TweetNormalizer};

/// Composes sequences for one model, as the parameters say.
pub struct Composer {
    /// How many of the last turns to use; `None` for all.
    turns: Option<usize>,
    mode: ContextMode,
    pub response: ResponsePlace,
    /// The text between turns, and in [`ContextMode::Joined`] between context and response.
    separator: String,
    /// Whether the end of the first turn that does not fit fills the remaining room.
    partial_turn: bool,
    /// In tokens, special tokens included.
    pub max_length: usize,
    pub side: TruncatedSide,
    /// How many tokens neighbouring windows share; `None`: a response that does not fit is truncated.
    pub stride: Option<usize>,
    normalizer: Option<TweetNormalizer>,
}

/// The sequence of an example, or its windows, and how much of the example they lack.
#[derive(Debug, PartialEq, Eq)]
pub struct Composed {
    /// At least one.
    pub windows: Vec<Sequence>,
    /// How many tokens of the example are in none of them.
    pub lost_tokens: usize,
    /// Turns of context that are not in the sequence at all.
    pub dropped_turns: usize,
}

impl Composer {
    /// # Errors
    /// `max_length` is beyond the limit of the model or leaves no room for text; `window_stride`
    /// leaves no room for new tokens in a window; `turn_separator` is `sep` and the tokenizer has no
    /// separator token.
    pub fn new(
        params: &TokenizeParams,
        config: &ModelConfig,
        tokenizer: &TextTokenizer,
    ) -> Result<Composer, StageError> {
        let limit = config.max_tokens();
        let max_length = params.max_length.unwrap_or(limit);
        let specials = tokenizer.layout().single_specials();
        let problem = if max_length > limit {
            Some(format!("is {max_length}, the model takes {limit} tokens at most"))
        } else if max_length <= specials {
            Some(format!("is {max_length}, the model's special tokens alone are {specials}"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(StageError::Param { name: "max_length", problem });
        }
        if let Some(stride) = params.window_stride.filter(|it| *it >= max_length - specials) {
            let problem = format!(
                "neighbouring windows cannot share {stride} tokens: a window of {max_length} has room \
                 for {} beside the special tokens, and at least one of these must be new; give a \
                 smaller `window_stride`, or a larger `max_length` (the model takes {limit})",
                max_length - specials
            );
            return Err(StageError::Param { name: "window_stride", problem });
        }
        Ok(Composer {
            turns: params.context,
            mode: params.context_mode,
            response: params.response,
            separator: separator(&params.turn_separator, tokenizer)?,
            partial_turn: params.partial_turn,
            max_length,
            side: params.truncate,
            stride: params.window_stride,
            normalizer: params.normalize_tweets.then(TweetNormalizer::new),
        })
    }

    /// Encodes one example.
    ///
    /// The response is truncated only if it does not fit by itself; the context gets the remaining
    /// room. Its oldest turns are dropped whole until the rest fits. If not even the newest turn
    /// fits, it is truncated. With `partial_turn` the last turn to be dropped keeps as much of its
    /// end as fits. Without context the response is a single segment.
    ///
    /// With a stride, a response that does not fit by itself is not truncated but divided into
    /// windows. Like a truncated one it leaves no room for context.
    ///
    /// # Errors
    /// The tokenizer fails on a text.
    pub fn compose(
        &self,
        tokenizer: &TextTokenizer,
        row: &Example,
    ) -> Result<Composed, StageError> {
        let wanted = self.turns.unwrap_or(usize::MAX);
        let turns = &row.context[row.context.len().saturating_sub(wanted)..];
        let turns: Vec<Cow<str>> =
            turns.iter().map(|turn| self.normalized(tokenizer, turn)).collect();
        let text = self.normalized(tokenizer, &row.text);
        if turns.is_empty() {
            return Ok(self.single(tokenizer, tokenizer.ids(&text)?));
        }
        match self.mode {
            ContextMode::Pair => self.pair(tokenizer, &turns, &text),
            ContextMode::Joined => self.joined(tokenizer, &turns, &text),
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
        let room = self.max_length.saturating_sub(layout.single_specials());
        if let Some(stride) = self.stride {
            let parts = windows(ids.len(), room, stride).map(|part| layout.single(&ids[part]));
            return Composed { windows: parts.collect(), lost_tokens: 0, dropped_turns: 0 };
        }
        let kept = self.cut(&ids, room);
        let lost_tokens = ids.len() - kept.len();
        Composed { windows: vec![layout.single(kept)], lost_tokens, dropped_turns: 0 }
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
        let sequence = match self.response {
            ResponsePlace::Last => layout.pair(&context, &response),
            ResponsePlace::First => layout.pair(&response, &context),
        };
        Ok(Composed {
            windows: vec![sequence],
            // Where turns meet, their tokens may differ, so the difference can be negative.
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
            tokenizer.ids(&match self.response {
                ResponsePlace::Last => format!("{context}{separator}{text}"),
                ResponsePlace::First => format!("{text}{separator}{context}"),
            })
        };
        let whole = ids_with(turns)?;
        if whole.len() <= limit {
            return Ok(self.single(tokenizer, whole));
        }
        let mut kept = (Vec::new(), 0);
        grow(turns.len() - 1, |count| {
            let ids = ids_with(&turns[turns.len() - count..])?;
            let fits = ids.len() <= limit;
            if fits {
                kept = (ids, count);
            }
            Ok(fits)
        })?;
        if kept.1 == 0 || self.partial_turn {
            // Encode the two apart, so that only the context is truncated. The separator belongs
            // to the response.
            let response = tokenizer.ids(&match self.response {
                ResponsePlace::Last => format!("{separator}{text}"),
                ResponsePlace::First => format!("{text}{separator}"),
            })?;
            let room = limit.saturating_sub(response.len());
            let (context, count) = self.newest(tokenizer, turns, room)?;
            if !context.is_empty() && context.len() + response.len() > kept.0.len() {
                let parts = match self.response {
                    ResponsePlace::Last => [context, response],
                    ResponsePlace::First => [response, context],
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
            windows: vec![layout.single(&kept.0)],
            dropped_turns: turns.len() - kept.1,
        })
    }

    /// The response without its context, which had `context` tokens in `turns` turns.
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

    /// The ids of the newest turns that fit into `room` tokens, and the number of these turns. The
    /// oldest of them may be truncated: if it is the only one, or with `partial_turn`.
    fn newest(
        &self,
        tokenizer: &TextTokenizer,
        turns: &[Cow<str>],
        room: usize,
    ) -> Result<(Vec<u32>, usize), StageError> {
        let (mut fitting, mut too_long) = ((Vec::new(), 0), None);
        grow(turns.len(), |count| {
            let newest = &turns[turns.len() - count..];
            let ids = tokenizer.ids(&newest.join(&self.separator))?;
            let fits = ids.len() <= room;
            match fits {
                true => fitting = (ids, count),
                false => too_long = Some((ids, count)),
            }
            Ok(fits)
        })?;
        if let Some((ids, count)) = too_long {
            if self.partial_turn && room > fitting.0.len() {
                fitting = (ids[ids.len() - room..].to_vec(), count);
            } else if count == 1 {
                fitting = (self.cut(&ids, room).to_vec(), 1);
            }
        }
        Ok(fitting)
    }

    fn cut<'a>(&self, ids: &'a [u32], room: usize) -> &'a [u32] {
        let excess = ids.len().saturating_sub(room);
        match self.side {
            TruncatedSide::Left => &ids[excess..],
            TruncatedSide::Right => &ids[..ids.len() - excess],
        }
    }
}

/// Mostly turns without tokens reach beyond so many that fit.
const ONE_BY_ONE: usize = 1024;

/// Asks for growing numbers of turns, up to `most`, whether they fit, until some do not. The last calls that
/// are answered with yes and with no are for neighbouring numbers. Beyond [`ONE_BY_ONE`] the steps double and
/// are then halved, since the time of a call grows with its number.
fn grow(
    most: usize,
    mut fits: impl FnMut(usize) -> Result<bool, StageError>,
) -> Result<(), StageError> {
    let (mut fitting, mut step) = (0, 1);
    while fitting < most {
        let next = most.min(fitting + step);
        if !fits(next)? {
            let mut too_many = next;
            while too_many - fitting > 1 {
                let middle = fitting.midpoint(too_many);
                match fits(middle)? {
                    true => fitting = middle,
                    false => too_many = middle,
                }
            }
            return Ok(());
        }
        fitting = next;
        if fitting >= ONE_BY_ONE {
            step *= 2;
        }
    }
    Ok(())
}

/// The windows of at most `room` tokens of a text with this many, as those of `transformers` with
/// `return_overflowing_tokens` and a `stride` below `room`: each begins with the last `stride` tokens
/// of the one before it, and the last one ends with the text. A text that fits has one window, even if
/// it is empty.
fn windows(tokens: usize, room: usize, stride: usize) -> impl Iterator<Item = Range<usize>> {
    let further = tokens.saturating_sub(room).div_ceil(room - stride);
    (0..=further).map(move |window| {
        let start = window * (room - stride);
        start..tokens.min(start + room)
    })
}

/// The text between turns: `sep` means the tokenizer's separator token.
fn separator(given: &str, tokenizer: &TextTokenizer) -> Result<String, StageError> {
    if given != "sep" {
        return Ok(given.to_owned());
    }
    let token = tokenizer.special_ids().sep.and_then(|id| tokenizer.token_text(id));
    token.ok_or_else(|| StageError::Param {
        name: "turn_separator",
        problem: "is `sep`, but the tokenizer has no separator token".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest number that was answered with yes, the smallest with no, and the number of calls.
    fn grown(most: usize, limit: usize) -> (usize, Option<usize>, usize) {
        let (mut fitting, mut too_many, mut calls) = (0, None, 0);
        grow(most, |count| {
            calls += 1;
            let fits = count <= limit;
            match fits {
                true => fitting = count,
                false => too_many = Some(count),
            }
            Ok(fits)
        })
        .unwrap();
        (fitting, too_many, calls)
    }

    #[test]
    fn turns_are_added_until_one_does_not_fit_in_few_steps_however_many_there_are() {
        for limit in [0, 1, 5, ONE_BY_ONE - 1, ONE_BY_ONE, ONE_BY_ONE + 1, 5000, 100_000] {
            let (fitting, too_many, calls) = grown(1_000_000, limit);
            assert_eq!((fitting, too_many), (limit, Some(limit + 1)));
            assert!(calls <= ONE_BY_ONE + 40, "{calls}");
        }
        assert_eq!(grown(3, 7), (3, None, 3));
        assert_eq!(grown(0, 7), (0, None, 0));
        let (fitting, too_many, calls) = grown(340_000, usize::MAX);
        assert!(fitting == 340_000 && too_many.is_none() && calls < ONE_BY_ONE + 40, "{calls}");
    }
}
