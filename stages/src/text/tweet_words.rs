//! Splits a tweet into words as NLTK's `TweetTokenizer` does: links, telephone numbers, emoticons,
//! mentions, hashtags, addresses, words with apostrophes, and single characters.
//!
//! At each position the patterns are tried in NLTK's order, and the first match wins. They run in
//! linear time here; Python's backtracking can take exponential time on a hostile tweet. The one
//! pattern that looks behind and ahead, `naked_domain`, is implemented by hand.

use regex::Regex;

/// In Python's `regex`, a case-insensitive `[a-z]` also matches `İ`.
const LETTER: &str = r"a-z\x{130}";

/// John Gruber's pattern for links: a scheme, or a domain with a slash after it.
const LINK: &str = concat!(
    r"^(?i:(?:https?:(?:/{1,3}|[L0-9%])|[L0-9.\-]+[.][L]{2,13}/)",
    r"(?:[^\s()<>{}\[\]]+|\([^\s()]*?\([^\s()]+\)[^\s()]*?\)|\([^\s]+?\))+",
    r"(?:\([^\s()]*?\([^\s()]+\)[^\s()]*?\)|\([^\s]+?\)",
    r#"|[^\s`!()\[\]{};:'".,<>?«»“”‘’]))"#,
);

/// The patterns after those for links, in order.
const OTHERS: [&str; 12] = [
    // Telephone numbers.
    concat!(r"(?:(?:\+?[01][\x20*\-.)]*)?(?:\(?\d{3}[\x20*\-.)]*)?", r"\d{3}[\x20*\-.)]*\d{4})"),
    // Emoticons, eyes first, mouth first, and a heart.
    r"[<>]?[:;=8][\-o*']?[)\](\[dDpP/:}{@|\\]",
    r"[)\](\[dDpP/:}{@|\\][\-o*']?[:;=8][<>]?",
    r"<3",
    // HTML tags, arrows.
    r"<[^>\s]+>",
    r"-+>|<-+",
    // Mentions, hashtags, mail addresses.
    r"@[\w_]+",
    r"\#+[\w_]+[\w'_\-]*[\w_]+",
    r"[\w.+\-]+@[\w\-]+\.(?:[\w\-]\.?)+[\w\-]",
    // Words with apostrophes or dashes; numbers with fractions; other words; ellipses.
    r"[^\W\d_](?:[^\W\d_]|['\-_])+[^\W\d_]|[+\-]?\d+[,/.:\-]\d+[+\-]?|[\w_]+",
    r"\.(?:\s*\.)+",
    r"\S",
];

/// The longest word in bytes. Without a limit the search for each of n words could read the whole
/// rest of the tweet.
const LONGEST_WORD: usize = 4096;

/// The compiled patterns.
pub struct TweetWords {
    link: Regex,
    other: Regex,
    word_character: Regex,
}

impl TweetWords {
    pub fn new() -> TweetWords {
        let compile = |pattern: &str| Regex::new(pattern).expect("the patterns are constants");
        TweetWords {
            link: compile(&LINK.replace("[L", &format!("[{LETTER}"))),
            other: compile(&format!("^(?i:{})", OTHERS.join("|"))),
            word_character: compile(r"^\w"),
        }
    }

    /// The words in order, without the white space between them.
    pub fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut words = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..text.floor_char_boundary(at + LONGEST_WORD)];
            let length = self
                .link
                .find(rest)
                .map(|found| found.end())
                .or_else(|| self.naked_domain(&text[..at], rest))
                .or_else(|| self.other.find(rest).map(|found| found.end()));
            match length {
                Some(length) => {
                    words.push(&rest[..length]);
                    at += length;
                }
                None => at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
        words
    }

    /// The length of a domain name at the start of `rest`, for instance `example.co.uk`:
    /// `(?<!@)[a-z0-9]+(?:[.\-][a-z0-9]+)*[.](?:[a-z]{2,13})\b/?(?!@)`. The match ends with the
    /// last label that can be a top-level domain.
    fn naked_domain(&self, before: &str, rest: &str) -> Option<usize> {
        if before.ends_with('@') {
            return None;
        }
        let is_letter =
            |c: char| c.is_ascii_alphabetic() || matches!(c, '\u{130}' | '\u{17f}' | '\u{212a}');
        let is_label = |c: char| c.is_ascii_digit() || is_letter(c);
        let label_end = |from: usize| {
            rest[from..].find(|c| !is_label(c)).map_or(rest.len(), |length| from + length)
        };
        let mut end = label_end(0);
        if end == 0 {
            return None;
        }
        let mut best = None;
        while let Some(separator) = rest[end..].chars().next().filter(|c| matches!(c, '.' | '-')) {
            let start = end + 1;
            end = label_end(start);
            let label = &rest[start..end];
            if label.is_empty() {
                break;
            }
            let top_level = separator == '.'
                && label.chars().all(is_letter)
                && (2..=13).contains(&label.chars().count())
                && !self.word_character.is_match(&rest[end..]);
            if top_level {
                let after = &rest[end..];
                let slash = after.starts_with('/') && !after[1..].starts_with('@');
                if slash {
                    best = Some(end + 1);
                } else if !after.starts_with('@') {
                    best = Some(end);
                }
            }
        }
        best
    }
}
