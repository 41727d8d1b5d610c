//! What all layers share in one forward pass.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use super::dropout::DropoutRates;
use crate::family::OutputDropout;
use crate::model::cpu::attention::{AttentionOptions, Rotation};
#[cfg(feature = "device")]
use crate::model::device::{inputs::Inputs, twins::Twins, weights::LayerFactors};
use crate::model::noise::{Mask, Noise, Site};
use crate::model::ops::Factor;
use crate::model::precision::Precision;

/// The inputs that all layers of one forward pass share.
pub(in crate::model) struct Pass<'a> {
    /// Added to the scores of each key, `[rows, width]`; `None` without padding.
    pub(super) padding: Option<Vec<f32>>,
    pub(super) positions: PassPositions,
    pub(super) heads: usize,
    /// Scores are multiplied by it.
    pub(super) scale: f32,
    pub(super) rates: DropoutRates,
    pub(super) precision: Precision,
    pub(super) noise: Option<&'a Noise>,
    /// On a GPU, what has been sent there for this pass.
    #[cfg(feature = "device")]
    pub(super) inputs: Option<Inputs>,
    /// On a GPU, the weights of each layer as they are multiplied.
    #[cfg(feature = "device")]
    pub(super) factors: Option<Vec<LayerFactors>>,
    /// On a GPU, the latest result of a kernel of norms as a factor.
    #[cfg(feature = "device")]
    pub(super) twins: Twins,
}

/// What scores know of the positions in a batch.
pub(super) enum PassPositions {
    Absent,
    /// MPNet's relative attention bias, added to the scores: `[1, heads, width, width]`.
    Bias(Tensor<4>),
    /// DeBERTa's relative positions.
    Table(DistanceRows),
    /// ModernBERT's rotations of global and of local layers.
    Rotations {
        rotations: [Arc<Rotation>; 2],
        window: usize,
    },
}

/// A row of DeBERTa's table for each distance in a batch.
pub(super) struct DistanceRows {
    /// `[2 · width - 1, hidden]`
    pub(super) rows: Tensor<2>,
    /// Their indices in the table, and its length.
    pub(super) indices: Vec<usize>,
    pub(super) table: usize,
    /// Whether positions are used as keys, and as queries.
    pub(super) uses: [bool; 2],
}

impl Pass<'_> {
    /// The dropout mask of a site; `None` if nothing is dropped.
    pub(in crate::model) fn mask(&self, site: Site, rows: usize, rate: f64) -> Option<Mask> {
        let mask = self.noise.and_then(|noise| noise.mask(site, rows, rate));
        mask.map(|mask| self.sent(mask, site))
    }

    /// The mask of a site with its keys on a GPU, if they were sent.
    #[cfg(feature = "device")]
    pub(super) fn sent(&self, mask: Mask, site: Site) -> Mask {
        mask.with_sent(self.inputs.as_ref().and_then(|inputs| inputs.keys(site)))
    }

    #[cfg(not(feature = "device"))]
    pub(super) fn sent(&self, mask: Mask, _: Site) -> Mask {
        mask
    }

    /// The entries of the tokens in the table of words, positions or types, `[rows, width]`, if they were sent to a
    /// GPU.
    #[cfg(feature = "device")]
    pub(super) fn indices(&self, table: usize) -> Option<Tensor<2, Int>> {
        self.inputs.as_ref().map(|inputs| inputs.indices(table))
    }

    #[cfg(not(feature = "device"))]
    pub(super) fn indices(&self, _: usize) -> Option<Tensor<2, Int>> {
        None
    }

    /// The rate of the dropout after attention.
    pub(super) fn output_rate(&self, dropout: OutputDropout) -> f64 {
        match dropout {
            OutputDropout::Absent => 0.0,
            OutputDropout::Hidden => self.rates.hidden,
            OutputDropout::Attention => self.rates.attention,
        }
    }

    /// How a layer attends to all tokens in a batch of `rows`.
    pub(super) fn attention(&self, layer: usize, rows: usize) -> AttentionOptions {
        let site = Site::AttentionProbabilities { layer };
        AttentionOptions {
            heads: self.heads,
            scale: self.scale,
            padding: self.padding.clone(),
            window: None,
            rotation: None,
            mask: self.mask(site, rows, self.rates.attention),
            precision: self.precision,
            #[cfg(feature = "device")]
            spans: self.inputs.as_ref().and_then(Inputs::spans),
        }
    }

    /// The weights of a layer's query, key and value side by side.
    #[cfg(feature = "device")]
    pub(super) fn projections(&self, layer: usize) -> Factor {
        let weight = self.factors.as_ref().map(|layers| layers[layer].projections.clone());
        Factor { weight, twins: self.twins.clone() }
    }

    /// The weight of the `nth` other linear layer.
    #[cfg(feature = "device")]
    pub(super) fn factor(&self, layer: usize, nth: usize) -> Factor {
        let layer = self.factors.as_ref().map(|layers| &layers[layer]);
        let weight = layer.and_then(|layer| layer.others.get(nth).cloned());
        Factor { weight, twins: self.twins.clone() }
    }

    #[cfg(not(feature = "device"))]
    pub(super) fn projections(&self, _: usize) -> Factor {
        Factor::default()
    }

    #[cfg(not(feature = "device"))]
    pub(super) fn factor(&self, _: usize, _: usize) -> Factor {
        Factor::default()
    }
}
