//! `score`: the last stage. Compares predictions with true labels; figures as scikit-learn
//! defines them, with bootstrap intervals that say how much of a difference is noise.

mod bootstrap;
mod counts;
mod input;
pub mod threshold;

use std::collections::BTreeMap;

use serde::Serialize;

use self::bootstrap::{Intervals, intervals};
use self::counts::{Counts, Figures};
use self::input::Tally;
use crate::error::StageError;
use crate::event::Event;
use crate::nearest::list_names;
use crate::output::write_json;
use crate::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Score;

const INPUTS: &[InputSpec] = &[
    InputSpec {
        name: "valid",
        required: false,
        kind: Kind::File,
        doc: "predictions for the validation examples, as `predict` writes them",
    },
    InputSpec {
        name: "test",
        required: false,
        kind: Kind::File,
        doc: "predictions for the test examples; without true labels they are only counted",
    },
];

const OUTPUTS: &[OutputSpec] = &[OutputSpec {
    name: "scores",
    file: "scores.json",
    kind: Kind::File,
    given: None,
    doc: "for each input accuracy, precision, recall, F1, the confusion matrix, and intervals",
}];

const PARAMS: &[ParamSpec] = &[
    ParamSpec {
        name: "positive",
        kind: ParamKind::Text,
        default: Default::Null,
        doc: "the label whose precision, recall and F1 are the headline; by default the last in \
              alphabetical order",
    },
    ParamSpec {
        name: "bootstrap",
        kind: ParamKind::Int { min: 0, max: 1_000_000 },
        default: Default::Int(1000),
        doc: "how many times the rows are drawn anew for the intervals; 0 for no intervals",
    },
    ParamSpec {
        name: "confidence",
        kind: ParamKind::Float { min: 0.0, max: 1.0 },
        default: Default::Float(0.95),
        doc: "how sure the intervals are, more than 0 and less than 1",
    },
    ParamSpec {
        name: "seed",
        kind: ParamKind::Int { min: 0, max: i64::MAX },
        default: Default::Int(42),
        doc: "which of the random draws for the intervals",
    },
];

impl Stage for Score {
    fn name(&self) -> &'static str {
        "score"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "precision, recall and F1 of predictions, with intervals"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &["valid_accuracy", "valid_f1", "test_accuracy", "test_precision", "test_recall", "test_f1"]
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message| Err(CheckError { name, message });
        if wired.is_empty() {
            let message = "`score` needs an input: `valid`, `test` or both";
            return refuse(None, message.to_owned());
        }
        let confidence = params.float("confidence");
        if confidence <= 0.0 || confidence >= 1.0 {
            let message =
                format!("`confidence` is {confidence}, expected more than 0 and less than 1");
            return refuse(Some("confidence"), message);
        }
        if params.int("bootstrap") == 1 {
            let message = "`bootstrap` is 1, expected 0 for none or enough for an interval";
            return refuse(Some("bootstrap"), message.to_owned());
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut tallies = BTreeMap::new();
        for input in ["valid", "test"] {
            if let Some(path) = context.optional_input(input) {
                tallies.insert(input, input::read(context, path)?);
            }
        }
        let positive = positive_label(context.params(), &tallies)?;
        let scores: BTreeMap<&str, InputScore> = tallies
            .iter()
            .map(|(&input, tally)| (input, score(context.params(), input, tally, &positive)))
            .collect();
        write_json(context.output("scores")?, &scores)?;
        emit_metrics(context, &scores);
        Ok(())
    }
}

/// What `scores.json` has for one input.
#[derive(Serialize)]
#[serde(untagged)]
enum InputScore {
    Labelled(Box<LabelledScore>),
    Unlabelled { rows: u64, labelled: u64, note: &'static str },
}

#[derive(Serialize)]
struct LabelledScore {
    rows: u64,
    /// The rows with a true label: all figures are of these.
    labelled: u64,
    /// The labels that occur, as true or as predicted ones, in alphabetical order.
    labels: Vec<String>,
    accuracy: f64,
    positive: Positive,
    /// The mean over the labels.
    r#macro: Figures,
    /// The mean over the labels, weighted by their rows.
    weighted: Figures,
    per_class: BTreeMap<String, PerClass>,
    confusion_matrix: ConfusionMatrix,
    matthews_correlation: f64,
    /// The mean of -ln p of the true label; null where a row has no probabilities.
    log_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Intervals>,
}

#[derive(Serialize)]
struct Positive {
    label: String,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct PerClass {
    #[serde(flatten)]
    figures: Figures,
    /// The rows that truly have the label.
    support: u64,
}

#[derive(Serialize)]
struct ConfusionMatrix {
    labels: Vec<String>,
    rows: &'static str,
    columns: &'static str,
    counts: Vec<Vec<u64>>,
}

/// The parameter, if an input knows that label; else the last label of all inputs.
fn positive_label(params: &Params, tallies: &BTreeMap<&str, Tally>) -> Result<String, StageError> {
    let mut known: Vec<&str> =
        tallies.values().flat_map(|tally| tally.labels.iter().map(|(name, _)| name)).collect();
    known.sort_unstable();
    known.dedup();
    match params.optional_text("positive") {
        Some(label) if !known.contains(&label) => {
            let known = list_names(label, known);
            let problem = format!("no prediction knows the label `{label}`; there are {known}");
            Err(StageError::Param { name: "positive", problem })
        }
        Some(label) => Ok(label.to_owned()),
        None => Ok(known.last().copied().unwrap_or_default().to_owned()),
    }
}

fn score(params: &Params, input: &str, tally: &Tally, positive: &str) -> InputScore {
    let (rows, labelled) = (tally.rows, tally.labelled);
    if labelled == 0 {
        return InputScore::Unlabelled { rows, labelled, note: "no gold labels" };
    }
    // Numbers in alphabetical order in place of those in order of appearance, so that nothing
    // depends on the latter; and one for the positive label, even if this input lacks it.
    let mut names: Vec<&str> = tally.labels.iter().map(|(name, _)| name).collect();
    if let Err(place) = names.binary_search(&positive) {
        names.insert(place, positive);
    }
    let mut renumbered = vec![0_u16; tally.labels.len()];
    for (place, name) in (0..).zip(&names) {
        if let Some(number) = tally.labels.get(name) {
            renumbered[usize::from(number)] = place;
        }
    }
    let place = |number: u16| renumbered[usize::from(number)];
    let cells = tally.counts.cells.iter();
    let counts = Counts {
        labels: names.len(),
        cells: cells.map(|(&(gold, it), &count)| ((place(gold), place(it)), count)).collect(),
    };
    let margins = counts.margins();
    let positive_place = names.partition_point(|name| *name < positive);
    let (replicates, confidence) = (params.count("bootstrap"), params.float("confidence"));
    let seed = params.int("seed").unsigned_abs();
    let occurring: Vec<usize> = (0..names.len()).filter(|&it| margins.occurs(it)).collect();
    let labels: Vec<String> = occurring.iter().map(|&it| names[it].to_owned()).collect();
    let matrix = counts.matrix();
    InputScore::Labelled(Box::new(LabelledScore {
        rows,
        labelled,
        labels: labels.clone(),
        accuracy: margins.accuracy(),
        positive: Positive { label: positive.to_owned(), figures: margins.figures(positive_place) },
        r#macro: margins.macro_average(),
        weighted: margins.weighted_average(),
        per_class: occurring
            .iter()
            .map(|&it| {
                let class = PerClass { figures: margins.figures(it), support: margins.gold[it] };
                (names[it].to_owned(), class)
            })
            .collect(),
        confusion_matrix: ConfusionMatrix {
            labels,
            rows: "gold",
            columns: "predicted",
            counts: occurring
                .iter()
                .map(|&gold| occurring.iter().map(|&it| matrix[gold][it]).collect())
                .collect(),
        },
        matthews_correlation: margins.matthews_correlation(),
        log_loss: (tally.without_probabilities == 0).then(|| tally.loss_sum / labelled as f64),
        intervals: (replicates > 0)
            .then(|| intervals(&counts, positive_place, (replicates, confidence), (seed, input))),
    }))
}

/// `valid_f1` and so on: `precision`, `recall` and `f1` are those of the positive label.
fn emit_metrics(context: &Context, scores: &BTreeMap<&str, InputScore>) {
    let mut values = BTreeMap::new();
    for (input, score) in scores {
        match score {
            InputScore::Unlabelled { rows, .. } => {
                let message = format!("`{input}`: {rows} predictions, none with a true label");
                context.emit(Event::Note { message });
            }
            InputScore::Labelled(score) => {
                let positive = &score.positive.figures;
                let mut insert = |name, value| values.insert(format!("{input}_{name}"), value);
                insert("accuracy", score.accuracy);
                insert("precision", positive.precision);
                insert("recall", positive.recall);
                insert("f1", positive.f1);
                insert("macro_f1", score.r#macro.f1);
                if let Some(loss) = score.log_loss {
                    insert("log_loss", loss);
                }
            }
        }
    }
    if !values.is_empty() {
        context.emit(Event::Metrics { step: None, values });
    }
}
