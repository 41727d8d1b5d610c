//! The kind `embedding`: the vector of a text is the mean of its features' vectors, and a linear
//! layer classifies it (A. Joulin, E. Grave, P. Bojanowski and T. Mikolov, "Bag of Tricks for
//! Efficient Text Classification", 2017). Features are words, word n-grams, and character n-grams
//! of words; BLAKE3 hashes each into one of `buckets` buckets.
//!
//! Training is fastText's: stochastic gradient descent, one example at a time, with a learning
//! rate that falls linearly to 0. Unlike fastText it uses one thread and a seeded shuffle, so that
//! a seed determines the result. Features without a training text are left out of the mean.

use ahash::AHashMap;
use rayon::prelude::*;

use super::examples::{Classes, Examples, context_text, response_text};
use super::fitted::Fitted;
use super::logistic::softmax;
use super::metrics::BaselineMetrics;
use super::params::{BaselineParams, EmbeddingParams};
use super::tfidf::is_space;
use crate::data::example::Example;
use crate::data::random::Random;
use crate::stage::Context;
use crate::stage::error::{StageError, hints};
use crate::stage::progress::Progress;

/// Which n-grams of a text are features.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// The longest word n-gram, in words; 0: none.
    pub words: usize,
    /// The shortest and the longest character n-gram, within a word between `<` and `>`; a longest
    /// of 0: none.
    pub chars: (usize, usize),
    pub buckets: u64,
}

/// The vectors of the features, and the linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    dimension: usize,
    classes: usize,
    /// `[features, dimension]`.
    vectors: Vec<f32>,
    /// `[classes, dimension]`.
    output: Vec<f32>,
}

/// Trains the classifier.
pub fn train(
    context: &Context,
    params: &BaselineParams,
    train: &Examples,
    classes: &Classes,
) -> Result<Fitted, StageError> {
    let features = Features {
        words: params.word_ngrams,
        chars: (params.char_ngrams_min, params.char_ngrams),
        buckets: params.buckets,
    };
    let hashed: Vec<Vec<u64>> =
        train.rows.par_iter().map(|example| features.of_example(example)).collect();
    let mut numbers: AHashMap<u64, u32> = AHashMap::new();
    for hash in hashed.iter().flatten() {
        let next = numbers.len() as u32;
        numbers.entry(*hash).or_insert(next);
    }
    let rows: Vec<Vec<u32>> =
        hashed.iter().map(|row| row.iter().map(|hash| numbers[hash]).collect()).collect();
    let mut progress = Progress::new(context, "example");
    let total = params.embedding.epochs * rows.len() as u64;
    let (fitted, loss) = Embedding::fit(
        &rows,
        (&classes.of_rows, classes.names.len()),
        numbers.len(),
        params.embedding,
        |done| progress.update(done, total),
    )?;
    let metrics = BaselineMetrics {
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
        let one = |example: &Example| {
            let known = features.of_example(example);
            let known: Vec<u32> =
                known.iter().filter_map(|hash| numbers.get(hash).copied()).collect();
            fitted.probabilities(&known)
        };
        examples.rows.par_iter().map(one).collect()
    };
    Ok(Fitted { predict: Box::new(predict), metrics })
}

impl Features {
    fn of_example(&self, example: &Example) -> Vec<u64> {
        let mut hashes = self.of_text("response", &response_text(example));
        hashes.extend(self.of_text("context", &context_text(example)));
        hashes
    }

    /// The bucket of every occurrence of a feature in a text. The same text has different features
    /// in different parts (response and context).
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
    /// Trains on rows of feature numbers in `0..features`, each row with a class in `0..classes`.
    /// Returns the model and the mean loss of the last epoch. `each` is called with the number of
    /// examples seen so far.
    ///
    /// # Errors
    /// The loss of an example is not finite.
    pub fn fit(
        rows: &[Vec<u32>],
        (of_rows, classes): (&[usize], usize),
        features: usize,
        params: EmbeddingParams,
        mut each: impl FnMut(u64),
    ) -> Result<(Embedding, f64), StageError> {
        let EmbeddingParams { dimension, epochs, learning_rate, seed } = params;
        let mut vectors = vec![0.0; features * dimension];
        // Uniform in ±1/dimension, as in fastText.
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
                let of_row = model.step(&rows[row], of_rows[row], rate as f32);
                done += 1;
                if !of_row.is_finite() {
                    let doing = format!("training diverged at example {done}");
                    let (what, hint) = ("the loss".to_owned(), hints::EMBEDDING);
                    return Err(StageError::NotFinite { doing, what, value: of_row, hint });
                }
                loss += of_row;
                each(done);
            }
        }
        Ok((model, loss / rows.len().max(1) as f64))
    }

    /// Takes one step of gradient descent. Returns the loss before the step.
    fn step(&mut self, features: &[u32], class: usize, rate: f32) -> f64 {
        if features.is_empty() {
            return (self.classes as f64).ln();
        }
        let mean = self.mean(features);
        let mut probabilities = self.margins(&mean);
        let loss = softmax(&mut probabilities, class);
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
        loss
    }

    /// The probability of each class; all are equal if there are no features.
    pub fn probabilities(&self, features: &[u32]) -> Vec<f64> {
        let mut values = self.margins(&self.mean(features));
        softmax(&mut values, 0);
        values
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

    fn margins(&self, mean: &[f32]) -> Vec<f64> {
        let margin = |weights: &[f32]| -> f64 {
            let products = weights.iter().zip(mean).map(|(weight, mean)| weight * mean);
            f64::from(products.sum::<f32>())
        };
        self.output.chunks(self.dimension).map(margin).collect()
    }
}
