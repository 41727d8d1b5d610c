//! The inputs of attention besides its tensors.

use std::sync::Arc;

use crate::model::noise::Mask;
use crate::model::precision::Precision;

/// The inputs of attention besides its tensors.
#[derive(Clone, Debug)]
pub struct AttentionOptions {
    pub heads: usize,
    /// Scores are multiplied by it.
    pub scale: f32,
    /// Added to the scores, `[rows, keys]`: 0 for a token, a large negative number for padding.
    pub padding: Option<Vec<f32>>,
    /// Tokens see those up to this distance; `None`: all.
    pub window: Option<usize>,
    /// Rotates queries and keys by their positions.
    pub rotation: Option<Arc<Rotation>>,
    /// Dropout of the probabilities.
    pub mask: Option<Mask>,
    /// On a GPU, the extent of each row between its padding.
    #[cfg(feature = "device")]
    pub spans: Option<crate::model::device::section::Section>,
    pub precision: Precision,
}

/// The angles of rotary positions (Su et al. 2021): feature `i` and feature `i + size / 2` of a token
/// at position `p` are turned by `p · base^(-2 i / size)`.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Half the features of a head.
    pub half: usize,
    /// `[positions, half]`
    pub cosines: Vec<f32>,
    pub sines: Vec<f32>,
    /// Both on a GPU.
    #[cfg(feature = "device")]
    pub angles: Option<burn_cubecl::tensor::CubeTensor>,
}

impl Rotation {
    /// The angles of `positions` tokens in heads of `size` features, in f32 as `transformers`
    /// computes them.
    pub fn new(positions: usize, size: usize, base: f64) -> Rotation {
        let frequencies = Rotation::frequencies(size, base);
        let angles = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |it| position as f32 * it));
        let (cosines, sines) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Rotation {
            half: size / 2,
            cosines,
            sines,
            #[cfg(feature = "device")]
            angles: None,
        }
    }

    /// By how much the angle of each of `size / 2` features grows from position to position.
    pub fn frequencies(size: usize, base: f64) -> Vec<f32> {
        let power = |feature: usize| (base as f32).powf((2 * feature) as f32 / size as f32);
        (0..size / 2).map(|feature| 1.0 / power(feature)).collect()
    }

    /// Turns the `[tokens, size]` features of tokens from position 0 on, or back if `backwards`.
    pub(super) fn turn(&self, features: &mut [f32], backwards: bool) {
        let half = self.half;
        let sign = if backwards { -1.0 } else { 1.0 };
        let angles = self.cosines.chunks(half.max(1)).zip(self.sines.chunks(half.max(1)));
        for (token, (cosines, sines)) in features.chunks_exact_mut((2 * half).max(1)).zip(angles) {
            let (low, high) = token.split_at_mut(half);
            for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                let sine = sign * sine;
                (*low, *high) = (*low * cosine - *high * sine, *high * cosine + *low * sine);
            }
        }
    }
}
