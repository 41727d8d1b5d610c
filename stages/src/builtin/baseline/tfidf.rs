//! TF-IDF features of n-grams, as scikit-learn's `TfidfVectorizer` computes them with its analyzers
//! `word` (a word is two or more letters, digits or underscores) and `char_wb`.
//!
//! An n-gram that occurs in d of n training texts has the weight ln((1 + n) / (1 + d)) + 1. Its
//! value in a text is the number of occurrences (or 1 + ln of that number) times the weight, and
//! the features of a text are scaled to length 1. N-grams without a training text are left out.

use std::sync::LazyLock;

use ahash::AHashMap;
use regex::Regex;

use crate::data::random::normal::ln;

/// The n-grams that are features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analyzer {
    /// 1 to `longest` consecutive words, joined by spaces.
    Words { longest: usize },
    /// `shortest` to `longest` characters of a word with a space on either side.
    Chars { shortest: usize, longest: usize },
}

/// How features are selected and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TfidfOptions {
    pub analyzer: Analyzer,
    /// Features in fewer training texts are dropped.
    pub min_rows: usize,
    /// Whether n occurrences count 1 + ln n instead of n.
    pub sublinear: bool,
}

/// The features of the training texts, with their weights.
#[derive(Clone, Debug)]
pub struct Vectorizer {
    options: TfidfOptions,
    /// By feature number, in ascending order of characters.
    names: Vec<String>,
    numbers: AHashMap<String, u32>,
    weights: Vec<f64>,
}

impl Analyzer {
    /// Calls `each` with every occurrence of an n-gram in the text, in lower case.
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

/// Calls `each` with the n-grams of a padded word. A word that is too short for an n-gram counts as
/// one itself, once.
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

/// Python's `\w\w+`. In this crate `\w` would also match marks and joiners.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]{2,}").expect("the pattern is a constant"));

/// Python's `str.isspace`, which includes four more separators than [`char::is_whitespace`].
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

impl Vectorizer {
    /// Finds the features of training texts.
    pub fn fit(texts: &[impl AsRef<str>], options: TfidfOptions) -> Vectorizer {
        let mut rows_with: AHashMap<String, (u32, u32)> = AHashMap::new();
        for (text, number) in texts.iter().zip(1..) {
            // The number of texts with the n-gram, and the last of these texts.
            options.analyzer.each(text.as_ref(), |gram| match rows_with.get_mut(gram) {
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
            .filter(|(_, rows)| *rows as usize >= options.min_rows)
            .collect();
        found.sort_unstable();
        let n = texts.len() as f64;
        let weights =
            found.iter().map(|(_, rows)| ln((1.0 + n) / (1.0 + f64::from(*rows))) + 1.0).collect();
        let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
        let numbers = names.iter().cloned().zip(0..).collect();
        Vectorizer { options, names, numbers, weights }
    }

    /// The n-grams by feature number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The features of a text as (feature number, value), in ascending order of numbers.
    pub fn features(&self, text: &str) -> Vec<(u32, f64)> {
        let mut numbers = Vec::new();
        self.options.analyzer.each(text, |gram| numbers.extend(self.numbers.get(gram).copied()));
        numbers.sort_unstable();
        let mut features: Vec<(u32, f64)> = numbers
            .chunk_by(|a, b| a == b)
            .map(|equal| {
                let count = equal.len() as f64;
                let count = if self.options.sublinear { 1.0 + ln(count) } else { count };
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
