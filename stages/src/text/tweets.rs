//! BERTweet's normalization of a tweet: mentions become `@USER`, links become `HTTPURL`, single
//! emoji become their names, words and punctuation are separated, and contractions are split as in
//! the Penn Treebank. Gives the same text as `BertweetTokenizer(normalization=True)` of
//! `transformers` with version 0.6.0 of the `emoji` package, whose names BERTweet was trained on.

use std::collections::HashMap;

use super::bertweet::is_space;
use super::entities::replace_entities;
use super::tweet_words::TweetWords;

/// Lines `character replacement`, ordered by code point. A variation selector has an empty
/// replacement.
const EMOJI: &str = include_str!("data/emoji.txt");

/// Applied in this order, each to the result of those before it.
const REPLACEMENTS: [(&str, &str); 15] = [
    ("cannot ", "can not "),
    ("n't ", " n't "),
    ("n 't ", " n't "),
    ("ca n't", "can't"),
    ("ai n't", "ain't"),
    ("'m ", " 'm "),
    ("'re ", " 're "),
    ("'s ", " 's "),
    ("'ll ", " 'll "),
    ("'d ", " 'd "),
    ("'ve ", " 've "),
    (" p . m .", "  p.m."),
    (" p . m ", " p.m "),
    (" a . m .", " a.m."),
    (" a . m ", " a.m "),
];

/// Normalizes tweets. Creating one compiles its patterns.
pub struct TweetNormalizer {
    words: TweetWords,
    emoji: HashMap<char, &'static str>,
}

impl TweetNormalizer {
    pub fn new() -> TweetNormalizer {
        let emoji = EMOJI.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (character, replacement) = line.split_once(' ')?;
            Some((character.chars().next()?, replacement))
        });
        TweetNormalizer { words: TweetWords::new(), emoji: emoji.collect() }
    }

    /// The normalized tweet: words with one space between them.
    pub fn normalize(&self, tweet: &str) -> String {
        let text = tweet.replace('’', "'").replace('…', "...");
        let text = shorten_runs(&replace_entities(&text));
        let words: Vec<String> =
            self.words.split(&text).into_iter().map(|word| self.word(word)).collect();
        let mut text = words.join(" ");
        for (from, to) in REPLACEMENTS {
            if text.contains(from) {
                text = text.replace(from, to);
            }
        }
        let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }

    /// As [`TweetNormalizer::normalize`], but keeps `marks` (the special tokens of the tokenizer)
    /// as they are where the tweet contains them.
    pub fn normalize_around(&self, tweet: &str, marks: &[String]) -> String {
        let mut normalized = String::new();
        let mut rest = tweet;
        while let Some((start, mark)) = first_mark(rest, marks) {
            normalized.push_str(&self.normalize(&rest[..start]));
            normalized.push_str(mark);
            rest = &rest[start + mark.len()..];
        }
        normalized.push_str(&self.normalize(rest));
        normalized
    }

    fn word(&self, word: &str) -> String {
        let begins = |prefix: &str| {
            word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if word.starts_with('@') {
            return "@USER".to_owned();
        }
        if begins("http") || begins("www") {
            return "HTTPURL".to_owned();
        }
        let mut characters = word.chars();
        match (characters.next(), characters.next()) {
            // An entity such as `&rsquo;` reintroduces a character that was replaced at the start.
            (Some('’'), None) => "'".to_owned(),
            (Some('…'), None) => "...".to_owned(),
            (Some(one), None) => {
                self.emoji.get(&one).map_or_else(|| word.to_owned(), |text| (*text).to_owned())
            }
            _ => word.to_owned(),
        }
    }
}

impl Default for TweetNormalizer {
    fn default() -> TweetNormalizer {
        TweetNormalizer::new()
    }
}

fn first_mark<'a>(text: &str, marks: &'a [String]) -> Option<(usize, &'a str)> {
    text.char_indices().find_map(|(at, _)| {
        let mark = marks.iter().find(|mark| text[at..].starts_with(mark.as_str()))?;
        Some((at, mark.as_str()))
    })
}

/// Shortens runs of more than three equal characters to three, except ASCII letters and digits.
fn shorten_runs(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut last = None;
    let mut run = 0;
    for character in text.chars() {
        run = if last == Some(character) { run + 1 } else { 1 };
        last = Some(character);
        if run <= 3 || character.is_ascii_alphanumeric() {
            short.push(character);
        }
    }
    short
}
