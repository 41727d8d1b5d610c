//! Puts together what was found about each training example: the rows of `issues.jsonl`.

use std::collections::BTreeSet;

use super::confident::Findings;
use super::duplicates::Twins;
use super::given::{JudgedExamples, label};
use super::params::{AuditParams, Rank};
use super::words::WordIndex;
use crate::data::example::Example;
use crate::data::issue::{Issue, Neighbour, Problem};

/// What was found.
pub struct Found<'a> {
    pub train: &'a [Example],
    /// The training examples, then the test examples.
    pub all: &'a [&'a Example],
    /// The twins of each of `all`.
    pub twins: &'a [Twins],
    pub judged: Option<&'a (JudgedExamples, Findings)>,
}

/// The issues, the worst first: suspicious labels by their score, then conflicts, then texts that are in
/// the test part too.
pub fn issues(found: &Found, params: &AuditParams) -> Vec<Issue> {
    let mut suspicious: BTreeSet<usize> = BTreeSet::new();
    if let Some((judged, findings)) = found.judged {
        let rows = judged.places.iter().zip(&findings.suspicious);
        suspicious.extend(rows.filter(|(_, suspicious)| **suspicious).map(|(place, _)| *place));
    }
    let texts: Vec<&str> = found.train.iter().map(|example| example.text.as_str()).collect();
    let index = WordIndex::new(&texts);
    let mut issues: Vec<(u8, f64, Issue)> = Vec::new();
    for (place, example) in found.train.iter().enumerate() {
        let twins = &found.twins[place];
        if !suspicious.contains(&place) && twins.problems.is_empty() {
            continue;
        }
        let mut issue = Issue {
            id: example.id.clone(),
            label: label(example).map(str::to_owned),
            problems: twins.problems.iter().copied().collect(),
            line: example.line,
            text: example.text.clone(),
            after: example.context.last().cloned(),
            neighbours: neighbours(found, place, &index, params.neighbours),
            ..Issue::default()
        };
        let mut score = f64::MAX;
        if let Some((judged, row)) = found.judged.and_then(|(judged, _)| {
            judged.places.binary_search(&place).ok().map(|row| (judged, row))
        }) {
            score = judge(&mut issue, judged, row, params.rank);
        }
        if suspicious.contains(&place) {
            issue.problems.insert(0, Problem::Label);
        }
        let kind = issue.problems.first().map_or(u8::MAX, |problem| *problem as u8);
        issues.push((kind, score, issue));
    }
    issues.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    issues.into_iter().map(|(_, _, issue)| issue).collect()
}

/// Adds what the predictions say. Returns the score to sort by.
fn judge(issue: &mut Issue, judged: &JudgedExamples, row: usize, rank: Rank) -> f64 {
    let JudgedExamples { names, judged, .. } = judged;
    let (confidence, margin) = (judged.self_confidence(row), judged.normalized_margin(row));
    issue.self_confidence = Some(confidence);
    issue.normalized_margin = Some(margin);
    issue.suggested = judged.likeliest_other(row).map(|it| names[it].clone());
    issue.probabilities = names.iter().cloned().zip(judged.row(row).iter().copied()).collect();
    match rank {
        Rank::SelfConfidence => confidence,
        Rank::NormalizedMargin => margin,
    }
}

/// The twins that show a problem, then the training texts with the most similar words.
fn neighbours(found: &Found, place: usize, index: &WordIndex, most: usize) -> Vec<Neighbour> {
    let neighbour = |other: usize, similarity: f64, near: bool| Neighbour {
        id: found.all[other].id.clone(),
        part: if other < found.train.len() { "train" } else { "test" }.to_owned(),
        label: label(found.all[other]).map(str::to_owned),
        similarity: (similarity * 1000.0).round() / 1000.0,
        near,
        text: found.all[other].text.clone(),
    };
    let twins = &found.twins[place].others;
    let shown =
        twins.iter().take(most.max(1)).map(|(it, similarity)| neighbour(*it, *similarity, true));
    let mut neighbours: Vec<Neighbour> = shown.collect();
    let is_shown = |other: usize| other == place || twins.iter().any(|(twin, _)| *twin == other);
    let room = most.saturating_sub(neighbours.len());
    if room > 0 {
        let similar = index.nearest(&found.train[place].text, room, is_shown);
        neighbours
            .extend(similar.into_iter().map(|(it, similarity)| neighbour(it, similarity, false)));
    }
    neighbours
}
