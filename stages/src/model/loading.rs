//! Builds a [`Classifier`] or a [`MaskedLm`] from a model folder or with random weights. Every
//! tensor that is missing, misshapen or left over is reported. Only a head may be missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::classifier::Classifier;
use super::config::{Family, ModelConfig};
use super::encoder::DropoutRates;
use super::masked_lm::MaskedLm;
use super::parameters::{ParameterSource, Start};
use super::precision::Precision;
use super::weight_files::Checkpoint;
use crate::data::random::Random;
use crate::stage::error::StageError;

/// How a classifier is built.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    pub classes: usize,
    pub rates: DropoutRates,
    pub head_rate: f64,
    pub precision: Precision,
    /// The seed of random initialisation.
    pub seed: u64,
    pub weights: Weights,
    pub head: HeadSource,
}

/// The source of the encoder weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// The folder's checkpoint.
    Pretrained,
    /// From `config.json` alone.
    Random,
}

/// The source of the head weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadSource {
    /// The checkpoint, which must have it, with its classes in their own order.
    Checkpoint,
    /// The checkpoint, which must have it, with its classes in this order.
    Classes(Vec<usize>),
    /// Random weights.
    New,
}

/// A model, and the parameters that were initialised at random.
pub struct Loaded {
    pub model: Classifier,
    /// Names of the randomly initialised parameters.
    pub new_parameters: Vec<String>,
}

/// Builds the model of `folder` on `device`.
pub fn load(
    folder: &Path,
    config: &ModelConfig,
    options: &LoadOptions,
    device: &Device,
) -> Result<Loaded, StageError> {
    let checkpoint = match options.weights {
        Weights::Pretrained => Some(Checkpoint::open(folder)?),
        Weights::Random => None,
    };
    let wants = Wants::Classifier { new_head: options.head == HeadSource::New };
    let mut loader = Loader::new(checkpoint.as_ref(), wants, options.seed, config);
    if let HeadSource::Classes(order) = &options.head {
        loader.order = Some(order);
    }
    loader.rounds_weights = options.precision == Precision::Int8;
    let model = Classifier::new(
        config,
        options.classes,
        options.rates,
        options.head_rate,
        options.precision,
        &mut loader,
        device,
    );
    let new_parameters = loader.finish(folder)?;
    Ok(Loaded { model, new_parameters })
}

/// Builds the masked language model of `folder` on `device`. A checkpoint may lack the output
/// layer, which is then initialised at random.
pub fn load_masked_lm(
    folder: &Path,
    config: &ModelConfig,
    options: &MaskedLmOptions,
    device: &Device,
) -> Result<(MaskedLm, Vec<String>), StageError> {
    if config.raw.get("tie_word_embeddings").and_then(serde_json::Value::as_bool) == Some(false) {
        let path = folder.join("config.json");
        let problem = "`tie_word_embeddings` is false, only a tied output layer is supported";
        return Err(StageError::File { path, problem: problem.to_owned() });
    }
    let checkpoint = match options.weights {
        Weights::Pretrained => Some(Checkpoint::open(folder)?),
        Weights::Random => None,
    };
    let dense = format!("{}.weight", config.family.masked_lm.dense);
    let has_head = checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.get(&dense).is_some());
    let pooler = checkpoint
        .as_ref()
        .zip(config.family.pooler())
        .is_some_and(|(checkpoint, name)| checkpoint.get(&format!("{name}.weight")).is_some());
    let wants = Wants::MaskedLm { has_head, pooler };
    let mut loader = Loader::new(checkpoint.as_ref(), wants, options.seed, config);
    let (rates, precision) = (options.rates, options.precision);
    let model = MaskedLm::new(config, rates, precision, pooler, &mut loader, device);
    let new_parameters = loader.finish(folder)?;
    Ok((model, new_parameters))
}

/// How a masked language model is built.
#[derive(Clone, Debug)]
pub struct MaskedLmOptions {
    pub rates: DropoutRates,
    pub precision: Precision,
    /// The seed of random initialisation.
    pub seed: u64,
    pub weights: Weights,
}

/// The kind of model that a checkpoint is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Classifier {
        new_head: bool,
    },
    /// Whether the checkpoint has the output layer, and whether the pooler is kept.
    MaskedLm {
        has_head: bool,
        pooler: bool,
    },
}

impl Wants {
    /// Whether the tensor is initialised at random although there is a checkpoint.
    fn is_new(self, name: &str, family: &Family) -> bool {
        match self {
            Wants::Classifier { new_head } => new_head && begins(name, family.head.new),
            Wants::MaskedLm { has_head, .. } => !has_head && family.masked_lm.is_part(name),
        }
    }

    /// Whether a checkpoint may lack the tensor.
    fn may_lack(self, name: &str, family: &Family) -> bool {
        // A BERT saved without a pooler gets a new one together with a new head.
        self == Wants::Classifier { new_head: true } && begins(name, family.head.may_lack)
    }

    /// Whether an unused tensor is expected: buffers, other heads, a pooler that no head uses, and
    /// a head that is replaced.
    fn ignores(self, name: &str, family: &Family) -> bool {
        if name == "embeddings.position_ids" || name == "embeddings.token_type_ids" {
            return true;
        }
        let is_of_classifier = begins(name, family.head.new) || begins(name, family.head.may_lack);
        match self {
            Wants::Classifier { new_head } => {
                begins(name, family.unused) || (new_head && is_of_classifier)
            }
            // The decoder is tied, and BERT's next-sentence task is not trained.
            Wants::MaskedLm { .. } => {
                is_of_classifier
                    || begins(name, family.masked_lm.unused)
                    || begins(name, family.other_tasks)
            }
        }
    }
}

fn begins(name: &str, with: &[&str]) -> bool {
    with.iter().any(|start| name.starts_with(start))
}

/// Whether a tensor of the head has a row for each class.
fn is_of_classes(name: &str, family: &Family) -> bool {
    name.strip_prefix(family.head.output).is_some_and(|part| [".weight", ".bias"].contains(&part))
}

/// The rows of a row-major table in another order.
fn in_order(values: &[f32], order: &[usize]) -> Vec<f32> {
    let width = values.len() / order.len().max(1);
    order.iter().flat_map(|row| &values[row * width..][..width]).copied().collect()
}

struct Loader<'a> {
    checkpoint: Option<&'a Checkpoint>,
    wants: Wants,
    /// The order of the head's classes; `None` for that of the checkpoint.
    order: Option<&'a [usize]>,
    /// Whether linear layers hold their weights in 8 bits.
    rounds_weights: bool,
    family: &'static Family,
    seed: u64,
    standard_deviation: f64,
    taken: BTreeSet<String>,
    new: Vec<String>,
    problems: Vec<String>,
    failure: Option<StageError>,
}

impl ParameterSource for Loader<'_> {
    fn rounds_weights(&self) -> bool {
        self.rounds_weights
    }

    fn values(&mut self, name: &str, shape: &[usize], start: Start) -> Vec<f32> {
        let count = shape.iter().product();
        let Some(checkpoint) = self.checkpoint else {
            return self.random(name, count, start);
        };
        if self.wants.is_new(name, self.family) {
            return self.random(name, count, start);
        }
        let tensor = checkpoint.get(name).or_else(|| {
            // The bias is tied too, and some checkpoints store only the other name.
            let names = &self.family.masked_lm;
            names.other_bias.filter(|_| name == names.bias).and_then(|name| checkpoint.get(name))
        });
        let Some(tensor) = tensor else {
            if self.wants.may_lack(name, self.family) {
                return self.random(name, count, start);
            }
            self.problems.push(format!("`{name}` is missing"));
            return vec![0.0; count];
        };
        self.taken.insert(name.to_owned());
        if tensor.shape != shape {
            self.problems.push(format!(
                "`{}` has shape {:?}, expected {shape:?}",
                tensor.stored_name, tensor.shape
            ));
            return vec![0.0; count];
        }
        let values = tensor.read().unwrap_or_else(|error| {
            self.failure.get_or_insert(error);
            vec![0.0; count]
        });
        match self.order {
            Some(order) if is_of_classes(name, self.family) => in_order(&values, order),
            _ => values,
        }
    }
}

impl<'a> Loader<'a> {
    fn new(
        checkpoint: Option<&'a Checkpoint>,
        wants: Wants,
        seed: u64,
        config: &ModelConfig,
    ) -> Loader<'a> {
        let range = config.raw.get("initializer_range").and_then(serde_json::Value::as_f64);
        Loader {
            checkpoint,
            wants,
            order: None,
            rounds_weights: false,
            family: config.family,
            seed,
            standard_deviation: range.unwrap_or(0.02),
            taken: BTreeSet::new(),
            new: Vec::new(),
            problems: Vec::new(),
            failure: None,
        }
    }

    fn random(&mut self, name: &str, count: usize, start: Start) -> Vec<f32> {
        self.new.push(name.to_owned());
        match start {
            Start::Zeros => vec![0.0; count],
            Start::Ones => vec![1.0; count],
            Start::Normal => {
                let mut random = Random::new(self.seed, &format!("initial {name}"), 0, 0);
                let deviation = self.standard_deviation;
                (0..count).map(|_| (random.normal() * deviation) as f32).collect()
            }
        }
    }

    /// The names of new parameters, or an error that lists every tensor that does not fit.
    fn finish(mut self, folder: &Path) -> Result<Vec<String>, StageError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        for name in self.checkpoint.into_iter().flat_map(Checkpoint::names) {
            if !self.taken.contains(name) && !self.wants.ignores(name, self.family) {
                self.problems.push(format!("`{name}` is left over"));
            }
        }
        if self.problems.is_empty() {
            return Ok(self.new);
        }
        const SHOWN: usize = 8;
        let hidden = self.problems.len().saturating_sub(SHOWN);
        self.problems.truncate(SHOWN);
        let mut problem = self.problems.join("; ");
        if hidden > 0 {
            problem.push_str(&format!("; and {hidden} more"));
        }
        problem.push_str(&format!(
            " (expected the tensors of a {} as its config.json describes it)",
            self.family.name
        ));
        let path: PathBuf = folder.to_owned();
        Err(StageError::File { path, problem })
    }
}
