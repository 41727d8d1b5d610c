//! Texts to weighted counts of n-grams: scikit-learn's `TfidfVectorizer`, with its analyzers
//! `word` (and its pattern of words, two letters, digits or underscores or more) and `char_wb`.
//!
//! An n-gram that occurs in d of n training texts has the weight ln((1 + n) / (1 + d)) + 1; in a
//! text it counts its number of occurrences (or 1 + ln of it) times that weight, and the
//! text's features are scaled to length 1. N-grams that no training text has are left out.

use std::sync::LazyLock;

use ahash::AHashMap;
use regex::Regex;

use crate::data::random::normal::ln;

/// What counts as a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analyzer {
    /// 1 to `longest` words that follow each other, with a space between.
    Words { longest: usize },
    /// `shortest` to `longest` characters within a word and the spaces around it.
    Chars { shortest: usize, longest: usize },
}

/// How features are chosen and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub analyzer: Analyzer,
    /// The fewest training texts that a feature occurs in.
    pub min_rows: usize,
    pub sublinear: bool,
}

/// Features that were found in training texts.
#[derive(Clone, Debug)]
pub struct Vectorizer {
    settings: Settings,
    /// In the order of their characters, which is that of their numbers.
    names: Vec<String>,
    numbers: AHashMap<String, u32>,
    weights: Vec<f64>,
}

impl Analyzer {
    /// Hands every n-gram of a text, in lower case, to `each`, as often as it occurs.
    pub fn each(&self, text: &str, mut each: impl FnMut(&str)) {
        let text = text.to_lowercase();
        match *self {
            Analyzer::Words { longest } => {
                let words: Vec<&str> = WORD.find_iter(&text).map(|found| found.as_str()).collect();
                let mut joined = String::new();
                for first in 0..words.len() {
                    joined.clear();
                    for word in words[first..].iter().take(longest) {
                        if !joined.is_empty() {
                            joined.push(' ');
                        }
                        joined.push_str(word);
                        each(&joined);
                    }
                }
            }
            Analyzer::Chars { shortest, longest } => {
                let mut padded = String::new();
                for word in text.split(is_space).filter(|word| !word.is_empty()) {
                    padded.clear();
                    padded.extend([" ", word, " "]);
                    each_chars(&padded, shortest, longest, &mut each);
                }
            }
        }
    }
}

/// A word shorter than an n-gram is one itself, once.
fn each_chars(word: &str, shortest: usize, longest: usize, each: &mut impl FnMut(&str)) {
    let mut places: Vec<usize> = word.char_indices().map(|(place, _)| place).collect();
    places.push(word.len());
    let length = places.len() - 1;
    for n in shortest..=longest {
        if n >= length {
            each(word);
            break;
        }
        places.windows(n + 1).for_each(|window| each(&word[window[0]..window[n]]));
    }
}

/// `\w\w+` as Python means it: `\w` of this crate has marks and joiners, too.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]{2,}").expect("the pattern is a constant"));

/// As `str.isspace` in Python, which knows four separators more.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

impl Vectorizer {
    /// Finds the features of training texts.
    pub fn fit(texts: &[&str], settings: Settings) -> Vectorizer {
        let mut rows_with: AHashMap<String, (u32, u32)> = AHashMap::new();
        for (text, number) in texts.iter().zip(1..) {
            // How many texts have it, and the last of them.
            settings.analyzer.each(text, |gram| match rows_with.get_mut(gram) {
                Some((_, last)) if *last == number => {}
                Some((rows, last)) => (*rows, *last) = (*rows + 1, number),
                None => {
                    rows_with.insert(gram.to_owned(), (1, number));
                }
            });
        }
        let mut found: Vec<(String, u32)> = rows_with
            .into_iter()
            .map(|(name, (rows, _))| (name, rows))
            .filter(|(_, rows)| *rows as usize >= settings.min_rows)
            .collect();
        found.sort_unstable();
        let n = texts.len() as f64;
        let weights =
            found.iter().map(|(_, rows)| ln((1.0 + n) / (1.0 + f64::from(*rows))) + 1.0).collect();
        let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
        let numbers = names.iter().cloned().zip(0..).collect();
        Vectorizer { settings, names, numbers, weights }
    }

    /// The features by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The features of a text, by number in ascending order.
    pub fn features(&self, text: &str) -> Vec<(u32, f64)> {
        let mut numbers = Vec::new();
        self.settings.analyzer.each(text, |gram| numbers.extend(self.numbers.get(gram).copied()));
        numbers.sort_unstable();
        let mut features: Vec<(u32, f64)> = numbers
            .chunk_by(|a, b| a == b)
            .map(|equal| {
                let count = equal.len() as f64;
                let count = if self.settings.sublinear { 1.0 + ln(count) } else { count };
                (equal[0], count * self.weights[equal[0] as usize])
            })
            .collect();
        let squares: f64 = features.iter().map(|(_, value)| value * value).sum();
        let length = squares.sqrt();
        if length > 0.0 {
            features.iter_mut().for_each(|(_, value)| *value /= length);
        }
        features
    }
}
