//! The baseline of several labels a text, and of numbers. Both have the features of the kind `ngram`:
//! a logistic regression for each label against the rest, or a linear regression.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::examples::Examples;
use super::lbfgs::{NotFinite, Outcome};
use super::logistic::Logistic;
use super::ngram::{Block, blocks, diverged, feature_names, matrix};
use super::params::{BaselineKind, BaselineParams};
use super::ridge::Ridge;
use super::sparse::Matrix;
use crate::data::multi_label::MultiMargins;
use crate::data::prediction::Prediction;
use crate::data::regression::NumberPairs;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::threshold::is_positive;
use crate::stage::Context;
use crate::stage::error::{StageError, hints};
use crate::stage::progress::Progress;

/// A trained baseline.
pub struct OtherBaseline {
    blocks: Vec<Block>,
    model: Model,
    metrics: OtherMetrics,
}

enum Model {
    /// By label, which are in alphabetical order.
    Multi(BTreeMap<String, OneAgainstRest>),
    Regression(Ridge),
}

enum OneAgainstRest {
    Fitted(Logistic),
    /// Every training row has the label.
    Always,
}

/// `metrics.json`.
#[derive(Serialize)]
pub struct OtherMetrics {
    kind: &'static str,
    task: &'static str,
    labels: Vec<String>,
    features: usize,
    /// By input: accuracy and F1, or correlations and errors.
    train: BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    valid: BTreeMap<&'static str, f64>,
    /// What training minimised, the mean over labels.
    loss: f64,
    /// Of all labels together.
    iterations: usize,
    converged: bool,
}

impl OtherBaseline {
    /// Trains on labels of this task.
    ///
    /// # Errors
    /// The kind is `embedding`; a row has no label or one of another task; training diverges.
    pub fn train(
        context: &Context,
        params: &BaselineParams,
        train: &Examples,
        task: Task,
    ) -> Result<OtherBaseline, StageError> {
        if params.kind == BaselineKind::Embedding {
            let problem = "`embedding` learns one label a text; `ngram` also learns lists of labels and \
                           numbers";
            return Err(StageError::Param { name: "kind", problem: problem.to_owned() });
        }
        if context.params().optional_text("positive").is_some() {
            let found = task.labels_in_words();
            let problem = format!("each row has {found}, so no label is the positive one");
            return Err(StageError::Param { name: "positive", problem });
        }
        let targets = train.targets()?;
        let names: BTreeSet<&String> = targets.iter().flat_map(|it| it.labels()).collect();
        if task == Task::Multi && names.is_empty() {
            let problem = "no row has a label".to_owned();
            return Err(StageError::File { path: train.path.clone(), problem });
        }
        let blocks = blocks(params, train);
        let rows = matrix(&blocks, train);
        let mut progress = Progress::new(context, "iteration");
        let mut outcomes = Vec::new();
        let mut each = |number| progress.update_unknown(number as u64);
        let model = match task {
            Task::Regression => {
                let numbers: Vec<f64> = targets.iter().filter_map(|it| it.number()).collect();
                let (model, outcome) =
                    Ridge::fit(&rows, &numbers, params.c, &mut each).map_err(diverged)?;
                outcomes.push(outcome);
                Model::Regression(model)
            }
            Task::Single | Task::Multi => {
                let mut models = BTreeMap::new();
                for name in &names {
                    let (model, outcome) =
                        one_against_rest(&rows, &targets, name, params.c, &mut each)
                            .map_err(diverged)?;
                    outcomes.extend(outcome);
                    models.insert((*name).clone(), model);
                }
                Model::Multi(models)
            }
        };
        let losses: f64 = outcomes.iter().map(|outcome| outcome.value).sum();
        let metrics = OtherMetrics {
            kind: "ngram",
            task: task.word(),
            labels: names.into_iter().cloned().collect(),
            features: feature_names(&blocks).len(),
            train: BTreeMap::new(),
            valid: BTreeMap::new(),
            loss: losses / outcomes.len().max(1) as f64,
            iterations: outcomes.iter().map(|outcome| outcome.iterations).sum(),
            converged: outcomes.iter().all(|outcome| outcome.converged),
        };
        Ok(OtherBaseline { blocks, model, metrics })
    }

    /// The names of the labels.
    pub fn labels(&self) -> &[String] {
        &self.metrics.labels
    }

    /// The prediction for each example.
    ///
    /// # Errors
    /// A probability or a number is not finite.
    pub fn predict(&self, examples: &Examples) -> Result<Vec<Prediction>, StageError> {
        let rows = matrix(&self.blocks, examples);
        let values: Vec<(Option<&String>, Vec<f64>)> = match &self.model {
            Model::Regression(model) => vec![(None, model.predict(&rows))],
            Model::Multi(models) => models
                .iter()
                .map(|(name, model)| (Some(name), model.probabilities(&rows)))
                .collect(),
        };
        let of_row = |row: usize| {
            let example = &examples.rows[row];
            if let Some((_, wrong)) = values.iter().find(|(_, values)| !values[row].is_finite()) {
                let doing = format!("classifying example `{}`", example.id);
                let (what, value) = ("the prediction".to_owned(), wrong[row]);
                return Err(StageError::NotFinite { doing, what, value, hint: hints::REGRESSION });
            }
            let named = |(name, values): &(Option<&String>, Vec<f64>)| {
                Some(((*name)?.clone(), values[row]))
            };
            let probabilities: BTreeMap<String, f64> = values.iter().filter_map(named).collect();
            let label = match &self.model {
                Model::Regression(_) => Target::Number(values[0].1[row]),
                Model::Multi(_) => {
                    let likely = probabilities.iter().filter(|(_, it)| is_positive(**it, 0.5));
                    Target::Labels(likely.map(|(name, _)| name.clone()).collect())
                }
            };
            Ok(Prediction {
                id: example.id.clone(),
                label,
                probabilities,
                gold: example.label.clone(),
            })
        };
        (0..examples.rows.len()).map(of_row).collect()
    }

    /// Notes the figures of `train` or `valid`.
    ///
    /// # Errors
    /// A true label belongs to another task: the problem in words.
    pub fn note(&mut self, is_train: bool, rows: &[Prediction]) -> Result<(), String> {
        for row in rows {
            row.check()?;
        }
        let figures = match self.model {
            Model::Multi(_) => of_labels(rows),
            Model::Regression(_) => of_numbers(rows),
        };
        *(if is_train { &mut self.metrics.train } else { &mut self.metrics.valid }) = figures;
        Ok(())
    }

    /// The content of `metrics.json`, and the metrics for the record.
    pub fn metrics(&self) -> (&OtherMetrics, BTreeMap<String, f64>) {
        let of = &self.metrics;
        let mut values: BTreeMap<String, f64> = [
            ("features".to_owned(), of.features as f64),
            ("loss".to_owned(), of.loss),
            ("iterations".to_owned(), of.iterations as f64),
        ]
        .into();
        for (part, figures) in [("train", &of.train), ("valid", &of.valid)] {
            values.extend(figures.iter().map(|(name, it)| (format!("{part}_{name}"), *it)));
        }
        (of, values)
    }
}

fn one_against_rest(
    rows: &Matrix,
    targets: &[&Target],
    name: &str,
    c: f64,
    each: impl FnMut(usize),
) -> Result<(OneAgainstRest, Option<Outcome>), NotFinite> {
    let has = |target: &&Target| usize::from(target.labels().iter().any(|label| label == name));
    let classes: Vec<usize> = targets.iter().map(has).collect();
    if !classes.contains(&0) {
        return Ok((OneAgainstRest::Always, None));
    }
    let (model, outcome) = Logistic::fit(rows, &classes, 2, c, each)?;
    Ok((OneAgainstRest::Fitted(model), Some(outcome)))
}

impl OneAgainstRest {
    /// The probability of the label in each row.
    fn probabilities(&self, rows: &Matrix) -> Vec<f64> {
        match self {
            OneAgainstRest::Always => vec![1.0; rows.rows()],
            OneAgainstRest::Fitted(model) => {
                model.probabilities(rows).into_iter().map(|both| both[1]).collect()
            }
        }
    }
}

fn of_labels(rows: &[Prediction]) -> BTreeMap<&'static str, f64> {
    let labelled = || rows.iter().filter_map(|row| Some((row.gold.as_ref()?, row)));
    let known =
        labelled().flat_map(|(gold, row)| gold.labels().iter().chain(row.probabilities.keys()));
    let names: Vec<&String> = known.collect::<BTreeSet<_>>().into_iter().collect();
    let numbers = |target: &Target| -> Vec<u16> {
        let place = |label: &String| names.partition_point(|name| *name < label) as u16;
        target.labels().iter().map(place).collect()
    };
    let sets: Vec<_> = labelled().map(|(gold, row)| (numbers(gold), numbers(&row.label))).collect();
    if sets.is_empty() {
        return BTreeMap::new();
    }
    let sets = sets.iter().map(|(gold, it)| (gold.as_slice(), it.as_slice(), 1));
    let of = MultiMargins::new(names.len(), sets);
    [
        ("accuracy", of.subset_accuracy()),
        ("micro_f1", of.micro_average().f1),
        ("macro_f1", of.labels.mean_over_labels().f1),
    ]
    .into()
}

fn of_numbers(rows: &[Prediction]) -> BTreeMap<&'static str, f64> {
    let pair = |row: &Prediction| Some((row.gold.as_ref()?.number()?, row.label.number()?));
    let pairs = NumberPairs::new(rows.iter().filter_map(pair));
    if pairs.is_empty() {
        return BTreeMap::new();
    }
    let of = pairs.figures();
    let mut figures: BTreeMap<_, _> = [("rmse", of.rmse), ("mae", of.mae)].into();
    figures.extend(of.pearson.map(|it| ("pearson", it)));
    figures.extend(of.spearman.map(|it| ("spearman", it)));
    figures
}
