//! The embeddings: words, positions and token types.

use burn::tensor::{Device, Int, Tensor, TensorData, assert_shape};

use super::norm::{LayerNorm, NormShape};
use super::pass::Pass;
use crate::family::{EmbeddingNames, Positions, Projection};
use crate::model::batch::Batch;
use crate::model::config::ModelConfig;
#[cfg(feature = "device")]
use crate::model::device::inputs::{Inputs, Numbers};
#[cfg(feature = "device")]
use crate::model::device::{self, Value};
#[cfg(feature = "device")]
use crate::model::noise::Mask;
use crate::model::noise::Site;
use crate::model::ops;
use crate::model::parameters::{Linear, Parameter, ParameterSource, table};

/// Words, positions and token types, summed and normalised.
#[derive(Clone, Debug)]
pub(super) struct Embeddings {
    pub(super) words: Tensor<2>,
    positions: Option<PositionTable>,
    types: Option<Tensor<2>>,
    /// A linear layer before the norm, or after it.
    projection: Option<(Place, Linear)>,
    norm: LayerNorm,
    pad: usize,
    names: &'static EmbeddingNames,
}

/// The table of positions.
#[derive(Clone, Debug)]
struct PositionTable {
    table: Tensor<2>,
    name: &'static str,
    /// Whether tokens count from the position after that of padding, as in RoBERTa and MPNet;
    /// otherwise all tokens count from 0.
    after_pad: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeNorm,
    AfterNorm,
}

impl Embeddings {
    pub(super) fn new(
        config: &ModelConfig,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Embeddings {
        let names = &config.family.embeddings;
        let (size, hidden) = (config.embedding.size, config.hidden_size);
        let mut of = |name: &str, entries: usize| {
            table(source, &format!("{name}.weight"), [entries, size], device)
        };
        let words = of(names.words, config.vocab_size);
        let positions = position_name(names).filter(|_| config.embedding.has_positions);
        let positions = positions.map(|(name, after_pad)| {
            let table = of(name, config.max_position_embeddings);
            PositionTable { table, name, after_pad }
        });
        let types = (config.type_vocab_size > 0).then(|| of(names.types, config.type_vocab_size));
        let projected = projection(names).filter(|_| size != hidden);
        let before = projected.is_some_and(|(place, _)| place == Place::BeforeNorm);
        let shape = NormShape {
            size: if before { hidden } else { size },
            eps: config.form.layer_norm_eps,
            has_bias: config.form.biases.norms,
        };
        let norm = LayerNorm::new(source, names.norm, shape, device);
        let projection = projected.map(|(place, name)| {
            let has_bias = place == Place::AfterNorm;
            (place, Linear::with_bias(source, name, [size, hidden], has_bias, device))
        });
        let pad = config.pad_token_id;
        Embeddings { words, positions, types, projection, norm, pad, names }
    }

    /// # Shapes
    ///
    /// Result: `[rows, width, hidden]`.
    pub(super) fn forward(&self, batch: &Batch, pass: &Pass) -> Tensor<3> {
        let mask = pass.mask(Site::Embeddings, batch.rows, pass.rates.embeddings);
        #[cfg(feature = "device")]
        if let Some(inputs) = &pass.inputs
            && !self.is_projected(Place::BeforeNorm)
        {
            return self.projected(self.forward_on_gpu(inputs, mask, pass), Place::AfterNorm, pass);
        }
        let device = self.words.device();
        let (rows, width) = (batch.rows, batch.width);
        let size = self.words.dims()[1];
        let send = |indices: Vec<i32>| {
            Tensor::<2, Int>::from_data(TensorData::new(indices, [rows, width]), &device)
        };
        let ids = pass.indices(0).unwrap_or_else(|| send(batch.ids.clone()));
        let words = burn::tensor::module::embedding(self.words.clone(), ids);
        let mut states = words;
        if let Some(types) = &self.types {
            let ids = pass.indices(2).or_else(|| batch.types.clone().map(send));
            states = states
                + match ids {
                    Some(ids) => burn::tensor::module::embedding(types.clone(), ids),
                    None => types.clone().narrow(0, 0, 1).reshape([1, 1, size]),
                };
        }
        if let Some(PositionTable { table, after_pad, .. }) = &self.positions {
            states = states
                + match after_pad {
                    // [rows, width]: positions depend on the padding.
                    true => {
                        let sent = pass.indices(1);
                        let positions =
                            sent.unwrap_or_else(|| send(positions_after_pad(batch, self.pad)));
                        burn::tensor::module::embedding(table.clone(), positions)
                    }
                    false => table.clone().narrow(0, 0, width).reshape([1, width, size]),
                };
        }
        assert_shape!(states, [rows, width, size]);
        let states = self.norm.forward(self.projected(states, Place::BeforeNorm, pass));
        let states = ops::dropout(states, mask.as_ref());
        self.projected(states, Place::AfterNorm, pass)
    }

    #[cfg(feature = "device")]
    fn is_projected(&self, at: Place) -> bool {
        self.projection.as_ref().is_some_and(|(place, _)| *place == at)
    }

    /// The states after the projection, if it is at this place.
    fn projected(&self, states: Tensor<3>, at: Place, pass: &Pass) -> Tensor<3> {
        match &self.projection {
            Some((place, linear)) if *place == at => linear.forward(states, pass.precision),
            _ => states,
        }
    }

    /// What a pass over `batch` sends for this part of the network, if it is on a GPU: the entries of
    /// positions and types, and how many different ones the three tables can have in a batch.
    #[cfg(feature = "device")]
    pub(super) fn entries(&self, batch: &Batch) -> Option<([Vec<i32>; 2], [usize; 3])> {
        Value::of(&self.words)?;
        let positions = match &self.positions {
            Some(table) if table.after_pad => positions_after_pad(batch, self.pad),
            Some(_) => (0..batch.rows).flat_map(|_| 0..batch.width as i32).collect(),
            None => vec![0; batch.ids.len()],
        };
        let types = batch.types.clone().filter(|_| self.types.is_some());
        let types = types.unwrap_or_else(|| vec![0; batch.ids.len()]);
        let kinds = self.types.as_ref().map_or(1, |types| types.dims()[0]);
        // One more position for padding.
        let most = [self.words.dims()[0], batch.width + 1, kinds];
        Some(([positions, types], most))
    }

    /// Sends them.
    #[cfg(feature = "device")]
    pub(super) fn inputs(&self, numbers: &Numbers) -> Option<Inputs> {
        Inputs::new(&self.words, numbers)
    }

    /// A batch as a device computes it: its width is one of a few, so that few shapes occur, each of
    /// which costs memory and time, and at most `most`. More padding changes no result.
    #[cfg(feature = "device")]
    pub(super) fn widened(&self, batch: &Batch, most: usize) -> Batch {
        let table = self.positions.as_ref().map_or(usize::MAX, |it| it.table.dims()[0]);
        batch.widened(most.min(table), self.pad as i32)
    }

    #[cfg(feature = "device")]
    fn forward_on_gpu(&self, inputs: &Inputs, mask: Option<Mask>, pass: &Pass) -> Tensor<3> {
        let zeros = || Tensor::zeros([1, self.words.dims()[1]], &self.words.device());
        let types = self.types.clone().unwrap_or_else(zeros);
        let positions = self.positions.as_ref().map(|positions| positions.table.clone());
        let ((weight, eps), bias) = (self.norm.parameters(), self.norm.bias());
        let tables = [&self.words, &positions.unwrap_or_else(zeros), &types];
        let (norm, factors) = ([weight, &bias], (pass.precision, &pass.twins));
        let states = device::embeddings::embeddings(tables, norm, eps, inputs, mask, factors);
        states.unwrap_or_else(|| unreachable!("the inputs are on a GPU"))
    }

    pub(super) fn collect<'a>(&'a mut self, into: &mut Vec<(String, Parameter<'a>)>) {
        let names = self.names;
        let name = |table: &str| format!("{table}.weight");
        into.push((name(names.words), Parameter::Table(&mut self.words)));
        if let Some(positions) = &mut self.positions {
            into.push((name(positions.name), Parameter::Table(&mut positions.table)));
        }
        if let Some(types) = &mut self.types {
            into.push((name(names.types), Parameter::Table(types)));
        }
        self.norm.collect(names.norm, into);
        if let (Some((_, linear)), Some((_, name))) = (&mut self.projection, projection(names)) {
            linear.collect(name, into);
        }
    }
}

/// The name of the table of positions, and whether tokens count from the one after padding.
fn position_name(names: &EmbeddingNames) -> Option<(&'static str, bool)> {
    match names.positions {
        Positions::FromZero(name) | Positions::IfBiased(name) => Some((name, false)),
        Positions::AfterPadding(name) => Some((name, true)),
        Positions::Absent => None,
    }
}

fn projection(names: &EmbeddingNames) -> Option<(Place, &'static str)> {
    match names.projection {
        Projection::Absent => None,
        Projection::BeforeNorm(name) => Some((Place::BeforeNorm, name)),
        Projection::AfterNorm(name) => Some((Place::AfterNorm, name)),
    }
}

/// RoBERTa's positions: `cumsum(id ≠ pad) · (id ≠ pad) + pad`.
fn positions_after_pad(batch: &Batch, pad: usize) -> Vec<i32> {
    let mut positions = Vec::with_capacity(batch.ids.len());
    for row in batch.ids.chunks(batch.width.max(1)) {
        let mut count = 0;
        for id in row {
            let real = *id != pad as i32;
            count += i32::from(real);
            positions.push(if real { count } else { 0 } + pad as i32);
        }
    }
    positions
}
