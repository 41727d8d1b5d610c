//! What all layers know of positions, besides the embeddings.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::distances::DistanceTable;
use super::pass::PassPositions;
use crate::family::Attention;
use crate::model::config::{AttentionConfig, ModelConfig};
use crate::model::cpu::attention::Rotation;
#[cfg(feature = "device")]
use crate::model::device;
use crate::model::parameters::{ParameterSource, table};
use crate::model::relative::relative_buckets;

/// Positions as the layers of an encoder know them.
#[derive(Clone, Debug)]
pub(super) enum EncoderPositions {
    Absent,
    /// MPNet's, `[buckets, heads]`.
    Buckets(Box<Tensor<2>>),
    Distances(Box<DistanceTable>),
    /// The rotations of global and of local layers.
    Rotations {
        rotations: [Arc<Rotation>; 2],
        window: usize,
    },
}

impl EncoderPositions {
    pub(super) fn new(
        config: &ModelConfig,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> EncoderPositions {
        match (&config.attention, config.family.attention) {
            (AttentionConfig::BucketBias { buckets }, Attention::BucketBias { table: name }) => {
                let shape = [*buckets, config.num_attention_heads];
                EncoderPositions::Buckets(Box::new(table(
                    source,
                    &format!("{name}.weight"),
                    shape,
                    device,
                )))
            }
            (AttentionConfig::Rotary(rotary), _) => {
                let size = config.hidden_size / config.num_attention_heads;
                let tokens = config.max_position_embeddings;
                let rotations = rotary.bases.map(|base| {
                    let rotation = Rotation::new(tokens, size, base);
                    #[cfg(feature = "device")]
                    let angles = device::rotation::angles(&rotation, device);
                    #[cfg(feature = "device")]
                    let rotation = Rotation { angles, ..rotation };
                    Arc::new(rotation)
                });
                EncoderPositions::Rotations { rotations, window: rotary.window }
            }
            _ => match DistanceTable::new(config, source, device) {
                Some(table) => EncoderPositions::Distances(Box::new(table)),
                None => EncoderPositions::Absent,
            },
        }
    }

    /// The bucket of each pair of tokens, `[width, width]`, or the row of the table of each distance,
    /// `[2 · width - 1]`; empty without either.
    pub(super) fn relative(&self, width: usize) -> Vec<i32> {
        match self {
            EncoderPositions::Buckets(bias) => relative_buckets(width, bias.dims()[0]),
            EncoderPositions::Distances(table) => {
                table.indices(width).into_iter().map(|index| index as i32).collect()
            }
            EncoderPositions::Absent | EncoderPositions::Rotations { .. } => Vec::new(),
        }
    }

    /// For a batch of this width, whose [`relative`](Self::relative) may be on the device already.
    pub(super) fn of_width(&self, width: usize, sent: Option<Tensor<1, Int>>) -> PassPositions {
        match self {
            EncoderPositions::Absent => PassPositions::Absent,
            EncoderPositions::Distances(table) => PassPositions::Table(table.rows(width, sent)),
            EncoderPositions::Rotations { rotations, window } => {
                PassPositions::Rotations { rotations: rotations.clone(), window: *window }
            }
            EncoderPositions::Buckets(bias) => {
                let heads = bias.dims()[1];
                let indices = sent.unwrap_or_else(|| {
                    #[cfg(feature = "device")]
                    device::sent::note();
                    let buckets = TensorData::new(self.relative(width), [width * width]);
                    Tensor::from_data(buckets, &bias.device())
                });
                #[cfg(feature = "device")]
                if let Some(bias) = device::relative_bias::relative_bias(bias, &indices, width) {
                    return PassPositions::Bias(bias);
                }
                let bias = Tensor::clone(bias).select(0, indices).reshape([1, width, width, heads]);
                PassPositions::Bias(bias.permute([0, 3, 1, 2])) // [1, heads, width, width]
            }
        }
    }
}
