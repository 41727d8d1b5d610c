//! Texts as token ids in memory, and their masked batches.

use std::path::Path;

use super::masking::Vocabulary;
use super::params::MaskRules;
use crate::data::corpus::{CorpusFormat, for_each_text};
use crate::data::random::Random;
use crate::model::batch::Batch;
use crate::model::config::ModelConfig;
use crate::model::masked_lm::{MaskedLm, Targets};
use crate::model::noise::Noise;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;
use crate::text::TextTokenizer;
use crate::train::micro::Rows;
use crate::train::objective::{Objective, Part};

/// The number of texts that are tokenized at once.
const TEXTS_AT_ONCE: usize = 1 << 14;

/// The token ids of many sequences, in one vector.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    ids: Vec<i32>,
    lengths: Vec<usize>,
    /// The index in `ids` at which each sequence begins.
    starts: Vec<usize>,
    /// The number of texts that were too long and lost their end.
    pub cut: usize,
}

impl Sequences {
    /// Tokenizes a file of texts and cuts sequences to `max_length` tokens. Texts without a token
    /// to predict are left out.
    ///
    /// # Errors
    /// The file cannot be read, or a text has a token that the model does not.
    pub fn read(
        context: &Context,
        path: &Path,
        format: CorpusFormat,
        tokenizer: &TextTokenizer,
        (config, vocabulary): (&ModelConfig, &Vocabulary),
        max_length: usize,
    ) -> Result<Sequences, StageError> {
        let mut sequences = Sequences::default();
        let mut batch: Vec<String> = Vec::new();
        let (mut progress, mut read) = (Progress::new(context, "text"), 0_u64);
        let room = max_length.saturating_sub(tokenizer.layout().single_specials());
        let mut tokenize = |batch: &mut Vec<String>| {
            for mut ids in tokenizer.ids_of_all(batch)? {
                if ids.len() > room {
                    ids.truncate(room);
                    sequences.cut += 1;
                }
                let sequence = tokenizer.layout().single(&ids);
                let ids: Vec<i32> = sequence.ids.iter().map(|id| *id as i32).collect();
                read += 1;
                config.check_sequence(&ids, None).map_err(|problem| {
                    let problem = format!("text {read}: {problem}");
                    StageError::File { path: path.to_owned(), problem }
                })?;
                if vocabulary.has_ordinary(&ids) {
                    sequences.push(&ids);
                }
            }
            progress.update_unknown(sequences.len() as u64);
            batch.clear();
            Ok::<(), StageError>(())
        };
        for_each_text(path, format, |text| {
            batch.push(text.to_owned());
            if batch.len() == TEXTS_AT_ONCE { tokenize(&mut batch) } else { Ok(()) }
        })?;
        tokenize(&mut batch)?;
        Ok(sequences)
    }

    fn push(&mut self, ids: &[i32]) {
        self.starts.push(self.ids.len());
        self.lengths.push(ids.len());
        self.ids.extend_from_slice(ids);
    }

    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn row(&self, row: usize) -> &[i32] {
        &self.ids[self.starts[row]..][..self.lengths[row]]
    }

    /// Splits off a share of the sequences, chosen by the seed, but at least one. Returns the rest
    /// and the held-out sequences, both in their original order.
    pub fn hold_out(self, share: f64, seed: u64) -> (Sequences, Sequences) {
        let mut rows: Vec<usize> = (0..self.len()).collect();
        Random::new(seed, "hold out texts", 0, 0).shuffle(&mut rows);
        let count = ((share * self.len() as f64).round() as usize).max(1).min(self.len());
        let mut is_held_out = vec![false; self.len()];
        rows[..count].iter().for_each(|row| is_held_out[*row] = true);
        let (mut kept, mut held_out) = (Sequences::default(), Sequences::default());
        for (row, is_held_out) in is_held_out.iter().enumerate() {
            if *is_held_out { &mut held_out } else { &mut kept }.push(self.row(row));
        }
        kept.cut = self.cut;
        (kept, held_out)
    }
}

/// Sequences and what determines their masks in one epoch.
pub struct Masked<'a> {
    pub sequences: &'a Sequences,
    pub rules: MaskRules,
    pub vocabulary: &'a Vocabulary,
    pub pad: u32,
    pub seed: u64,
    /// Separates the random numbers of training from those of evaluation.
    pub purpose: &'static str,
    pub epoch: u64,
}

impl Rows<MaskedPart> for Masked<'_> {
    fn length(&self, row: usize) -> usize {
        self.sequences.lengths[row]
    }

    fn part(&self, rows: &[usize], first_row: usize) -> MaskedPart {
        let mut found = Vec::new();
        let masked: Vec<Vec<i32>> = rows
            .iter()
            .map(|row| {
                let mut ids = self.sequences.row(*row).to_vec();
                let mut random = Random::new(self.seed, self.purpose, self.epoch, *row as u64);
                found.push(self.rules.mask(&mut ids, self.vocabulary, &mut random));
                ids
            })
            .collect();
        let batch = Batch::new(masked.iter().map(|ids| (ids.as_slice(), None)), self.pad);
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (row, found) in found.into_iter().enumerate() {
            for (place, truth) in found {
                positions.push(row * batch.width + place);
                targets.push(truth);
            }
        }
        MaskedPart { batch, positions, targets, first_row }
    }
}

/// A part of a batch, and the tokens to predict in it.
pub struct MaskedPart {
    pub batch: Batch,
    /// Positions of the tokens to predict, as row-major indices into `[rows, width]`.
    pub positions: Vec<usize>,
    /// The original tokens at these positions.
    pub targets: Vec<u32>,
    /// The index of its first row in the whole batch.
    pub first_row: usize,
}

impl Part for MaskedPart {
    fn examples(&self) -> f64 {
        self.batch.rows as f64
    }

    fn first_row(&self) -> usize {
        self.first_row
    }

    /// `None`: the output layer shares the table of words, so that every row has a gradient.
    fn words(&self) -> Option<Vec<usize>> {
        None
    }
}

/// The mean cross-entropy of the tokens to predict.
#[derive(Clone, Copy, Debug)]
pub struct MaskedLoss;

impl Objective for MaskedLoss {
    type Model = MaskedLm;
    type Part = MaskedPart;

    fn total_weight(&self, parts: &[MaskedPart]) -> f64 {
        parts.iter().map(|part| part.targets.len()).sum::<usize>().max(1) as f64
    }

    fn of(
        &self,
        model: &MaskedLm,
        part: &MaskedPart,
        total_weight: f64,
        _: f64,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> burn::tensor::Tensor<1> {
        let targets = Targets { positions: &part.positions, ids: &part.targets };
        model.loss(&part.batch, targets, 1.0 / total_weight, noise(0).as_ref())
    }
}
