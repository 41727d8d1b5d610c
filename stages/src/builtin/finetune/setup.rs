//! Prepares a training: chooses the head, and builds the trainer from the examples and the
//! parameters.

use std::path::Path;

use super::choices::{HeadChoice, PoolingChoice, ThresholdChoice};
use super::examples::{Examples, Golds};
use super::params::{ClassWeights, FinetuneParams, Freeze, Length};
use crate::data::task::Task;
use crate::model::classifier::Classifier;
use crate::model::config::{DecisionThreshold, ModelConfig, Pooling, TextWindows};
use crate::model::head::{CheckpointHead, classes_by_label};
use crate::model::loading::{HeadSource, LoadOptions, Weights};
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::train::binary_loss::{BinaryLoss, balanced_positive_weights};
use crate::train::depth::Depth;
use crate::train::loss::{Loss, balanced_weights};
use crate::train::optimizer::{AdamW, Moments};
use crate::train::step::Trainer;
use crate::train::task_loss::TaskLoss;

/// The head that the training starts from. The checkpoint's own head is taken over if it has the
/// labels of the data, each of its classes as the one with the same name. With 0 epochs its decision
/// threshold goes along.
///
/// # Errors
/// The checkpoint's head must be taken over, because there are 0 epochs or a `label_map`, but has
/// other labels; or it cannot be used at all.
pub fn head(
    context: &Context,
    params: &FinetuneParams,
    config: &mut ModelConfig,
    folder: &Path,
    task: Task,
    labels: &[String],
) -> Result<HeadSource, StageError> {
    let threshold = config.head.threshold.take();
    let thresholds = std::mem::take(&mut config.head.thresholds);
    config.head.task = Some(task);
    let note = |message| context.emit(Event::Note { message });
    let is_random = params.training.weights(folder) == Weights::Random;
    let own = match params.head {
        HeadChoice::Auto if !is_random => CheckpointHead::read(folder, config)?,
        HeadChoice::Auto | HeadChoice::New => None,
    };
    let Some(own) = own else {
        if !params.label_map.is_empty() {
            let message = "`label_map` is not used: the model has no head to take over".to_owned();
            context.emit(Event::Warning { message });
        }
        return Ok(HeadSource::New);
    };
    if own.task != task {
        let problem = format!(
            "the checkpoint's head gives {}, and each row of the data has {}",
            own.task.labels_in_words(),
            task.labels_in_words()
        );
        if params.length.epochs == 0 || !params.label_map.is_empty() {
            return Err(StageError::File { path: folder.to_owned(), problem });
        }
        note(format!("starting from a new head: {problem}"));
        return Ok(HeadSource::New);
    }
    let names = own.mapped(&params.label_map)?;
    let Some(classes) = classes_by_label(&names, labels) else {
        let other = StageError::OtherLabels { head: names, data: labels.to_vec() };
        if params.length.epochs == 0 || !params.label_map.is_empty() {
            return Err(other);
        }
        note(format!("starting from a new head: {other}"));
        return Ok(HeadSource::New);
    };
    if !classes.is_sorted() {
        let message = "the checkpoint's head has the labels of the data in another order; each \
                       class keeps its name";
        note(message.to_owned());
    }
    if params.length.epochs == 0 {
        let moved = |old: DecisionThreshold| {
            let class = classes.iter().position(|class| *class == old.class)?;
            Some(DecisionThreshold { class, ..old })
        };
        config.head.threshold = threshold.and_then(moved);
        let thresholds = classes.iter().map(|class| thresholds.get(*class).copied());
        config.head.thresholds = thresholds.collect::<Option<_>>().unwrap_or_default();
    }
    Ok(HeadSource::Classes(classes))
}

/// How the classifier of `folder` is loaded.
pub fn load_options(
    params: &FinetuneParams,
    config: &ModelConfig,
    classes: usize,
    folder: &Path,
    head: HeadSource,
) -> LoadOptions {
    LoadOptions {
        classes,
        rates: params.training.dropout_rates(config),
        head_rate: params.classifier_dropout.unwrap_or(config.dropout.classifier),
        precision: params.training.precision,
        seed: params.training.seed,
        weights: params.training.weights(folder),
        head,
    }
}

/// The base model's config with the pipeline's changes.
pub fn config(
    params: &FinetuneParams,
    mut config: ModelConfig,
    examples: &Examples,
) -> Result<ModelConfig, StageError> {
    let (task, labels) = (examples.task, &examples.labels);
    config.head.windows = examples.train.stride().map(|stride| TextWindows {
        length: examples.train.max_length(),
        stride,
        pooling: params.window_pooling,
    });
    config.head.pooling = match params.pooling {
        PoolingChoice::Auto => config.head.pooling,
        PoolingChoice::First => Pooling::First,
        PoolingChoice::Mean => Pooling::Mean,
    };
    if params.decision.threshold != ThresholdChoice::None
        && task == Task::Single
        && labels.len() != 2
    {
        let (count, labels) = (labels.len(), labels.join(", "));
        let problem = format!("a threshold is for two labels, there are {count}: {labels}");
        return Err(StageError::Param { name: "threshold", problem });
    }
    Ok(config)
}

/// The trainer before its first step.
pub fn trainer(
    params: &FinetuneParams,
    config: &ModelConfig,
    examples: &Examples,
    model: Classifier,
) -> Result<Trainer<TaskLoss>, StageError> {
    let Length { epochs, schedule_epochs } = params.length;
    let layers = config.num_hidden_layers;
    let steps = examples.steps_per_epoch * schedule_epochs.unwrap_or(epochs);
    Ok(Trainer {
        model,
        moments: Moments::default(),
        loss: match &examples.golds {
            Golds::Classes(classes) => TaskLoss::Single(Loss {
                label_smoothing: params.loss.label_smoothing,
                class_weights: class_weights(params, examples, classes)?,
                r_drop: params.loss.r_drop,
            }),
            Golds::Sets(sets) => TaskLoss::Multi(BinaryLoss {
                positive_weights: positive_weights(params, examples, sets)?,
            }),
            Golds::Numbers(_) => TaskLoss::Regression,
        },
        optimizer: AdamW { layer_decay: params.layer_decay, ..params.training.adam_w(layers) },
        schedule: params.training.schedule.over(steps),
        seed: params.training.seed,
        dropout: true,
        frozen: frozen(params.freeze, layers)?,
    })
}

/// The weight of each class; empty if all are equal.
fn class_weights(
    params: &FinetuneParams,
    examples: &Examples,
    classes: &[usize],
) -> Result<Vec<f64>, StageError> {
    match &params.loss.class_weights {
        ClassWeights::None => Ok(Vec::new()),
        ClassWeights::Balanced => Ok(balanced_weights(classes, examples.labels.len())),
        ClassWeights::Given(weights) => given(weights, &examples.labels, "class_weights"),
    }
}

/// The weight of the rows with each label; empty if all are 1.
fn positive_weights(
    params: &FinetuneParams,
    examples: &Examples,
    sets: &[Vec<usize>],
) -> Result<Vec<f64>, StageError> {
    match &params.loss.positive_weights {
        ClassWeights::None => Ok(Vec::new()),
        ClassWeights::Balanced => Ok(balanced_positive_weights(sets, examples.labels.len())),
        ClassWeights::Given(weights) => given(weights, &examples.labels, "pos_weight"),
    }
}

/// Checks weights that the pipeline gives, in the order of the labels.
fn given(weights: &[f64], labels: &[String], name: &'static str) -> Result<Vec<f64>, StageError> {
    if weights.len() == labels.len() && weights.iter().any(|weight| *weight > 0.0) {
        return Ok(weights.to_vec());
    }
    let problem = format!(
        "there must be a weight for each of the {} labels ({}), and not all may be 0; found {}",
        labels.len(),
        labels.join(", "),
        weights.len()
    );
    Err(StageError::Param { name, problem })
}

/// The highest depth that is not trained, in a model with this many layers.
fn frozen(freeze: Freeze, layers: usize) -> Result<Option<Depth>, StageError> {
    match freeze {
        Freeze::None => Ok(None),
        Freeze::Embeddings => Ok(Some(Depth::Embeddings)),
        Freeze::All => Ok(Some(Depth::Layer(usize::MAX))),
        Freeze::Layers(frozen) if frozen <= layers => Ok(Some(Depth::Layer(frozen - 1))),
        Freeze::Layers(frozen) => {
            let problem = format!("{frozen} layers cannot be frozen, the model has {layers}");
            Err(StageError::Param { name: "freeze", problem })
        }
    }
}
