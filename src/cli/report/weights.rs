//! Which tokens led the model to its mistakes. The run's model is loaded again and classifies each
//! text once without each of its tokens.

use std::collections::BTreeMap;
use std::path::Path;

use stages::Params;
use stages::builtin::classify::{TextClassifier, TokenWeight};

use crate::cli::linked::LinkedArtifact;
use crate::report::data::{ListedExample, RunSummary, Span};
use crate::results::run_log::LoggedRun;
use crate::store::Store;
use crate::store::record::Record;

/// How many examples of each file of predictions are weighed. Each takes one pass through the
/// network per token.
const MOST_EXAMPLES: usize = 10;

/// How vocabularies mark a space before a token, or the lack of one.
const MARKS: [&str; 3] = ["Ġ", "▁", "##"];

/// Weighs the tokens of a run's wrong examples if its model is still in the store. Examples that
/// cannot be weighed stay as they are.
pub fn weigh(run: &mut RunSummary, logged: &LoggedRun, store: &Store) {
    let records: Vec<Record> = logged
        .stages
        .iter()
        .filter_map(|stage| stage.key.and_then(|key| store.record(key)))
        .collect();
    let mut loaded: BTreeMap<String, Option<TextClassifier>> = BTreeMap::new();
    for evaluation in &mut run.evaluations {
        let Some((stage, _)) = evaluation.artifact.split_once(':') else { continue };
        let key = logged.stage(stage).and_then(|stage| stage.key);
        let Some(record) = key.and_then(|key| store.record(key)) else { continue };
        if !ran_builtin(&record, "predict") || evaluation.wrong.examples.is_empty() {
            continue;
        }
        let classifier =
            loaded.entry(stage.to_owned()).or_insert_with(|| open(&record, &records, store));
        let Some(classifier) = classifier else { continue };
        for example in evaluation.wrong.examples.iter_mut().take(MOST_EXAMPLES) {
            weigh_example(example, classifier);
        }
    }
}

fn ran_builtin(record: &Record, builtin: &str) -> bool {
    record.fields.action.builtin() == Some(builtin)
}

/// Opens the model that this `predict` read, with the tokenization of its input.
fn open(record: &Record, records: &[Record], store: &Store) -> Option<TextClassifier> {
    let inputs = &record.fields.inputs;
    let tokens: Vec<_> =
        ["test", "valid"].into_iter().filter_map(|name| inputs.get(name)).collect();
    let tokenize = records.iter().find(|maker| {
        let mut made = maker.outputs.values();
        ran_builtin(maker, "tokenize") && made.any(|artifact| tokens.contains(&&artifact.content))
    })?;
    let model = *inputs.get("model")?;
    let linked = LinkedArtifact::new(model, "model", store).ok()?;
    load(linked.path(), tokenize, record)
}

fn load(folder: &Path, tokenize: &Record, predict: &Record) -> Option<TextClassifier> {
    let params = |record: &Record| {
        let builtin = record.fields.action.builtin().and_then(stages::find);
        let specs = builtin.map_or(&[][..], |builtin| builtin.params());
        Params::from_key(specs, record.fields.params.clone())
    };
    TextClassifier::open(folder, &params(tokenize), &params(predict), "cpu").ok()
}

fn weigh_example(example: &mut ListedExample, classifier: &TextClassifier) {
    let Some(spans) = &example.text else { return };
    let text: String = spans.iter().map(|span| span.text.as_str()).collect();
    let given = stages::data::example::Example {
        context: example.context.clone(),
        ..stages::data::example::Example::of_text(&text)
    };
    if let Ok(weights) = classifier.weights(&given) {
        example.text = Some(marked(&text, &weights));
    }
}

/// Cuts the text into spans, each with the weight of its token. Tokens that do not occur in the
/// text, such as parts of an emoji, are skipped.
fn marked(text: &str, weights: &[TokenWeight]) -> Vec<Span> {
    let original: Vec<char> = text.chars().collect();
    let lower = |it: char| it.to_lowercase().next().unwrap_or(it);
    let folded: Vec<char> = original.iter().copied().map(lower).collect();
    let (mut spans, mut done) = (Vec::new(), 0);
    let between = |from: usize, to: usize| original[from..to].iter().collect::<String>();
    for TokenWeight { token, weight } in weights {
        let mut piece = token.as_str();
        for mark in MARKS {
            piece = piece.strip_prefix(mark).unwrap_or(piece);
        }
        let piece: Vec<char> = piece.chars().map(lower).collect();
        if piece.is_empty() {
            continue;
        }
        // The search is short, so that a token that does not occur cannot match a later one.
        const AHEAD: usize = 12;
        let end = folded.len().min(done + AHEAD + piece.len());
        let found = folded[done..end].windows(piece.len()).position(|part| part == piece);
        let Some(at) = found.map(|at| done + at) else { continue };
        if at > done {
            spans.push(Span { text: between(done, at), weight: None });
        }
        spans.push(Span { text: between(at, at + piece.len()), weight: Some(*weight) });
        done = at + piece.len();
    }
    if done < original.len() {
        spans.push(Span { text: between(done, original.len()), weight: None });
    }
    spans
}

#[cfg(test)]
mod tests {
    use stages::builtin::classify::TokenWeight;

    use super::marked;

    fn of(text: &str, tokens: &[&str]) -> Vec<(String, Option<f64>)> {
        let weight = |(index, token): (usize, &&str)| TokenWeight {
            token: (*token).to_owned(),
            weight: index as f64,
        };
        let weights: Vec<TokenWeight> = tokens.iter().enumerate().map(weight).collect();
        marked(text, &weights).into_iter().map(|span| (span.text, span.weight)).collect()
    }

    #[test]
    fn tokens_are_found_in_the_text_whatever_their_marks_and_case() {
        let expected = |parts: &[(&str, Option<f64>)]| -> Vec<(String, Option<f64>)> {
            parts.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect()
        };
        assert_eq!(
            of("So Tiring!", &["so", "tir", "##ing", "!"]),
            expected(&[
                ("So", Some(0.0)),
                (" ", None),
                ("Tir", Some(1.0)),
                ("ing", Some(2.0)),
                ("!", Some(3.0)),
            ])
        );
        assert_eq!(
            of("a 🎉 b", &["a", "Ġ", "ðŁİ", "ī", "Ġb"]),
            expected(&[("a", Some(0.0)), (" 🎉 ", None), ("b", Some(4.0))])
        );
        assert_eq!(of("none", &[]), expected(&[("none", None)]));
    }
}
