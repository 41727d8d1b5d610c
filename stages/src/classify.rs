//! A finished model that stays loaded, and texts through it: what `pipe classify` and
//! `pipe why-row` use. The same tokens, batches and decisions as in `tokenize` and `predict`.

use std::borrow::Cow;
use std::path::Path;

use crate::error::StageError;
use crate::ingest::texts::Text;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::ModelConfig;
use crate::model::device;
use crate::model::loading::load;
use crate::model::ops::Precision;
use crate::params::Params;
use crate::predict::deciding::Deciding;
use crate::predict::inference::load_options;
use crate::prediction::Prediction;
use crate::text::{Sequence, TextTokenizer};
use crate::tokenize::{Composer, Row, composer};
use crate::train::evaluation::batch_probabilities;
use crate::train::order::evaluation_batches;

/// A model folder, ready to classify.
pub struct TextClassifier {
    tokenizer: TextTokenizer,
    composer: Composer,
    model: Classifier,
    deciding: Deciding,
    pad_id: u32,
    /// Whether the model looks at token types.
    types: bool,
    batch_size: usize,
    /// What it runs on, in words.
    pub device: String,
}

impl TextClassifier {
    /// Loads a folder; `tokenize` and `predict` are the parameters of the stages of that name.
    pub fn open(
        folder: &Path,
        tokenize: &Params,
        predict: &Params,
        device: &str,
    ) -> Result<TextClassifier, StageError> {
        let config = ModelConfig::read(folder)?;
        let tokenizer = TextTokenizer::open(folder, &config)?;
        let composer = composer(tokenize, &config, &tokenizer)?;
        let deciding = Deciding::new(folder, &config, predict)?;
        let chosen = device::choose(device)?;
        let options = load_options(deciding.labels.len(), Precision::of(predict));
        let model = load(folder, &config, &options, &chosen.device)?.model;
        Ok(TextClassifier {
            tokenizer,
            composer,
            model,
            deciding,
            pad_id: config.pad_token_id as u32,
            types: config.type_vocab_size > 1,
            batch_size: predict.count("batch_size"),
            device: chosen.name,
        })
    }

    /// A prediction for each text, in their order. Texts without an id have an empty one.
    pub fn classify(&self, texts: &[Text]) -> Result<Vec<Prediction>, StageError> {
        let sequences = texts.iter().map(|text| self.sequence(text));
        let sequences: Vec<Sequence> = sequences.collect::<Result<_, _>>()?;
        let probabilities = self.probabilities(&sequences)?;
        let each = texts.iter().zip(probabilities.chunks(self.deciding.labels.len()));
        let each = each.map(|(text, values)| {
            self.deciding.prediction(text.id.clone().unwrap_or_default(), values, None)
        });
        Ok(each.collect())
    }

    /// The tokens of a text, special ones among them, as they are written in the vocabulary.
    pub fn tokens(&self, text: &Text) -> Result<Vec<String>, StageError> {
        let ids = self.sequence(text)?.ids;
        let written = |id: &u32| self.tokenizer.token_text(*id).unwrap_or_default();
        Ok(ids.iter().map(written).collect())
    }

    fn sequence(&self, text: &Text) -> Result<Sequence, StageError> {
        let row = Row {
            id: Cow::Borrowed(""),
            label: None,
            text: Cow::Borrowed(&text.text),
            context: text.context.clone(),
        };
        Ok(self.composer.compose(&self.tokenizer, &row)?.sequence)
    }

    /// Row-major `[sequences, classes]`.
    fn probabilities(&self, sequences: &[Sequence]) -> Result<Vec<f32>, StageError> {
        let classes = self.deciding.labels.len();
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.ids.len()).collect();
        let ids: Vec<Vec<i32>> = sequences
            .iter()
            .map(|sequence| sequence.ids.iter().map(|id| *id as i32).collect())
            .collect();
        let mut result = vec![0.0; sequences.len() * classes];
        for rows in evaluation_batches(&lengths, self.batch_size) {
            let of_row = |row: &usize| {
                let types = self.types.then_some(sequences[*row].types.as_slice());
                (ids[*row].as_slice(), types)
            };
            let batch = Batch::new(rows.iter().map(of_row), self.pad_id);
            let values = batch_probabilities(&self.model, &batch)?;
            for (row, values) in rows.iter().zip(values.chunks(classes)) {
                result[row * classes..(row + 1) * classes].copy_from_slice(values);
            }
        }
        Ok(result)
    }
}
