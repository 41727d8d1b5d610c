//! The kind `ngram`: logistic regression on TF-IDF features. Word and character n-grams of the
//! response and of the context are separate blocks of features.

use std::borrow::Cow;

use rayon::prelude::*;

use super::examples::{Classes, Examples, context_text, response_text};
use super::fitted::Fitted;
use super::lbfgs::NotFinite;
use super::logistic::Logistic;
use super::metrics::{BaselineMetrics, strongest};
use super::params::BaselineParams;
use super::sparse::Matrix;
use super::tfidf::{Analyzer, TfidfOptions, Vectorizer};
use crate::data::example::Example;
use crate::stage::Context;
use crate::stage::error::{StageError, hints};
use crate::stage::progress::Progress;

/// The features of one part of the examples by one analyzer.
pub struct Block {
    part: fn(&Example) -> Cow<'_, str>,
    /// The prefix of its features' names in `metrics.json`.
    name: &'static str,
    vectorizer: Vectorizer,
}

/// Trains the classifier.
pub fn train(
    context: &Context,
    params: &BaselineParams,
    train: &Examples,
    classes: &Classes,
) -> Result<Fitted, StageError> {
    let blocks = blocks(params, train);
    let rows = matrix(&blocks, train);
    let mut progress = Progress::new(context, "iteration");
    let (fitted, outcome) =
        Logistic::fit(&rows, &classes.of_rows, classes.names.len(), params.c, |number| {
            progress.update_unknown(number as u64);
        })
        .map_err(diverged)?;
    let names = feature_names(&blocks);
    let metrics = BaselineMetrics {
        kind: "ngram",
        labels: classes.names.clone(),
        features: names.len(),
        train: None,
        valid: None,
        loss: outcome.value,
        iterations: Some(outcome.iterations),
        converged: Some(outcome.converged),
        strongest: Some(strongest(&fitted, &classes.names, &names)),
    };
    Ok(Fitted {
        predict: Box::new(move |examples| fitted.probabilities(&matrix(&blocks, examples))),
        metrics,
    })
}

/// The error of a minimisation that left the finite numbers.
pub fn diverged(NotFinite { iteration, value }: NotFinite) -> StageError {
    let doing = format!("training diverged at iteration {}", iteration + 1);
    let what = "the loss or its gradient".to_owned();
    StageError::NotFinite { doing, what, value, hint: hints::REGRESSION }
}

/// The names of the features of all blocks.
pub fn feature_names(blocks: &[Block]) -> Vec<String> {
    let names = blocks
        .iter()
        .flat_map(|block| block.vectorizer.names().iter().map(|it| format!("{}{it}", block.name)));
    names.collect()
}

/// The blocks of features that the parameters ask for, fitted to the training examples.
pub fn blocks(params: &BaselineParams, train: &Examples) -> Vec<Block> {
    let words = Analyzer::Words { longest: params.word_ngrams };
    let chars = Analyzer::Chars { shortest: params.char_ngrams_min, longest: params.char_ngrams };
    let wanted = [(params.word_ngrams > 0, words), (params.char_ngrams > 0, chars)];
    let response: fn(&Example) -> Cow<'_, str> = response_text;
    let mut parts = vec![(response, ["word ", "chars "])];
    if params.context != Some(0) {
        parts.push((context_text, ["context word ", "context chars "]));
    }
    let BaselineParams { min_rows, sublinear, .. } = *params;
    let mut blocks = Vec::new();
    for (part, names) in parts {
        for ((_, analyzer), name) in wanted.iter().zip(names).filter(|((wanted, _), _)| *wanted) {
            let options = TfidfOptions { analyzer: *analyzer, min_rows, sublinear };
            let texts: Vec<Cow<'_, str>> = train.rows.iter().map(part).collect();
            blocks.push(Block { part, name, vectorizer: Vectorizer::fit(&texts, options) });
        }
    }
    blocks
}

/// The features of all blocks side by side, one row per example.
pub fn matrix(blocks: &[Block], examples: &Examples) -> Matrix {
    let rows: Vec<Vec<(u32, f64)>> = examples
        .rows
        .par_iter()
        .map(|example| {
            let (mut row, mut before) = (Vec::new(), 0);
            for block in blocks {
                let features = block.vectorizer.features(&(block.part)(example));
                row.extend(features.into_iter().map(|(number, value)| (before + number, value)));
                before += block.vectorizer.names().len() as u32;
            }
            row
        })
        .collect();
    let columns = blocks.iter().map(|block| block.vectorizer.names().len()).sum();
    Matrix::new(columns, rows)
}
