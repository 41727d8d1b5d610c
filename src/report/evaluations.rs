//! Evaluates the predictions of a run: figures with intervals come from the output of `score`,
//! curves and wrong examples from the predictions themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stages::data::prediction::Prediction;
use stages::data::task::Task;

use crate::report::artifacts::{Artifacts, Unreadable};
use crate::report::data::{Evaluation, Figure, GivenAnswer, ListedExample, OtherTask, Span, Wrong};
use crate::report::evaluate::evaluate;
use crate::report::evaluate_other::{confidence, evaluate_other};

/// The number of examples to list of one kind, at most.
pub const MOST_EXAMPLES: usize = 50;

/// The number of files of predictions to show, at most.
const MOST_EVALUATIONS: usize = 8;

/// The length of a text in characters, at most.
const MOST_CHARACTERS: usize = 2_000;

/// The number of turns of a conversation to show, the last ones.
const MOST_TURNS: usize = 12;

/// The figures of `scores.json`: the name under which a figure and its interval are shown, and the
/// path to its value.
const FIGURES: [(&str, &[&str]); 11] = [
    ("accuracy", &["accuracy"]),
    ("precision", &["positive", "precision"]),
    ("recall", &["positive", "recall"]),
    ("f1", &["positive", "f1"]),
    ("macro_f1", &["macro", "f1"]),
    ("matthews_correlation", &["matthews_correlation"]),
    ("roc_auc", &["roc_auc"]),
    ("average_precision", &["average_precision"]),
    ("log_loss", &["log_loss"]),
    ("brier_score", &["brier_score"]),
    ("calibration_error", &["expected_calibration_error"]),
];

/// The same of scores that name their task.
const FIGURES_OF_TASKS: [(&str, &[&str]); 12] = [
    ("accuracy", &["accuracy"]),
    ("micro_precision", &["micro", "precision"]),
    ("micro_recall", &["micro", "recall"]),
    ("micro_f1", &["micro", "f1"]),
    ("macro_f1", &["macro", "f1"]),
    ("weighted_f1", &["weighted", "f1"]),
    ("average_precision", &["average_precision"]),
    ("hamming_loss", &["hamming_loss"]),
    ("pearson", &["pearson"]),
    ("spearman", &["spearman"]),
    ("rmse", &["rmse"]),
    ("mae", &["mae"]),
];

/// Evaluates every file of predictions with true labels that the stages at `places` made or scored,
/// scored files first. The second value says what is left out.
pub fn evaluations(artifacts: &Artifacts, places: &[usize]) -> (Vec<Evaluation>, Vec<String>) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    let mut done = BTreeSet::new();
    for &place in places {
        let scores = match artifacts.scores(place) {
            None | Some(Err(Unreadable::OtherKind)) => continue,
            Some(Ok(scores)) => scores,
            Some(Err(problem)) => {
                notes.push(format!("{} {problem}.", artifacts.name(place, "scores")));
                continue;
            }
        };
        for (input, score) in scores.as_object().into_iter().flatten() {
            if score["labelled"].as_u64().unwrap_or(0) == 0 {
                continue;
            }
            let source = source(artifacts, place, input);
            let content = source.as_ref().and_then(|(maker, name)| artifacts.content(*maker, name));
            if content.is_some_and(|content| !done.insert(content)) {
                continue;
            }
            let mut evaluation = scored(artifacts, (place, input), score, source);
            if scores["against"]["input"].as_str() == Some(input) {
                evaluation.notes.extend(against(&scores["against"]));
            }
            found.push(evaluation);
        }
    }
    for &place in places {
        for output in artifacts.predictions_of(place) {
            // The same bytes under two names are shown once.
            if !artifacts.content(place, &output).is_some_and(|content| done.insert(content)) {
                continue;
            }
            match artifacts.predictions(place, &output) {
                Ok(rows) => found.extend(unscored(artifacts, (place, &output), &rows)),
                // A command may use these names for anything.
                Err(Unreadable::OtherKind) => {}
                Err(problem) => {
                    notes.push(format!("{} {problem}.", artifacts.name(place, &output)));
                }
            }
        }
    }
    if found.len() > MOST_EVALUATIONS {
        let left = found.split_off(MOST_EVALUATIONS);
        let names: Vec<&str> = left.iter().map(|it| it.artifact.as_str()).collect();
        notes.push(format!("Further predictions are not shown: {}.", names.join(", ")));
    }
    (found, notes)
}

/// The predictions that a stage read as one of its inputs.
fn source(artifacts: &Artifacts, place: usize, input: &str) -> Option<(usize, String)> {
    let content = artifacts.records[place].as_ref()?.fields.inputs.get(input)?;
    let makers = artifacts.makers(*content).iter();
    let makers = makers.filter(|(maker, name)| artifacts.predictions_of(*maker).contains(name));
    makers.min_by_key(|(_, name)| name != input).cloned()
}

fn scored(
    artifacts: &Artifacts,
    (place, input): (usize, &str),
    score: &Value,
    source: Option<(usize, String)>,
) -> Evaluation {
    let positive = score["positive"]["label"].as_str();
    let rows = source.as_ref().map(|(maker, output)| artifacts.predictions(*maker, output));
    let from_rows = match (&source, &rows) {
        (Some((maker, output)), Some(Ok(rows))) => {
            full(artifacts, (*maker, output), rows, positive)
        }
        _ => None,
    };
    let mut evaluation = from_rows.unwrap_or_else(|| {
        let mut bare = of_scores(score);
        let why = match (&source, &rows) {
            (Some((maker, output)), Some(Err(problem))) => {
                format!("{} {problem}", artifacts.name(*maker, output))
            }
            _ => "The predictions are no longer in the cache".to_owned(),
        };
        bare.notes.push(format!("{why}, so there are neither curves nor examples."));
        bare
    });
    evaluation.artifact = match &source {
        Some((maker, output)) => artifacts.name(*maker, output),
        None => format!("{} of {}", input, artifacts.name(place, "scores")),
    };
    evaluation.input = Some(input.to_owned());
    // Scores of earlier versions do not say it.
    let by_labels = if evaluation.labels.len() > 2 { "macro_f1" } else { "f1" };
    evaluation.headline = score["headline"].as_str().unwrap_or(by_labels).to_owned();
    let intervals = &score["intervals"];
    evaluation.confidence = intervals["confidence"].as_f64();
    let table = if score["task"].is_string() { &FIGURES_OF_TASKS[..] } else { &FIGURES };
    let figures = table.iter().filter_map(|(name, path)| {
        let value = path.iter().fold(score, |value, part| &value[part]).as_f64()?;
        let ends = [intervals[name][0].as_f64(), intervals[name][1].as_f64()];
        let interval = ends[0].zip(ends[1]).map(|(low, high)| [low, high]);
        let detectable = intervals["detectable"][name].as_f64();
        Some(Figure { name, value, interval, detectable })
    });
    evaluation.figures = figures.collect();
    evaluation
}

/// The comparison that `score` made with the predictions of its input `against`.
fn against(found: &Value) -> Option<String> {
    let accuracy = &found["accuracy"];
    let number = |value: &Value| value.as_f64().map(|number| format!("{number:.3}"));
    let (this, other) = (number(&accuracy["this"])?, number(&accuracy["other"])?);
    let difference = number(&accuracy["difference"])?;
    let ends = [number(&accuracy["interval"][0]), number(&accuracy["interval"][1])];
    let interval = match ends {
        [Some(low), Some(high)] => format!(" ({low} to {high})"),
        _ => String::new(),
    };
    let p = number(&found["mcnemar"]["mid_p"]).map(|p| format!("; McNemar's test gives p {p}"));
    Some(format!(
        "Compared with the input `against`: accuracy {this} here and {other} there, a difference of \
         {difference}{interval}{}.",
        p.unwrap_or_default()
    ))
}

/// The evaluation that the scores alone give.
fn of_scores(score: &Value) -> Evaluation {
    let matrix = &score["confusion_matrix"];
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let counts = |row: &Value| -> Vec<u64> {
        row.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let labels = texts(&matrix["labels"]);
    let rows = matrix["counts"].as_array().into_iter().flatten();
    let matrix: Vec<Vec<u64>> = rows.map(counts).collect();
    let square = matrix.len() == labels.len() && matrix.iter().all(|row| row.len() == labels.len());
    Evaluation {
        rows: score["rows"].as_u64().unwrap_or(0),
        labelled: score["labelled"].as_u64().unwrap_or(0),
        other: other_task(score),
        positive: score["positive"]["label"].as_str().map(str::to_owned),
        matrix: if square { matrix } else { Vec::new() },
        labels,
        ..Evaluation::default()
    }
}

/// Scores that name their task have no figures of single labels here.
fn other_task(score: &Value) -> Option<OtherTask> {
    let mut tasks = [Task::Multi, Task::Regression].map(Task::word).into_iter();
    let task = tasks.find(|task| score["task"] == *task)?;
    Some(OtherTask { task, per_label: Vec::new(), scatter: Vec::new() })
}

fn unscored(
    artifacts: &Artifacts,
    (place, output): (usize, &str),
    rows: &[Prediction],
) -> Option<Evaluation> {
    let mut found = full(artifacts, (place, output), rows, None)?;
    found.artifact = artifacts.name(place, output);
    found
        .notes
        .push("No stage has scored these predictions, so there are no intervals.".to_owned());
    Some(found)
}

fn full(
    artifacts: &Artifacts,
    (place, output): (usize, &str),
    rows: &[Prediction],
    positive: Option<&str>,
) -> Option<Evaluation> {
    let task = rows.first().map_or(Task::Single, |row| row.label.task());
    let mut evaluation = match task {
        Task::Single => evaluate(rows, positive),
        Task::Multi | Task::Regression => evaluate_other(rows, task),
    }?;
    let wrong = rows.iter().filter(|row| row.gold.as_ref().is_some_and(|gold| *gold != row.label));
    let wrong: Vec<Vec<&Prediction>> = wrong.map(|row| vec![row]).collect();
    evaluation.wrong = listed(artifacts, (place, output), wrong);
    Some(evaluation)
}

/// Lists examples with their texts, sorted by the confidence of their last prediction.
pub fn listed(
    artifacts: &Artifacts,
    (place, output): (usize, &str),
    mut wrong: Vec<Vec<&Prediction>>,
) -> Wrong {
    let confidence = |said: &Vec<&Prediction>| said.last().map_or(0.0, |row| confidence(row));
    wrong.sort_by(|one, two| confidence(two).total_cmp(&confidence(one)));
    let rows = wrong.len() as u64;
    wrong.truncate(MOST_EXAMPLES);
    let ids: BTreeSet<&str> = wrong.iter().flatten().map(|row| row.id.as_str()).collect();
    let texts = match ids.is_empty() {
        true => None,
        false => artifacts.examples(place, output, &ids),
    };
    let texts = texts.unwrap_or_default();
    Wrong { rows, examples: wrong.iter().map(|said| example(said, &texts)).collect() }
}

fn example(
    said: &[&Prediction],
    texts: &BTreeMap<String, stages::data::example::Example>,
) -> ListedExample {
    let first = said.first();
    let id = first.map(|row| row.id.clone()).unwrap_or_default();
    let text = texts.get(&id);
    let turns = text.map_or(&[][..], |text| &text.context);
    let shown = turns.len().saturating_sub(MOST_TURNS);
    ListedExample {
        gold: first.and_then(|row| row.gold.as_ref()).map(ToString::to_string).unwrap_or_default(),
        said: said
            .iter()
            .map(|row| GivenAnswer {
                label: row.label.to_string(),
                probability: row.label.label().and_then(|it| row.probabilities.get(it)).copied(),
            })
            .collect(),
        context: turns[shown..].iter().map(|turn| cut(turn)).collect(),
        text: text.map(|text| vec![Span { text: cut(&text.text), weight: None }]),
        id,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
