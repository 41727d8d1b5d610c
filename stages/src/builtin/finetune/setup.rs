//! Prepares a training: reads and checks the token files, and builds the trainer from them and
//! from the parameters.

use std::path::Path;

use super::params::{
    ClassWeights, FinetuneParams, Freeze, HeadChoice, Length, PoolingChoice, ThresholdChoice,
};
use crate::builtin::token_input::ModelTokens;
use crate::data::classification::Headline;
use crate::data::token_file::TokenFile;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::{DecisionThreshold, ModelConfig, Pooling};
use crate::model::head::{CheckpointHead, classes_by_label};
use crate::model::loading::{HeadSource, LoadOptions, Weights};
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::train::depth::Depth;
use crate::train::evaluation::{Evaluation, evaluate, outputs};
use crate::train::loss::{Loss, MicroBatch, balanced_weights};
use crate::train::micro::Rows;
use crate::train::optimizer::{AdamW, Moments};
use crate::train::step::Trainer;

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
    labels: &[String],
) -> Result<HeadSource, StageError> {
    let threshold = config.head.threshold.take();
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

/// The labelled examples of a training, and the sizes of its batches and epochs.
pub struct Examples {
    pub train: TokenFile,
    /// The class of every training row.
    pub classes: Vec<usize>,
    /// The tokens of every training row.
    pub lengths: Vec<usize>,
    /// The validation examples with the class of every row, if there are any.
    pub valid: Option<(TokenFile, Vec<usize>)>,
    pub labels: Vec<String>,
    /// What precision, recall and F1 are of.
    pub headline: Headline,
    pub batch_size: usize,
    pub steps_per_epoch: u64,
}

impl Examples {
    /// Opens the inputs `train` and `valid`.
    ///
    /// # Errors
    /// The files do not fit the model, a row has no label, there are fewer than two labels, a
    /// validation label is unknown, or a parameter needs validation examples and there are none.
    pub fn open(
        context: &Context,
        mut of_model: ModelTokens,
        params: &FinetuneParams,
    ) -> Result<Examples, StageError> {
        let batch_size = params.batch_size;
        let path = context.input("train")?;
        let train = of_model.open(context, path)?;
        let labels = train.label_names().to_vec();
        let classes = classes_of(&train, path)?;
        let headline = Headline::of_training(&labels, params.positive.as_deref())
            .map_err(|problem| StageError::Param { name: "positive", problem })?;
        let valid = match context.optional_input("valid") {
            None => None,
            Some(path) => {
                let valid = of_model.open(context, path)?;
                if valid.rows() == 0 {
                    without_valid(context, path, params)?;
                }
                let classes = valid_classes(&valid, path, &labels)?;
                Some((valid, classes)).filter(|(valid, _)| valid.rows() > 0)
            }
        };
        let lengths: Vec<usize> = (0..train.rows()).map(|row| train.length(row)).collect();
        let steps_per_epoch = lengths.len().div_ceil(batch_size) as u64;
        warn_of_labels(context, &labels, &headline, &classes, valid.as_ref().map(|it| &*it.1));
        Ok(Examples {
            train,
            classes,
            lengths,
            valid,
            labels,
            headline,
            batch_size,
            steps_per_epoch,
        })
    }

    /// Evaluates the model on the validation examples, if there are any.
    pub fn evaluate(&self, model: &Classifier) -> Result<Option<Evaluation>, StageError> {
        let Some((valid, gold)) = &self.valid else { return Ok(None) };
        let classes = self.labels.len();
        let found = outputs(&model.frozen(), valid, classes, self.batch_size, |_| ())?;
        Ok(Some(evaluate(&found, gold, &self.labels, &self.headline)))
    }
}

impl Rows<MicroBatch> for Examples {
    fn length(&self, row: usize) -> usize {
        self.lengths[row]
    }

    fn part(&self, rows: &[usize], first_row: usize) -> MicroBatch {
        let sequences = rows.iter().map(|row| (self.train.ids(*row), self.train.types(*row)));
        MicroBatch {
            batch: Batch::new(sequences, self.train.pad_id()),
            classes: rows.iter().map(|row| self.classes[*row] as i32).collect(),
            first_row,
        }
    }
}

/// The base model's config with the pipeline's changes.
pub fn config(
    params: &FinetuneParams,
    mut config: ModelConfig,
    labels: &[String],
) -> Result<ModelConfig, StageError> {
    config.head.pooling = match params.pooling {
        PoolingChoice::Auto => config.head.pooling,
        PoolingChoice::First => Pooling::First,
        PoolingChoice::Mean => Pooling::Mean,
    };
    if params.threshold != ThresholdChoice::None && labels.len() != 2 {
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
) -> Result<Trainer, StageError> {
    let Length { epochs, schedule_epochs } = params.length;
    let layers = config.num_hidden_layers;
    let steps = examples.steps_per_epoch * schedule_epochs.unwrap_or(epochs);
    Ok(Trainer {
        model,
        moments: Moments::default(),
        loss: Loss {
            label_smoothing: params.loss.label_smoothing,
            class_weights: class_weights(&params.loss.class_weights, examples)?,
            r_drop: params.loss.r_drop,
        },
        optimizer: AdamW { layer_decay: params.layer_decay, ..params.training.adam_w(layers) },
        schedule: params.training.schedule.over(steps),
        seed: params.training.seed,
        dropout: true,
        frozen: frozen(params.freeze, layers)?,
    })
}

/// The weight of each class; empty if all are equal.
fn class_weights(wanted: &ClassWeights, examples: &Examples) -> Result<Vec<f64>, StageError> {
    let labels = &examples.labels;
    let weights = match wanted {
        ClassWeights::None => return Ok(Vec::new()),
        ClassWeights::Balanced => return Ok(balanced_weights(&examples.classes, labels.len())),
        ClassWeights::Given(weights) => weights,
    };
    if weights.len() == labels.len() && weights.iter().any(|weight| *weight > 0.0) {
        return Ok(weights.clone());
    }
    let problem = format!(
        "there must be a weight for each of the {} labels ({}), and not all may be 0; found {}",
        labels.len(),
        labels.join(", "),
        weights.len()
    );
    Err(StageError::Param { name: "class_weights", problem })
}

/// The highest depth that is not trained, in a model with this many layers.
fn frozen(freeze: Freeze, layers: usize) -> Result<Option<Depth>, StageError> {
    match freeze {
        Freeze::None => Ok(None),
        Freeze::Embeddings => Ok(Some(Depth::Embeddings)),
        Freeze::Layers(frozen) if frozen <= layers => Ok(Some(Depth::Layer(frozen - 1))),
        Freeze::Layers(frozen) => {
            let problem = format!("{frozen} layers cannot be frozen, the model has {layers}");
            Err(StageError::Param { name: "freeze", problem })
        }
    }
}

/// The class of every training row.
fn classes_of(tokens: &TokenFile, path: &Path) -> Result<Vec<usize>, StageError> {
    let unfit = |problem: String| StageError::File { path: path.to_owned(), problem };
    if tokens.rows() == 0 {
        return Err(unfit("there are no training examples".to_owned()));
    }
    if tokens.label_names().len() < 2 {
        let found = tokens.label_names().join(", ");
        return Err(unfit(format!("a classifier needs two labels or more, there are: {found}")));
    }
    (0..tokens.rows())
        .map(|row| {
            tokens.label(row).ok_or_else(|| {
                unfit(format!("example `{}` has no label to train on", tokens.id(row)))
            })
        })
        .collect()
}

/// The class of every validation row, in the training file's order of labels.
fn valid_classes(
    tokens: &TokenFile,
    path: &Path,
    labels: &[String],
) -> Result<Vec<usize>, StageError> {
    let unfit = |problem: String| StageError::File { path: path.to_owned(), problem };
    (0..tokens.rows())
        .map(|row| {
            let class = tokens.label(row).ok_or_else(|| {
                unfit(format!("example `{}` has no label to evaluate by", tokens.id(row)))
            })?;
            let name = &tokens.label_names()[class];
            labels.iter().position(|label| label == name).ok_or_else(|| {
                unfit(format!("label `{name}` of example `{}` is not trained", tokens.id(row)))
            })
        })
        .collect()
}

/// Warns of labels without training examples, and of a positive label without validation examples.
fn warn_of_labels(
    context: &Context,
    labels: &[String],
    headline: &Headline,
    train: &[usize],
    valid: Option<&[usize]>,
) {
    let used = |rows: &[usize]| {
        let mut used = vec![false; labels.len()];
        rows.iter().for_each(|class| used[*class] = true);
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
