//! Dropout by address. Every mask element is a function of (seed, step, site, example, element),
//! so that micro-batches, padding, threads and resuming leave a training run as it is.
//!
//! The generator is a 32-bit integer mixer, two rounds of `lowbias32` (C. Wellons,
//! *hash-prospector*), over the element's index and the example's key; the keys come from
//! BLAKE3. It is a good source of dropout masks and of nothing else.

use burn::tensor::{Device, Tensor, TensorData};

/// Where in the network a mask is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    Embeddings,
    AttentionProbabilities { layer: usize },
    AttentionOutput { layer: usize },
    FeedForward { layer: usize },
    HeadInput,
    HeadHidden,
}

impl Site {
    fn number(self) -> u64 {
        match self {
            Site::Embeddings => 0,
            Site::HeadInput => 1,
            Site::HeadHidden => 2,
            Site::AttentionProbabilities { layer } => 8 + 4 * layer as u64,
            Site::AttentionOutput { layer } => 9 + 4 * layer as u64,
            Site::FeedForward { layer } => 10 + 4 * layer as u64,
        }
    }
}

/// The randomness of one forward pass over some of a batch's examples.
#[derive(Clone, Debug)]
pub struct Noise {
    step_key: [u8; 32],
    /// The place of the pass's first example in the whole batch.
    first_row: usize,
}

/// Strides of an element's address inside one example; independent of the padded width.
const ADDRESS_WIDTH: u32 = 4096;

impl Noise {
    /// `step` counts optimiser steps from 0 through the whole training.
    pub fn new(seed: u64, step: u64, first_row: usize) -> Noise {
        let mut hasher = blake3::Hasher::new_derive_key("pipe dropout v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&step.to_le_bytes());
        Noise { step_key: *hasher.finalize().as_bytes(), first_row }
    }

    fn row_keys(&self, site: Site, row: usize) -> (u32, u32) {
        let mut hasher = blake3::Hasher::new_keyed(&self.step_key);
        hasher.update(&site.number().to_le_bytes());
        hasher.update(&((self.first_row + row) as u64).to_le_bytes());
        let hash = hasher.finalize();
        let bytes = hash.as_bytes();
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        (word(0), word(4))
    }

    /// A mask for token states.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, tokens, features]`, each element 0 with probability `rate`, else
    /// `1 / (1 - rate)`.
    pub fn states(
        &self,
        site: Site,
        [rows, tokens, features]: [usize; 3],
        rate: f64,
        device: &Device,
    ) -> Tensor<3> {
        let mut values = vec![0.0; rows * tokens * features];
        for (row, values) in values.chunks_mut((tokens * features).max(1)).enumerate() {
            fill(values, 0, self.row_keys(site, row), rate);
        }
        Tensor::from_data(TensorData::new(values, [rows, tokens, features]), device)
    }

    /// A mask for attention probabilities.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, heads, queries, keys]`.
    pub fn probabilities(
        &self,
        site: Site,
        [rows, heads, queries, keys]: [usize; 4],
        rate: f64,
        device: &Device,
    ) -> Tensor<4> {
        let mut values = vec![0.0; rows * heads * queries * keys];
        for (row, values) in values.chunks_mut((heads * queries * keys).max(1)).enumerate() {
            let row_keys = self.row_keys(site, row);
            for (line, values) in values.chunks_mut(keys.max(1)).enumerate() {
                let (head, query) = ((line / queries) as u32, (line % queries) as u32);
                let start = (head * ADDRESS_WIDTH + query).wrapping_mul(ADDRESS_WIDTH);
                fill(values, start, row_keys, rate);
            }
        }
        Tensor::from_data(TensorData::new(values, [rows, heads, queries, keys]), device)
    }
}

fn fill(values: &mut [f32], start: u32, (low, high): (u32, u32), rate: f64) {
    // An element is kept if its 32 random bits reach this threshold.
    let threshold = (rate * 4_294_967_296.0) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    for (index, value) in values.iter_mut().enumerate() {
        let mixed = mix(mix(start.wrapping_add(index as u32).wrapping_add(low)) ^ high);
        *value = if mixed >= threshold { kept } else { 0.0 };
    }
}

/// `lowbias32`.
fn mix(mut bits: u32) -> u32 {
    bits ^= bits >> 16;
    bits = bits.wrapping_mul(0x7feb_352d);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x846c_a68b);
    bits ^ (bits >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(first_row: usize, dims: [usize; 3]) -> Vec<f32> {
        let noise = Noise::new(42, 7, first_row);
        let mask = noise.states(Site::FeedForward { layer: 3 }, dims, 0.1, &Device::flex());
        mask.try_to_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_tenth_of_the_elements_is_dropped() {
        let mask = mask(0, [8, 64, 256]);
        let dropped = mask.iter().filter(|value| **value == 0.0).count() as f64;
        // 131,072 draws: five standard deviations are 0.0041.
        assert!((dropped / mask.len() as f64 - 0.1).abs() < 0.0041);
        assert!(mask.iter().all(|value| *value == 0.0 || (*value - 1.0 / 0.9).abs() < 1e-6));
    }

    #[test]
    fn a_micro_batch_gets_the_masks_of_its_rows_in_the_whole_batch() {
        let whole = mask(0, [4, 16, 8]);
        let second_half = mask(2, [2, 16, 8]);
        assert_eq!(whole[2 * 16 * 8..], second_half[..]);
    }

    #[test]
    fn padding_to_another_width_leaves_the_mask_of_a_token_as_it_is() {
        let noise = Noise::new(1, 2, 0);
        let site = Site::AttentionProbabilities { layer: 0 };
        let device = Device::flex();
        let narrow = noise.probabilities(site, [1, 2, 3, 3], 0.5, &device);
        let wide = noise.probabilities(site, [1, 2, 5, 5], 0.5, &device);
        let corner = wide.slice([0..1, 0..2, 0..3, 0..3]);
        assert_eq!(narrow.try_to_vec_as::<f32>().unwrap(), corner.try_to_vec_as::<f32>().unwrap());
    }

    #[test]
    fn steps_sites_and_seeds_have_masks_of_their_own() {
        let device = Device::flex();
        let of = |seed, step, site| {
            let mask = Noise::new(seed, step, 0).states(site, [1, 8, 8], 0.5, &device);
            mask.try_to_vec_as::<f32>().unwrap()
        };
        let masks = [
            of(1, 1, Site::Embeddings),
            of(2, 1, Site::Embeddings),
            of(1, 2, Site::Embeddings),
            of(1, 1, Site::HeadInput),
        ];
        for (index, mask) in masks.iter().enumerate() {
            assert!(!masks[..index].contains(mask));
        }
    }
}
