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
                let rotations =
                    rotary.bases.map(|base| Arc::new(Rotation::new(tokens, size, base)));
                EncoderPositions::Rotations { rotations, window: rotary.window }
            }
            _ => match DistanceTable::new(config, source, device) {
                Some(table) => EncoderPositions::Distances(Box::new(table)),
                None => EncoderPositions::Absent,
            },
        }
    }

    /// The bucket of each pair of tokens, `[width, width]`.
    pub(super) fn buckets(&self, width: usize) -> Option<Vec<i32>> {
        match self {
            EncoderPositions::Buckets(bias) => Some(relative_buckets(width, bias.dims()[0])),
            _ => None,
        }
    }

    /// For a batch of this width, whose buckets may be on the device already.
    pub(super) fn of_width(&self, width: usize, buckets: Option<Tensor<1, Int>>) -> PassPositions {
        match self {
            EncoderPositions::Absent => PassPositions::Absent,
            EncoderPositions::Distances(table) => PassPositions::Table(table.rows(width)),
            EncoderPositions::Rotations { rotations, window } => {
                PassPositions::Rotations { rotations: rotations.clone(), window: *window }
            }
            EncoderPositions::Buckets(bias) => {
                let heads = bias.dims()[1];
                let indices = buckets.unwrap_or_else(|| {
                    let buckets = self.buckets(width).unwrap_or_default();
                    Tensor::from_data(TensorData::new(buckets, [width * width]), &bias.device())
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
