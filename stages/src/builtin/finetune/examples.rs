//! The examples of a training: reads and checks the token files, and evaluates a model on those to
//! validate with.

use std::path::Path;

use super::metrics::ValidMetrics;
use super::params::FinetuneParams;
use super::states::States;
use crate::builtin::token_input::ModelTokens;
use crate::data::classification::Headline;
use crate::data::task::Task;
use crate::data::token_file::TokenFile;
use crate::data::token_labels::Gold;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::WindowPooling;
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::train::class_outputs::{ClassOutputs, WindowOutputs};
use crate::train::evaluation::{Rounding, evaluate, outputs};
use crate::train::loss::MicroBatch;
use crate::train::micro::Rows;
use crate::train::task_evaluation::{evaluate_numbers, evaluate_sets};
use crate::train::task_loss::TaskBatch;

/// The labelled examples of a training, and the sizes of its batches and epochs.
pub struct Examples {
    pub train: TokenFile,
    pub task: Task,
    /// The label of every training row.
    pub golds: Golds,
    /// The tokens of every training row, those of all its windows.
    pub lengths: Vec<usize>,
    /// The validation examples with the label of every row, if there are any.
    pub valid: Option<(TokenFile, Golds)>,
    /// The name of each output of the model.
    pub labels: Vec<String>,
    /// What precision, recall and F1 are of.
    pub headline: Headline,
    pub batch_size: usize,
    pub steps_per_epoch: u64,
    /// How the logits of windows become those of their row.
    pub pooling: WindowPooling,
    /// What a frozen encoder gives the head for every window to train on and to validate with.
    pub states: Option<[States; 2]>,
}

/// The labels of some rows.
pub enum Golds {
    /// The class of every row.
    Classes(Vec<usize>),
    /// The labels of every row, ascending.
    Sets(Vec<Vec<usize>>),
    Numbers(Vec<f64>),
}

impl Examples {
    /// Opens the inputs `train` and `valid`.
    ///
    /// # Errors
    /// The files do not fit the model, a row has no label, there are too few labels, a validation
    /// label is unknown, a parameter needs validation examples and there are none, or one is not for
    /// the task of the labels.
    pub fn open(
        context: &Context,
        mut of_model: ModelTokens,
        params: &FinetuneParams,
    ) -> Result<Examples, StageError> {
        let batch_size = params.batch_size;
        let path = context.input("train")?;
        let train = of_model.open(context, path)?;
        let task = train.task();
        params.check_task(task)?;
        let golds = train_golds(&train, path)?;
        let labels = match task {
            // The name that `transformers` gives the output of a regression.
            Task::Regression => vec!["LABEL_0".to_owned()],
            Task::Single | Task::Multi => train.label_names().to_vec(),
        };
        let headline = match task {
            Task::Single => Headline::of_training(&labels, params.positive.as_deref())
                .map_err(|problem| StageError::Param { name: "positive", problem })?,
            Task::Multi | Task::Regression => Headline::Micro,
        };
        let valid = match context.optional_input("valid") {
            None => None,
            Some(path) => {
                let valid = of_model.open(context, path)?;
                if valid.rows() == 0 {
                    without_valid(context, path, params)?;
                }
                let golds = valid_golds(&valid, path, task, &labels)?;
                Some((valid, golds)).filter(|(valid, _)| valid.rows() > 0)
            }
        };
        let length = |row| train.windows_of(row).map(|window| train.length(window)).sum();
        let lengths: Vec<usize> = (0..train.rows()).map(length).collect();
        let steps_per_epoch = lengths.len().div_ceil(batch_size) as u64;
        if task != Task::Regression {
            warn_of_labels(context, &labels, &headline, &golds, valid.as_ref().map(|it| &it.1));
        }
        Ok(Examples {
            train,
            task,
            golds,
            lengths,
            valid,
            labels,
            headline,
            batch_size,
            steps_per_epoch,
            pooling: params.window_pooling,
            states: None,
        })
    }

    /// Runs the encoder over all rows, once and without dropout, for a training of the head alone.
    /// `path` is where the model comes from, for an error.
    pub fn encode(&mut self, model: &Classifier, path: &Path) -> Result<(), StageError> {
        let model = model.frozen();
        let of = |tokens| States::new(&model, tokens, self.batch_size, path);
        let valid = self.valid.as_ref().map(|(valid, _)| of(valid)).transpose()?;
        self.states = Some([of(&self.train)?, valid.unwrap_or_default()]);
        Ok(())
    }

    /// The windows of some training rows, the shorter ones first, so that a part of them has little
    /// padding.
    pub fn windows_of(&self, rows: &[usize]) -> Vec<usize> {
        let mut windows: Vec<usize> =
            rows.iter().flat_map(|row| self.train.windows_of(*row)).collect();
        // The sort is stable: rows that have one window each stay in their order.
        windows.sort_by_key(|window| self.train.length(*window));
        windows
    }

    /// What the model gives for the validation examples, and their labels, if there are any.
    pub fn valid_outputs(
        &self,
        model: &Classifier,
    ) -> Result<Option<(ClassOutputs, &Golds)>, StageError> {
        let Some((valid, gold)) = &self.valid else { return Ok(None) };
        let (model, classes) = (model.frozen(), self.labels.len());
        let found = match &self.states {
            Some([_, states]) => states.outputs(&model, valid, classes, self.pooling)?,
            None => {
                let (size, result) =
                    (self.batch_size, WindowOutputs::new(valid.rows(), classes, self.pooling));
                outputs(&model, valid, result, size, Rounding::OfBatch, |_| ())?
            }
        };
        Ok(Some((found, gold)))
    }

    /// Evaluates the model on the validation examples, if there are any.
    pub fn evaluate(&self, model: &Classifier) -> Result<Option<ValidMetrics>, StageError> {
        let Some((found, gold)) = self.valid_outputs(model)? else { return Ok(None) };
        let classes = self.labels.len();
        Ok(Some(match gold {
            Golds::Classes(gold) => {
                let evaluation = evaluate(&found, gold, &self.labels, &self.headline);
                ValidMetrics::new(&evaluation, &self.headline)
            }
            Golds::Sets(gold) => ValidMetrics::of_figures(evaluate_sets(found, gold, classes)),
            Golds::Numbers(gold) => ValidMetrics::of_figures(evaluate_numbers(&found, gold)),
        }))
    }
}

/// The rows are windows. Each has the label of its example, and together they weigh as much as one.
impl Rows<TaskBatch> for Examples {
    fn length(&self, window: usize) -> usize {
        self.train.length(window)
    }

    fn part(&self, windows: &[usize], first_row: usize) -> TaskBatch {
        let train = &self.train;
        let sequences = windows.iter().map(|window| (train.ids(*window), train.types(*window)));
        let mut batch = Batch::new(sequences, train.pad_id());
        batch.pooled = self.states.as_ref().map(|[states, _]| states.of(windows));
        let (mut classes, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for row in windows.iter().map(|window| train.row_of(*window)) {
            if train.has_windows() {
                weights.push(1.0 / train.windows_of(row).len() as f64);
            }
            match &self.golds {
                Golds::Classes(all) => classes.push(all[row] as i32),
                Golds::Numbers(all) => targets.push(all[row] as f32),
                Golds::Sets(all) => {
                    let start = targets.len();
                    targets.resize(start + self.labels.len(), 0.0);
                    all[row].iter().for_each(|label| targets[start + label] = 1.0);
                }
            }
        }
        TaskBatch { micro: MicroBatch { batch, classes, weights, first_row }, targets }
    }
}

/// Puts together the labels of rows, of which each has one of this task.
fn golds_of(
    golds: impl Iterator<Item = Result<Gold, StageError>>,
    task: Task,
) -> Result<Golds, StageError> {
    let (mut classes, mut sets, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for gold in golds {
        match gold? {
            Gold::Class(class) => classes.push(class),
            Gold::Classes(set) => sets.push(set),
            Gold::Number(number) => numbers.push(number),
            Gold::None => {}
        }
    }
    Ok(match task {
        Task::Single => Golds::Classes(classes),
        Task::Multi => Golds::Sets(sets),
        Task::Regression => Golds::Numbers(numbers),
    })
}

/// The label of every training row.
fn train_golds(tokens: &TokenFile, path: &Path) -> Result<Golds, StageError> {
    let unfit = |problem: String| StageError::File { path: path.to_owned(), problem };
    if tokens.rows() == 0 {
        return Err(unfit("there are no training examples".to_owned()));
    }
    let found = tokens.label_names().join(", ");
    match (tokens.task(), tokens.label_names().len()) {
        (Task::Single, ..2) => {
            return Err(unfit(format!(
                "a classifier needs two labels or more, there are: {found}"
            )));
        }
        (Task::Multi, 0) => return Err(unfit("no example has a label".to_owned())),
        _ => {}
    }
    let gold = |row| match tokens.gold(row) {
        Gold::None => Err(unfit(format!("example `{}` has no label to train on", tokens.id(row)))),
        gold => Ok(gold),
    };
    golds_of((0..tokens.rows()).map(gold), tokens.task())
}

/// The label of every validation row, in the training file's order of labels.
fn valid_golds(
    tokens: &TokenFile,
    path: &Path,
    task: Task,
    labels: &[String],
) -> Result<Golds, StageError> {
    let unfit = |problem: String| StageError::File { path: path.to_owned(), problem };
    let has_other = |row: usize| tokens.target(row).is_some_and(|target| target.task() != task);
    if (0..tokens.rows()).any(has_other) {
        let (found, trained) = (tokens.task().labels_in_words(), task.labels_in_words());
        return Err(unfit(format!("each row has {found}, those of `train` {trained}")));
    }
    let class_of = |row: usize, class: usize| {
        let name = &tokens.label_names()[class];
        labels.iter().position(|label| label == name).ok_or_else(|| {
            unfit(format!("label `{name}` of example `{}` is not trained", tokens.id(row)))
        })
    };
    let gold = |row| match tokens.gold(row) {
        Gold::None => {
            Err(unfit(format!("example `{}` has no label to evaluate by", tokens.id(row))))
        }
        Gold::Class(class) => class_of(row, class).map(Gold::Class),
        Gold::Classes(set) => {
            let set = set.into_iter().map(|class| class_of(row, class));
            let mut set = set.collect::<Result<Vec<usize>, StageError>>()?;
            set.sort_unstable();
            Ok(Gold::Classes(set))
        }
        number @ Gold::Number(_) => Ok(number),
    };
    golds_of((0..tokens.rows()).map(gold), task)
}

/// Warns of labels without training examples, and of a positive label without validation examples.
fn warn_of_labels(
    context: &Context,
    labels: &[String],
    headline: &Headline,
    train: &Golds,
    valid: Option<&Golds>,
) {
    let used = |golds: &Golds| {
        let mut used = vec![false; labels.len()];
        match golds {
            Golds::Classes(rows) => rows.iter().for_each(|class| used[*class] = true),
            Golds::Sets(rows) => rows.iter().flatten().for_each(|class| used[*class] = true),
            Golds::Numbers(_) => {}
        }
        used
    };
    let unused: Vec<String> =
        labels.iter().zip(used(train)).filter(|it| !it.1).map(|it| format!("`{}`", it.0)).collect();
    if !unused.is_empty() {
        let message = format!("no training example has the label {}", unused.join(", "));
        context.emit(Event::Warning { message });
    }
    let Some(valid) = valid else { return };
    let valid = labels.iter().zip(used(valid)).filter(|it| it.1).map(|it| it.0.as_str());
    if let Some(message) = headline.warning("`valid`", valid) {
        context.emit(Event::Warning { message });
    }
}

/// Warns that the file of validation examples is empty.
///
/// # Errors
/// A parameter needs validation examples.
fn without_valid(
    context: &Context,
    path: &Path,
    params: &FinetuneParams,
) -> Result<(), StageError> {
    if let Some((name, _, why)) = params.needs_valid().into_iter().find(|(_, needed, _)| *needed) {
        let problem = format!("there are no validation examples, and `{name}` needs some {why}");
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    let message = "there are no validation examples, so no epoch is evaluated".to_owned();
    context.emit(Event::Warning { message });
    Ok(())
}
