//! The kind `ngram`: features of words and of characters, of the response and of the context,
//! side by side, and logistic regression on all of them.

use rayon::prelude::*;

use super::Model;
use super::examples::{Classes, Examples, Text};
use super::logistic::Logistic;
use super::report::{Report, strongest};
use super::sparse::Matrix;
use super::tfidf::{Analyzer, Settings, Vectorizer};
use crate::stage::Context;
use crate::stage::params::Params;
use crate::stage::progress::Progress;

/// Features of one part of the examples by one analyzer.
struct Block {
    part: fn(&Text) -> &str,
    /// What its features are called in the report.
    name: &'static str,
    vectorizer: Vectorizer,
}

pub(super) fn train(context: &Context, train: &Examples, classes: &Classes) -> Model {
    let params = context.params();
    let blocks = blocks(params, train);
    let rows = matrix(&blocks, train);
    let mut progress = Progress::new(context, "iteration");
    let (fitted, outcome) =
        Logistic::fit(&rows, &classes.of_rows, classes.names.len(), params.float("c"), |number| {
            progress.update_unknown(number as u64);
        });
    let names: Vec<String> = blocks
        .iter()
        .flat_map(|block| block.vectorizer.names().iter().map(|it| format!("{}{it}", block.name)))
        .collect();
    let report = Report {
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
    Model {
        predict: Box::new(move |examples| fitted.probabilities(&matrix(&blocks, examples))),
        report,
    }
}

fn blocks(params: &Params, train: &Examples) -> Vec<Block> {
    let words = Analyzer::Words { longest: params.count("word_ngrams") };
    let chars = Analyzer::Chars {
        shortest: params.count("char_ngrams_min"),
        longest: params.count("char_ngrams"),
    };
    let wanted =
        [(params.count("word_ngrams") > 0, words), (params.count("char_ngrams") > 0, chars)];
    let response: fn(&Text) -> &str = |text| &text.response;
    let turns: fn(&Text) -> &str = |text| &text.context;
    let mut parts = vec![(response, ["word ", "chars "])];
    if params.optional_int("context") != Some(0) {
        parts.push((turns, ["context word ", "context chars "]));
    }
    let mut blocks = Vec::new();
    for (part, names) in parts {
        for ((_, analyzer), name) in wanted.iter().zip(names).filter(|((wanted, _), _)| *wanted) {
            let settings = Settings {
                analyzer: *analyzer,
                min_rows: params.count("min_rows"),
                sublinear: params.bool("sublinear"),
            };
            let texts: Vec<&str> = train.texts.iter().map(part).collect();
            blocks.push(Block { part, name, vectorizer: Vectorizer::fit(&texts, settings) });
        }
    }
    blocks
}

/// The features of all blocks, one after the other.
fn matrix(blocks: &[Block], examples: &Examples) -> Matrix {
    let rows: Vec<Vec<(u32, f64)>> = examples
        .texts
        .par_iter()
        .map(|text| {
            let (mut row, mut before) = (Vec::new(), 0);
            for block in blocks {
                let features = block.vectorizer.features((block.part)(text));
                row.extend(features.into_iter().map(|(number, value)| (before + number, value)));
                before += block.vectorizer.names().len() as u32;
            }
            row
        })
        .collect();
    let columns = blocks.iter().map(|block| block.vectorizer.names().len()).sum();
    Matrix::new(columns, rows)
}
