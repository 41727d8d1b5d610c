//! Classifies texts with a model that stays loaded, for `pipe classify`, `pipe serve` and the report.
//! It uses the same tokens and decisions as `tokenize` and `predict`. On the CPU it computes the same
//! bits, because what the model gives for a text does not depend on its batch.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::builtin::predict::deciding::Deciding;
use crate::builtin::predict::inference::load_options;
use crate::builtin::predict::params::PredictParams;
use crate::builtin::tokenize::compose::{Composed, Composer};
use crate::builtin::tokenize::cut_texts;
use crate::builtin::tokenize::params::{ResponsePlace, TokenizeParams, TruncatedSide};
use crate::data::example::Example;
use crate::data::prediction::Prediction;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::token_file::Sequence;
use crate::model::accelerator;
use crate::model::accelerator::inspection::product_on;
use crate::model::accelerator::need::{Purpose, Work};
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::{ModelConfig, WindowPooling};
use crate::model::loading::load;
use crate::model::parameters::Network;
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::text::TextTokenizer;
use crate::train::class_outputs::{ClassOutputs, WindowOutputs};
use crate::train::evaluation::{Rounding, argmax, batch_outputs, outputs_of_batches};
use crate::train::order::evaluation_batches;

/// How many windows go through the network at once on the CPU.
const HOST_BATCH: usize = 8;

/// A model that is ready to classify texts.
pub struct TextClassifier {
    folder: PathBuf,
    tokenizer: TextTokenizer,
    composer: Composer,
    model: Classifier,
    deciding: Deciding,
    config: ModelConfig,
    batch_size: usize,
    pooling: WindowPooling,
    /// The device it runs on, in words.
    pub device: String,
    computes_on: Device,
}

/// A token and its contribution to the predicted label.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenWeight {
    /// As the vocabulary writes it.
    pub token: String,
    /// A difference of probabilities, from -1 to 1.
    pub weight: f64,
}

/// A text as the model reads it.
pub struct PreparedText {
    /// At least one.
    windows: Vec<Sequence>,
    /// Whether the text was cut to `max_length`.
    pub is_cut: bool,
}

impl PreparedText {
    /// How many tokens the model reads, in all windows.
    pub fn tokens(&self) -> usize {
        self.windows.iter().map(|window| window.ids.len()).sum()
    }
}

/// What the model gives for a text, one number for each class.
#[derive(Clone, Debug, PartialEq)]
pub struct TextScores {
    pub logits: Vec<f32>,
    /// What decisions are made by: probabilities, or the number.
    pub values: Vec<f32>,
}

impl TextClassifier {
    /// Loads a model folder. `tokenize` and `predict` are the parameters of the stages with these
    /// names.
    pub fn open(
        folder: &Path,
        tokenize: &Params,
        predict: &Params,
        device: &str,
    ) -> Result<TextClassifier, StageError> {
        let config = ModelConfig::read(folder)?;
        let tokenizer = TextTokenizer::open(folder, config.family)?;
        let composer = Composer::new(&TokenizeParams::of(tokenize), &config, &tokenizer)?;
        let predict = PredictParams::of(predict);
        let deciding = Deciding::new(folder, &config, &predict)?;
        let pooling = predict.window_pooling.pooling(&config);
        let purpose = Purpose::Inference;
        let work = Work { config: &config, precision: predict.precision, purpose };
        let chosen = accelerator::open(device, &work)?;
        let options = load_options(deciding.labels.len(), predict.precision);
        let model = load(folder, &config, &options, &chosen.device)?.model;
        Ok(TextClassifier {
            folder: folder.to_owned(),
            tokenizer,
            composer,
            model,
            deciding,
            config,
            batch_size: predict.batch_size,
            pooling,
            device: chosen.name,
            computes_on: chosen.device,
        })
    }

    /// A prediction for each text, in the same order, and how many of the texts were cut to
    /// `max_length`. A text without an id gets an empty one.
    pub fn classify(&self, texts: &[Example]) -> Result<(Vec<Prediction>, u64), StageError> {
        let prepared = texts.iter().map(|text| self.prepare(text));
        let prepared: Vec<PreparedText> = prepared.collect::<Result<_, _>>()?;
        let cut = prepared.iter().filter(|text| text.is_cut).count() as u64;
        let scores = self.scores(&prepared.iter().collect::<Vec<_>>())?;
        let each = texts.iter().zip(&scores);
        Ok((each.map(|(text, scores)| self.decide(text.id.clone(), scores)).collect(), cut))
    }

    /// Tokenizes a text that has been cleaned.
    pub fn prepare(&self, text: &Example) -> Result<PreparedText, StageError> {
        let composed = self.composed(text)?;
        Ok(PreparedText { is_cut: composed.lost_tokens > 0, windows: composed.windows })
    }

    /// What the model gives for each text, in the same order.
    pub fn scores(&self, texts: &[&PreparedText]) -> Result<Vec<TextScores>, StageError> {
        let texts: Vec<&[Sequence]> = texts.iter().map(|text| &text.windows[..]).collect();
        let found = self.outputs(&texts)?;
        let classes = self.deciding.labels.len();
        let logits = found.logits.clone();
        let values = found.scores(self.deciding.task);
        let each = logits.chunks(classes).zip(values.chunks(classes));
        let of = |(logits, values): (&[f32], &[f32])| TextScores {
            logits: logits.to_vec(),
            values: values.to_vec(),
        };
        Ok(each.map(of).collect())
    }

    /// Whether the device still computes. A GPU that has failed once may do nothing more for this process.
    ///
    /// # Errors
    /// It does not: why.
    pub fn check_device(&self) -> Result<(), String> {
        product_on(&self.computes_on).map(drop)
    }

    /// The prediction that `predict` would write for these scores.
    pub fn decide(&self, id: String, scores: &TextScores) -> Prediction {
        self.deciding.prediction(id, &scores.values, None)
    }

    /// The label of each class. Several may have the same.
    pub fn labels(&self) -> &[String] {
        &self.deciding.labels
    }

    pub fn task(&self) -> Task {
        self.deciding.task
    }

    /// The most tokens that the model reads at once.
    pub fn max_length(&self) -> usize {
        self.composer.max_length
    }

    /// The tokens that neighbouring windows of a longer text share; `None` if it is cut instead.
    pub fn window_stride(&self) -> Option<usize> {
        self.composer.stride
    }

    /// Whether longer texts lose their first tokens instead of their last ones.
    pub fn cuts_left(&self) -> bool {
        self.composer.side == TruncatedSide::Left
    }

    /// Whether the model reads a text before its context.
    pub fn reads_text_first(&self) -> bool {
        self.composer.response == ResponsePlace::First
    }

    /// The family of the encoder, as `model_type` names it.
    pub fn family(&self) -> &'static str {
        self.config.family.name
    }

    /// Says how many of the texts were cut, if it is more than one in a hundred.
    pub fn cut_texts(&self, cut: u64, texts: u64) -> Option<String> {
        cut_texts(cut, texts, self.composer.max_length)
    }

    /// The tokens of a text as the vocabulary writes them, including the special tokens of each
    /// window.
    pub fn tokens(&self, text: &Example) -> Result<Vec<String>, StageError> {
        let windows = self.composed(text)?.windows;
        let written = |id: &u32| self.tokenizer.token_text(*id).unwrap_or_default();
        Ok(windows.iter().flat_map(|window| &window.ids).map(written).collect())
    }

    /// The weight of each token of the text itself, without context and special tokens: the
    /// probability of the predicted label, minus its probability without the token
    /// (leave-one-out). Of several labels it is that of the likeliest one, of a number the number
    /// itself. Empty for a text of several windows, which would take a pass of every window for each
    /// of its many tokens.
    pub fn weights(&self, text: &Example) -> Result<Vec<TokenWeight>, StageError> {
        let [whole] = &self.composed(text)?.windows[..] else { return Ok(Vec::new()) };
        let mut places = self.places_of_text(whole, text)?;
        if whole.ids.len() == 1 {
            // Nothing is left without the only token.
            places.clear();
        }
        let without = |at: &usize| {
            let mut sequence = whole.clone();
            sequence.ids.remove(*at);
            sequence.types.remove(*at);
            sequence
        };
        let others: Vec<Sequence> = places.iter().map(without).collect();
        let each = std::iter::once(whole).chain(&others);
        let each: Vec<&[Sequence]> = each.map(std::slice::from_ref).collect();
        let probabilities = self.outputs(&each)?.scores(self.deciding.task);
        let mut rows = probabilities.chunks(self.deciding.labels.len());
        let values = rows.next().unwrap_or_default();
        let class = match self.deciding.prediction(String::new(), values, None).label {
            Target::Label(label) => {
                self.deciding.labels.iter().position(|it| *it == label).unwrap_or(0)
            }
            // The likeliest label, or the only number.
            Target::Labels(_) | Target::Number(_) => argmax(values),
        };
        let weights = places.iter().zip(rows).map(|(at, row)| TokenWeight {
            token: self.tokenizer.token_text(whole.ids[*at]).unwrap_or_default(),
            weight: f64::from(values[class]) - f64::from(row[class]),
        });
        Ok(weights.collect())
    }

    /// The positions of the text's own tokens in a sequence, without context and special tokens.
    fn places_of_text(
        &self,
        sequence: &Sequence,
        text: &Example,
    ) -> Result<Vec<usize>, StageError> {
        let special = self.special_ids();
        let ids = sequence.ids.iter().enumerate();
        let mut places: Vec<usize> =
            ids.filter(|(_, id)| !special.contains(id)).map(|(at, _)| at).collect();
        let alone = Example { context: Vec::new(), ..text.clone() };
        let own = self.composed(&alone)?.windows;
        let own = own.iter().flat_map(|window| &window.ids);
        let own = own.filter(|id| !special.contains(id)).count();
        let others = places.len().saturating_sub(own);
        match self.composer.response {
            ResponsePlace::First => places.truncate(own),
            ResponsePlace::Last => drop(places.drain(..others)),
        }
        Ok(places)
    }

    fn special_ids(&self) -> Vec<u32> {
        let special = self.tokenizer.special_ids();
        [special.cls, special.sep, special.pad].into_iter().flatten().collect()
    }

    fn composed(&self, text: &Example) -> Result<Composed, StageError> {
        let mut composed = self.composer.compose(&self.tokenizer, text)?;
        for Sequence { ids, types } in &mut composed.windows {
            if self.config.type_vocab_size <= 1 {
                types.fill(0);
            }
            self.config.check_sequence(ids, Some(types)).map_err(|problem| {
                let start: String = text.text.chars().take(40).collect();
                let problem = format!(
                    "its tokenizer does not fit the model: {problem}, in the text `{start}`"
                );
                StageError::File { path: self.folder.clone(), problem }
            })?;
        }
        Ok(composed)
    }

    /// What the model gives for each text, from its windows.
    fn outputs(&self, texts: &[&[Sequence]]) -> Result<ClassOutputs, StageError> {
        let text_of = texts.iter().enumerate();
        let text_of = text_of.flat_map(|(text, windows)| vec![text; windows.len()]);
        let text_of: Vec<usize> = text_of.collect();
        let windows: Vec<&Sequence> = texts.iter().copied().flatten().collect();
        let to_ids = |window: &&Sequence| window.ids.iter().map(|id| *id as i32).collect();
        let ids: Vec<Vec<i32>> = windows.iter().map(to_ids).collect();
        let has_types = self.config.type_vocab_size > 1;
        let pad = self.config.pad_token_id as u32;
        let of = |batch: &[usize]| {
            let sequence = |at: &usize| {
                let types = has_types.then_some(windows[*at].types.as_slice());
                (ids[*at].as_slice(), types)
            };
            let name = |at: usize| format!("text {}", text_of[batch[at]] + 1);
            let batch = Batch::new(batch.iter().map(sequence), pad);
            batch_outputs(&self.model, &batch, Rounding::OfRow, name)
        };
        let result = WindowOutputs::new(texts.len(), self.deciding.labels.len(), self.pooling);
        // The texts of a moment differ in length, so on the CPU small batches save more padding than
        // they cost. Two of them share the cores, also if all windows would fit into one.
        let most = match self.model.clone().is_on_host() {
            true => HOST_BATCH.min(windows.len().div_ceil(2)),
            false => self.batch_size,
        };
        let batch_size = self.batch_size.min(most).max(1);
        let batches = evaluation_batches(windows.len(), |at| ids[at].len(), batch_size);
        outputs_of_batches(&self.model, result, batches, |at| text_of[at], of, |_| ())
    }
}
