//! The kind `embedding`: a text is the mean of the vectors of its features, and a linear layer
//! makes classes of it (A. Joulin, E. Grave, P. Bojanowski and T. Mikolov, "Bag of Tricks for
//! Efficient Text Classification", 2017). Words, sequences of words, and character n-grams of
//! words are features; BLAKE3 hashes each to one of `buckets` numbers.
//!
//! Trained as fastText does, by stochastic gradient descent over one example at a time with a
//! rate that falls to 0 in a line, but in one thread and in a shuffled order, so that a seed gives
//! one result. Features that no training text has are left out of the mean.

use ahash::AHashMap;
use rayon::prelude::*;

use super::Model;
use super::examples::{Classes, Examples, Text};
use super::report::Report;
use super::tfidf::is_space;
use crate::data::random::Random;
use crate::stage::Context;
use crate::stage::params::Params;
use crate::stage::progress::Progress;

/// Which features a text has.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// The most words of a feature; 0 for no words.
    pub words: usize,
    /// The fewest and the most characters of a feature, within a word and a sign before and
    /// after it; the most is 0 for none.
    pub chars: (usize, usize),
    pub buckets: u64,
}

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    pub dimension: usize,
    pub epochs: u64,
    pub learning_rate: f64,
    pub seed: u64,
}

/// Vectors of the features, and the linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    dimension: usize,
    classes: usize,
    /// A row for each feature.
    vectors: Vec<f32>,
    /// A row for each class.
    output: Vec<f32>,
}

pub(super) fn train(context: &Context, train: &Examples, classes: &Classes) -> Model {
    let params = context.params();
    let features = features(params);
    let training = Training {
        dimension: params.count("dimension"),
        epochs: params.int("epochs").unsigned_abs(),
        learning_rate: params.float("learning_rate"),
        seed: params.int("seed").unsigned_abs(),
    };
    let hashed: Vec<Vec<u64>> =
        train.texts.par_iter().map(|text| features.of_example(text)).collect();
    let mut numbers: AHashMap<u64, u32> = AHashMap::new();
    for hash in hashed.iter().flatten() {
        let next = numbers.len() as u32;
        numbers.entry(*hash).or_insert(next);
    }
    let rows: Vec<Vec<u32>> =
        hashed.iter().map(|row| row.iter().map(|hash| numbers[hash]).collect()).collect();
    let mut progress = Progress::new(context, "example");
    let total = training.epochs * rows.len() as u64;
    let (fitted, loss) = Embedding::fit(
        &rows,
        (&classes.of_rows, classes.names.len()),
        numbers.len(),
        training,
        |done| progress.update(done, total),
    );
    let report = Report {
        kind: "embedding",
        labels: classes.names.clone(),
        features: numbers.len(),
        train: None,
        valid: None,
        loss,
        iterations: None,
        converged: None,
        strongest: None,
    };
    let predict = move |examples: &Examples| {
        let one = |text: &Text| {
            let known = features.of_example(text);
            let known: Vec<u32> =
                known.iter().filter_map(|hash| numbers.get(hash).copied()).collect();
            fitted.probabilities(&known)
        };
        examples.texts.par_iter().map(one).collect()
    };
    Model { predict: Box::new(predict), report }
}

fn features(params: &Params) -> Features {
    Features {
        words: params.count("word_ngrams"),
        chars: (params.count("char_ngrams_min"), params.count("char_ngrams")),
        buckets: params.int("buckets").unsigned_abs(),
    }
}

impl Features {
    fn of_example(&self, text: &Text) -> Vec<u64> {
        let mut hashes = self.of_text("response", &text.response);
        hashes.extend(self.of_text("context", &text.context));
        hashes
    }

    /// The numbers of a text's features, as often as they occur. Texts in different parts have
    /// different features.
    pub fn of_text(&self, part: &str, text: &str) -> Vec<u64> {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
        let mut hashes = Vec::new();
        let mut hash = |kind: &str, of: &str| {
            let mut hasher = blake3::Hasher::new();
            [part, "\0", kind, "\0", of].iter().for_each(|it| {
                hasher.update(it.as_bytes());
            });
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
            hashes.push(u64::from_le_bytes(bytes) % self.buckets.max(1));
        };
        for first in 0..words.len() {
            for longest in 1..=self.words.min(words.len() - first) {
                hash("words", &words[first..first + longest].join(" "));
            }
            let (shortest, longest) = self.chars;
            let marked = format!("<{}>", words[first]);
            let mut places: Vec<usize> = marked.char_indices().map(|(place, _)| place).collect();
            places.push(marked.len());
            for n in shortest..=longest {
                places
                    .windows(n + 1)
                    .for_each(|window| hash("chars", &marked[window[0]..window[n]]));
            }
        }
        hashes
    }
}

impl Embedding {
    /// Trains on rows of feature numbers below `features`, each with a class in `0..classes`;
    /// returns the mean loss of the last epoch, too. `each` hears how many examples were seen.
    pub fn fit(
        rows: &[Vec<u32>],
        (of_rows, classes): (&[usize], usize),
        features: usize,
        training: Training,
        mut each: impl FnMut(u64),
    ) -> (Embedding, f64) {
        let Training { dimension, epochs, learning_rate, seed } = training;
        let mut vectors = vec![0.0; features * dimension];
        // Uniform in ±1/dimension, as there.
        Random::new(seed, "baseline vectors", 0, 0).fill_uniform(&mut vectors);
        let scale = 2.0 / dimension as f32;
        vectors.iter_mut().for_each(|it| *it = (*it - 0.5) * scale);
        let output = vec![0.0; classes * dimension];
        let mut model = Embedding { dimension, classes, vectors, output };
        let total = (epochs * rows.len() as u64) as f64;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut done = 0;
        let mut loss = 0.0;
        for epoch in 0..epochs {
            Random::new(seed, "baseline order", epoch, 0).shuffle(&mut order);
            loss = 0.0;
            for &row in &order {
                let rate = learning_rate * (1.0 - done as f64 / total);
                loss += model.step(&rows[row], of_rows[row], rate as f32);
                done += 1;
                each(done);
            }
        }
        (model, loss / rows.len().max(1) as f64)
    }

    /// One step of descent; returns the loss before it.
    fn step(&mut self, features: &[u32], class: usize, rate: f32) -> f64 {
        if features.is_empty() {
            return (self.classes as f64).ln();
        }
        let mean = self.mean(features);
        let probabilities = self.softmax(&mean);
        let mut gradient = vec![0.0; self.dimension];
        for (it, probability) in probabilities.iter().enumerate() {
            let error = rate * (f32::from(u8::from(it == class)) - *probability as f32);
            let weights = &mut self.output[it * self.dimension..(it + 1) * self.dimension];
            for ((gradient, weight), mean) in gradient.iter_mut().zip(weights).zip(&mean) {
                *gradient += error * *weight;
                *weight += error * mean;
            }
        }
        let share = 1.0 / features.len() as f32;
        gradient.iter_mut().for_each(|it| *it *= share);
        for &feature in features {
            let start = feature as usize * self.dimension;
            let vector = &mut self.vectors[start..start + self.dimension];
            vector.iter_mut().zip(&gradient).for_each(|(it, step)| *it += step);
        }
        -probabilities[class].max(f64::MIN_POSITIVE).ln()
    }

    /// The probability of each class; all are equal where a text has no features.
    pub fn probabilities(&self, features: &[u32]) -> Vec<f64> {
        self.softmax(&self.mean(features))
    }

    fn mean(&self, features: &[u32]) -> Vec<f32> {
        let mut mean = vec![0.0; self.dimension];
        for &feature in features {
            let start = feature as usize * self.dimension;
            let vector = &self.vectors[start..start + self.dimension];
            mean.iter_mut().zip(vector).for_each(|(mean, it)| *mean += it);
        }
        let share = 1.0 / features.len().max(1) as f32;
        mean.iter_mut().for_each(|it| *it *= share);
        mean
    }

    fn softmax(&self, mean: &[f32]) -> Vec<f64> {
        let margin = |weights: &[f32]| -> f64 {
            let products = weights.iter().zip(mean).map(|(weight, mean)| weight * mean);
            f64::from(products.sum::<f32>())
        };
        let mut values: Vec<f64> = self.output.chunks(self.dimension).map(margin).collect();
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        values.iter_mut().for_each(|it| *it = (*it - most).exp());
        let sum: f64 = values.iter().sum();
        values.iter_mut().for_each(|it| *it /= sum);
        values
    }
}
