//! Marks in a text that are no words: links, mentions, hashtags, emoji, and characters that nobody sees.
//! `ingest` removes them, `audit` counts them.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::stage::choice::choice;

choice! {
    /// A kind of mark.
    pub enum Mark {
        Links = "links",
        Mentions = "mentions",
        Hashtags = "hashtags",
        Emoji = "emoji",
        /// Control characters, invisible characters, and those without a meaning.
        Odd = "odd",
    }
}

/// `<URL>` and `HTTPURL` stand for links in data sets of tweets.
static LINK: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"https?://\S+|\bwww\.\S+|<URL>|\bHTTPURL\b"));
static MENTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"\B@\w+"));
static HASHTAG: LazyLock<Regex> = LazyLock::new(|| pattern(r"\B#\w*[\p{L}_]\w*"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{error}"))
}

impl Mark {
    /// The kind with this name.
    pub fn named(name: &str) -> Option<Mark> {
        let all = [Mark::Links, Mark::Mentions, Mark::Hashtags, Mark::Emoji, Mark::Odd];
        all.into_iter().find(|mark| mark.word() == name)
    }

    /// The name of the kind.
    pub fn word(self) -> &'static str {
        Mark::WORDS[self as usize]
    }

    /// The occurrences in a text; of emoji and odd characters, each character.
    pub fn occurrences(self, text: &str) -> Vec<&str> {
        let characters = |is: fn(char) -> bool| text.matches(is).collect();
        match self {
            Mark::Links => LINK.find_iter(text).map(|it| it.as_str()).collect(),
            Mark::Mentions => MENTION.find_iter(text).map(|it| it.as_str()).collect(),
            Mark::Hashtags => HASHTAG.find_iter(text).map(|it| it.as_str()).collect(),
            Mark::Emoji => characters(is_emoji),
            Mark::Odd => characters(is_odd),
        }
    }

    /// The text without its marks. White space around them stays.
    pub fn strip(self, text: &str) -> Cow<'_, str> {
        match self {
            Mark::Links => LINK.replace_all(text, ""),
            Mark::Mentions => MENTION.replace_all(text, ""),
            Mark::Hashtags => HASHTAG.replace_all(text, ""),
            Mark::Emoji => without(text, is_emoji),
            Mark::Odd => without(text, is_odd),
        }
    }
}

fn without(text: &str, is: fn(char) -> bool) -> Cow<'_, str> {
    match text.contains(is) {
        true => Cow::Owned(text.replace(is, "")),
        false => Cow::Borrowed(text),
    }
}

/// The text with each run of white space as one space, and none at its ends.
pub fn collapsed(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// Pictures, symbols that are shown as pictures, and the characters that join or vary them.
fn is_emoji(character: char) -> bool {
    matches!(character,
        '\u{1F000}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{2B05}'..='\u{2B55}'
        | '\u{231A}'..='\u{23FF}' | '\u{FE0E}'..='\u{FE0F}' | '\u{200D}' | '\u{20E3}'
        | '\u{E0020}'..='\u{E007F}')
}

/// Control characters other than white space, invisible characters, private use, and U+FFFD, which
/// stands for bytes that somebody could not decode.
fn is_odd(character: char) -> bool {
    (character.is_control() && !character.is_whitespace())
        || matches!(character,
            '\u{AD}' | '\u{200B}'..='\u{200C}' | '\u{200E}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFD}'
            | '\u{E000}'..='\u{F8FF}')
}

#[cfg(test)]
mod tests {
    use super::{Mark, collapsed};

    #[test]
    fn a_mark_is_removed_and_its_neighbours_stay() {
        let text = "so @USER, #Sad! see https://x.yz/a <URL> me@home.org &#39; #1 ☺️\u{200b}";
        assert_eq!(Mark::Mentions.strip("a @USER, b"), "a , b");
        assert_eq!(Mark::Mentions.occurrences(text), ["@USER"]);
        assert_eq!(Mark::Hashtags.occurrences(text), ["#Sad"]);
        assert_eq!(Mark::Links.occurrences(text), ["https://x.yz/a", "<URL>"]);
        assert_eq!(Mark::Emoji.strip("x ☺️ y 👩‍👧"), "x  y ");
        assert_eq!(Mark::Odd.strip("a\u{200b}b\u{fffd}\u{7}"), "ab");
        assert_eq!(Mark::Odd.strip("line\nbreak"), "line\nbreak");
    }

    #[test]
    fn white_space_of_any_kind_becomes_one_space() {
        assert_eq!(collapsed(" \u{a0}a \t\n b  "), "a b");
        assert_eq!(collapsed(" \n"), "");
    }
}
