//! Combines the members' predictions of one example.

use std::collections::BTreeMap;

use super::params::Method;
use crate::data::prediction::Prediction;
use crate::data::target::Target;
use crate::data::threshold::is_positive;

/// Combines the members' predictions of one example, each with a weight. There is at least one
/// member, and all have the same labels. Probabilities are always the weighted means, so with
/// [`Method::Vote`] the label is not always the likeliest one. A tie goes to the higher mean
/// probability, then to the first label in alphabetical order.
///
/// Of several labels those whose mean probability exceeds 0.5, or that more than half of the members
/// predict. The members' own thresholds count in a vote only. Of numbers the mean.
pub fn combine(row: &[Prediction], weights: &[f64], method: Method) -> Prediction {
    let first = &row[0];
    let sum: f64 = weights.iter().sum();
    let weighted = || row.iter().zip(weights);
    let mean = |label: &String| {
        weighted().map(|(member, weight)| weight * member.probabilities[label]).sum::<f64>() / sum
    };
    let probabilities: BTreeMap<String, f64> =
        first.probabilities.keys().map(|label| (label.clone(), mean(label))).collect();
    let votes = |label: &str| -> f64 {
        let has_it =
            |(member, _): &(&Prediction, _)| member.label.labels().iter().any(|it| it == label);
        weighted().filter(has_it).map(|(_, weight)| weight).sum()
    };
    let rank = |label: &str, mean: f64| match method {
        Method::Mean => (mean, 0.0),
        Method::Vote => (votes(label), mean),
    };
    let label = match &first.label {
        Target::Number(_) => {
            let numbers = weighted().filter_map(|(it, weight)| Some(it.label.number()? * weight));
            Target::Number(numbers.sum::<f64>() / sum)
        }
        Target::Labels(_) => {
            let (votes, half) = (|label: &str| votes(label) / sum, 0.5);
            let is_chosen = |(label, mean): &(&String, &f64)| match method {
                Method::Mean => is_positive(**mean, half),
                Method::Vote => (votes(label), **mean) > (half, half),
            };
            let chosen = probabilities.iter().filter(is_chosen).map(|(label, _)| label.clone());
            Target::Labels(chosen.collect())
        }
        Target::Label(first) => Target::Label(likeliest(first, &probabilities, rank)),
    };
    Prediction {
        id: first.id.clone(),
        label,
        gold: row.iter().find_map(|member| member.gold.clone()),
        probabilities,
    }
}

/// The label with the highest rank.
fn likeliest(
    first: &String,
    probabilities: &BTreeMap<String, f64>,
    rank: impl Fn(&str, f64) -> (f64, f64),
) -> String {
    let mut best = (first, (f64::MIN, f64::MIN));
    for (label, &mean) in probabilities {
        let found = rank(label, mean);
        if found > best.1 {
            best = (label, found);
        }
    }
    best.0.clone()
}
