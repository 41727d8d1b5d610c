//! Warnings about true and predicted labels that do not belong together. Without them such labels are
//! scored as errors of the model.

use std::collections::BTreeMap;

use super::tally::PredictionTally;
use crate::data::label_names::{
    listed, look_alike, look_alike_warnings, row_count, untrained_warning, yaml,
};

/// What a person should look at in the labels of one input.
pub fn label_warnings(input: &str, tally: &PredictionTally) -> Vec<String> {
    let (mut true_rows, mut predicted_rows) = (BTreeMap::new(), BTreeMap::new());
    let names: Vec<&str> = {
        let mut names = vec![""; tally.labels.len()];
        tally.labels.iter().for_each(|(name, number)| names[usize::from(number)] = name);
        names
    };
    for (&(gold, predicted), &rows) in &tally.counts.cells {
        *true_rows.entry(names[usize::from(gold)]).or_insert(0) += rows;
        *predicted_rows.entry(names[usize::from(predicted)]).or_insert(0) += rows;
    }
    let can_predict = |number: u16| tally.predictable.get(usize::from(number)) == Some(&true);
    let predictable: Vec<&str> =
        tally.labels.iter().filter(|(_, number)| can_predict(*number)).map(|it| it.0).collect();
    let found: Vec<(&str, u64)> = true_rows.iter().map(|(name, rows)| (*name, *rows)).collect();
    let alike = |name: &str| look_alike(name, predictable.iter().copied()).is_some();
    if !found.is_empty() && !found.iter().any(|(name, _)| predictable.contains(name) || alike(name))
    {
        let known: Vec<(&str, u64)> = predictable
            .iter()
            .map(|name| (*name, predicted_rows.get(name).copied().unwrap_or(0)))
            .collect();
        return vec![format!(
            "`{input}`: true and predicted labels have no name in common, so every prediction counts as \
             wrong: the true labels are {}, the predicted ones {}; `label_map` of `predict` replaces \
             the names of the model",
            listed(&found),
            listed(&known),
        )];
    }
    let told = |name: &str| {
        let rows = |rows: &BTreeMap<&str, u64>| row_count(rows.get(name).copied().unwrap_or(0));
        format!("true in {}, predicted in {}", rows(&true_rows), rows(&predicted_rows))
    };
    let advice = |other: &str, meant: &str| {
        let is_true = true_rows.contains_key(meant);
        let (from, to) = if is_true { (other, meant) } else { (meant, other) };
        let (from, to) = (yaml(from), yaml(to));
        format!(
            "if they are one class, set `label_map: {{{from}: {to}}}` in `predict` or in `ingest`"
        )
    };
    let both = true_rows.keys().chain(&predictable).copied();
    let mut warnings: Vec<String> = look_alike_warnings(both, told, advice)
        .into_iter()
        .map(|found| format!("`{input}`: {found}"))
        .collect();
    let advice = "every such row counts as wrong; train with rows of it, or give it the name that the \
                  model knows with `label_map` of `predict`";
    warnings.extend(untrained_warning(input, &found, &predictable, advice));
    warnings
}
