//! The most similar texts: cosine of TF-IDF over words, so that a person sees how similar examples are
//! labelled.

use std::collections::BTreeMap;

/// An inverted index of texts.
pub struct WordIndex {
    /// The number of each word.
    words: BTreeMap<String, usize>,
    /// For each word the texts with it, and its weight in each.
    postings: Vec<Vec<(usize, f64)>>,
    idf: Vec<f64>,
}

impl WordIndex {
    pub fn new(texts: &[&str]) -> WordIndex {
        let mut words = BTreeMap::new();
        let mut postings: Vec<Vec<(usize, f64)>> = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            for (word, count) in counts(text) {
                let next = words.len();
                let number = *words.entry(word).or_insert(next);
                postings.resize_with(words.len(), Vec::new);
                postings[number].push((place, count));
            }
        }
        let idf: Vec<f64> = postings
            .iter()
            .map(|of| ((1 + texts.len()) as f64 / (1 + of.len()) as f64).ln() + 1.0)
            .collect();
        let mut squares = vec![0.0; texts.len()];
        for (postings, idf) in postings.iter_mut().zip(&idf) {
            for (place, weight) in postings {
                *weight *= idf;
                squares[*place] += *weight * *weight;
            }
        }
        for (place, weight) in postings.iter_mut().flatten() {
            *weight /= squares[*place].sqrt();
        }
        WordIndex { words, postings, idf }
    }

    /// The texts nearest to this one, with their cosine, but for those that `skip` names.
    pub fn nearest(
        &self,
        text: &str,
        most: usize,
        skip: impl Fn(usize) -> bool,
    ) -> Vec<(usize, f64)> {
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        let mut squares = 0.0;
        for (word, count) in counts(text) {
            let Some(&number) = self.words.get(&word) else { continue };
            let weight = count * self.idf[number];
            squares += weight * weight;
            for (place, other) in &self.postings[number] {
                *scores.entry(*place).or_default() += weight * other;
            }
        }
        let found = scores.into_iter().filter(|(place, _)| !skip(*place));
        let mut found: Vec<(usize, f64)> =
            found.map(|(place, score)| (place, score / squares.sqrt())).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(most);
        found
    }
}

/// The words of a text in lower case, without punctuation around them, and how often each occurs.
fn counts(text: &str) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for word in text.split(|character: char| !(character.is_alphanumeric() || character == '\'')) {
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_insert(0.0) += 1.0;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::WordIndex;

    #[test]
    fn a_text_with_the_same_rare_word_is_nearer_than_one_with_the_same_frequent_word() {
        let texts = ["the cat", "the dog", "a zebra", "the zebra", "the end"];
        let index = WordIndex::new(&texts);
        let found = index.nearest("the zebra", 2, |it| it == 3);
        assert_eq!(found.iter().map(|it| it.0).collect::<Vec<_>>()[0], 2);
        assert!((index.nearest("the zebra", 1, |_| false)[0].1 - 1.0).abs() < 1e-12);
        assert!(index.nearest("", 3, |_| false).is_empty());
    }
}
