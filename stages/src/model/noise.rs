//! Counter-based dropout. Every mask element is a function of (seed, step, pass, site, example,
//! element), so micro-batches, padding, threads and resuming do not change a training run.
//!
//! The generator is a 32-bit integer mixer, two rounds of `lowbias32` (C. Wellons,
//! *hash-prospector*), over the element's index and the example's key; the keys come from
//! BLAKE3. It is good enough for dropout masks only.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::cpu::vector::vectorised;
#[cfg(feature = "device")]
use super::device::{section::Section, sent};

/// Where in the network a mask is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    Embeddings,
    AttentionProbabilities {
        layer: usize,
    },
    AttentionOutput {
        layer: usize,
    },
    FeedForward {
        layer: usize,
    },
    /// DeBERTa's table of relative positions, one mask for all examples.
    RelativePositions {
        layer: usize,
    },
    /// DeBERTa's convolution after the first layer.
    Convolution,
    HeadInput,
    HeadHidden,
}

impl Site {
    /// Every site of a network with this many layers that has a mask of its own for each example.
    #[cfg(feature = "device")]
    pub(super) fn all(layers: usize) -> Vec<Site> {
        let of_layer = |layer| {
            [
                Site::AttentionProbabilities { layer },
                Site::AttentionOutput { layer },
                Site::FeedForward { layer },
            ]
        };
        let others = [Site::Embeddings, Site::Convolution, Site::HeadInput, Site::HeadHidden];
        others.into_iter().chain((0..layers).flat_map(of_layer)).collect()
    }

    fn number(self) -> u64 {
        match self {
            Site::Embeddings => 0,
            Site::HeadInput => 1,
            Site::HeadHidden => 2,
            Site::Convolution => 3,
            Site::AttentionProbabilities { layer } => 8 + 4 * layer as u64,
            Site::AttentionOutput { layer } => 9 + 4 * layer as u64,
            Site::FeedForward { layer } => 10 + 4 * layer as u64,
            Site::RelativePositions { layer } => 11 + 4 * layer as u64,
        }
    }
}

/// The randomness of one forward pass over consecutive examples of a batch.
#[derive(Clone, Debug)]
pub struct Noise {
    step_key: [u8; 32],
    /// The index in the whole batch of the first example of the pass.
    first_row: usize,
}

/// The stride of element addresses within an example, independent of the padded width.
pub(super) const ADDRESS_WIDTH: u32 = 4096;

impl Noise {
    /// `step` counts the optimiser steps of the whole training from 0; `pass` counts the passes of
    /// one step over the same examples.
    pub fn new(seed: u64, step: u64, first_row: usize, pass: u64) -> Noise {
        let mut hasher = blake3::Hasher::new_derive_key("pipe dropout v2");
        for part in [seed, step, pass] {
            hasher.update(&part.to_le_bytes());
        }
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

    /// The mask of a site for this many rows; `None` if the rate is 0.
    pub fn mask(&self, site: Site, rows: usize, rate: f64) -> Option<Mask> {
        let row_keys = |row| self.row_keys(site, row);
        (rate > 0.0).then(|| Mask::new((0..rows).map(row_keys).collect(), rate))
    }

    /// The mask of a site for the rows of a table that all examples share, whatever part of the
    /// batch the pass is over.
    pub fn mask_of_table(&self, site: Site, rate: f64) -> Option<Mask> {
        let shared = Noise { first_row: 0, ..*self };
        shared.mask(site, 1, rate)
    }

    /// The two keys of each of these rows, of so many features, of the mask of a layer's relative positions.
    #[cfg(feature = "device")]
    pub(super) fn table_keys(&self, layer: usize, rows: &[i32], features: usize) -> Vec<u32> {
        let shared = Noise { first_row: 0, ..*self };
        let (low, high) = shared.row_keys(Site::RelativePositions { layer }, 0);
        let key = |row: &i32| [low.wrapping_add(*row as u32 * features as u32), high];
        rows.iter().flat_map(key).collect()
    }

    /// The two keys of every row of the mask of a site, one after the other.
    #[cfg(feature = "device")]
    pub(super) fn keys(&self, site: Site, rows: usize) -> Vec<u32> {
        let keys = (0..rows).map(|row| self.row_keys(site, row));
        keys.flat_map(|(low, high)| [low, high]).collect()
    }
}

/// The dropout mask of one site, stored as one key per row, from which the elements are computed.
#[derive(Clone, Debug)]
pub struct Mask {
    row_keys: Vec<(u32, u32)>,
    rate: f64,
    /// The keys on the device, if they have been sent.
    #[cfg(feature = "device")]
    sent: Option<Section>,
}

impl Mask {
    fn new(row_keys: Vec<(u32, u32)>, rate: f64) -> Mask {
        Mask {
            row_keys,
            rate,
            #[cfg(feature = "device")]
            sent: None,
        }
    }

    /// The same mask, whose keys have been sent to the device.
    #[cfg(feature = "device")]
    pub(super) fn with_sent(self, sent: Option<Section>) -> Mask {
        Mask { sent, ..self }
    }

    #[cfg(feature = "device")]
    pub(super) fn sent(&self) -> Option<&Section> {
        self.sent.as_ref()
    }

    /// The mask as a tensor: each element 0 with the probability of the rate, else
    /// `1 / (1 - rate)`.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, tokens, features]`.
    pub fn states(&self, [rows, tokens, features]: [usize; 3], device: &Device) -> Tensor<3> {
        #[cfg(feature = "device")]
        sent::note();
        let mut values = vec![1.0; rows * tokens * features];
        let row_size = (tokens * features).max(1);
        values
            .par_chunks_mut(row_size)
            .enumerate()
            .for_each(|(row, values)| self.apply(row, 0, values));
        Tensor::from_data(TensorData::new(values, [rows, tokens, features]), device)
    }

    /// The same for attention probabilities.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, heads, queries, keys]`.
    pub fn probabilities(
        &self,
        [rows, heads, queries, keys]: [usize; 4],
        device: &Device,
    ) -> Tensor<4> {
        #[cfg(feature = "device")]
        sent::note();
        let mut values = vec![1.0; rows * heads * queries * keys];
        let head_size = (queries * keys).max(1);
        values.par_chunks_mut(head_size).enumerate().for_each(|(index, values)| {
            self.apply_to_block(index / heads, index % heads, (0, 0), keys, values);
        });
        Tensor::from_data(TensorData::new(values, [rows, heads, queries, keys]), device)
    }

    /// The mask of selected tokens, one per row, with the same elements as in the full mask.
    /// `positions` are row-major indices into rows of `width` tokens.
    pub fn of_tokens(&self, positions: &[usize], width: usize, features: usize) -> Mask {
        let key = |position: &usize| {
            let (low, high) = self.row_keys[position / width];
            // Element addresses are added to the low key.
            (low.wrapping_add(((position % width) * features) as u32), high)
        };
        Mask::new(positions.iter().map(key).collect(), self.rate)
    }

    /// The two keys of every row, one after the other.
    #[cfg(feature = "device")]
    pub(super) fn keys(&self) -> Vec<u32> {
        self.row_keys.iter().flat_map(|(low, high)| [*low, *high]).collect()
    }

    /// An element is kept if its 32 random bits reach this.
    #[cfg(feature = "device")]
    pub(super) fn threshold(&self) -> u32 {
        threshold(self.rate)
    }

    /// The value of the elements that are kept.
    #[cfg(feature = "device")]
    pub(super) fn kept(&self) -> f32 {
        kept(self.rate)
    }

    /// Multiplies `values` by the mask elements of a row from element `start` on.
    pub fn apply(&self, row: usize, start: usize, values: &mut [f32]) {
        multiply(values, start as u32, self.row_keys[row], self.rate);
    }

    /// Multiplies the scores of one head by the mask, `keys` for each query, from the `first` query
    /// and key on.
    pub fn apply_to_block(
        &self,
        row: usize,
        head: usize,
        (first_query, first_key): (usize, usize),
        keys: usize,
        values: &mut [f32],
    ) {
        for (query, values) in values.chunks_mut(keys.max(1)).enumerate() {
            let query = head as u32 * ADDRESS_WIDTH + (first_query + query) as u32;
            let start = query.wrapping_mul(ADDRESS_WIDTH).wrapping_add(first_key as u32);
            multiply(values, start, self.row_keys[row], self.rate);
        }
    }
}

fn threshold(rate: f64) -> u32 {
    (rate * 4_294_967_296.0) as u32
}

fn kept(rate: f64) -> f32 {
    (1.0 / (1.0 - rate)) as f32
}

vectorised! {
    fn multiply(values: &mut [f32], start: u32, keys: (u32, u32), rate: f64) {
        let (low, high) = keys;
        let (threshold, kept) = (threshold(rate), kept(rate));
        for (index, value) in values.iter_mut().enumerate() {
            let mixed = mix(mix(start.wrapping_add(index as u32).wrapping_add(low)) ^ high);
            *value *= if mixed >= threshold { kept } else { 0.0 };
        }
    }
}

/// `lowbias32`.
#[inline(always)]
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
        let site = Site::FeedForward { layer: 3 };
        let mask = Noise::new(42, 7, first_row, 0).mask(site, dims[0], 0.1).unwrap();
        mask.states(dims, &Device::flex()).try_to_vec_as::<f32>().unwrap()
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
    fn chosen_tokens_have_the_mask_that_they_have_in_the_whole() {
        let mask = Noise::new(1, 2, 0, 0).mask(Site::AttentionOutput { layer: 1 }, 3, 0.5).unwrap();
        let values =
            |mask: &Mask, dims| mask.states(dims, &Device::flex()).try_to_vec_as::<f32>().unwrap();
        let whole = values(&mask, [3, 5, 8]);
        let positions = [1, 7, 14];
        let chosen = values(&mask.of_tokens(&positions, 5, 8), [3, 1, 8]);
        let expected = positions.map(|position| &whole[position * 8..][..8]).concat();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn padding_to_another_width_leaves_the_mask_of_a_token_as_it_is() {
        let site = Site::AttentionProbabilities { layer: 0 };
        let mask = Noise::new(1, 2, 0, 0).mask(site, 1, 0.5).unwrap();
        let device = Device::flex();
        let narrow = mask.probabilities([1, 2, 3, 3], &device);
        let wide = mask.probabilities([1, 2, 5, 5], &device);
        let corner = wide.slice([0..1, 0..2, 0..3, 0..3]);
        assert_eq!(narrow.try_to_vec_as::<f32>().unwrap(), corner.try_to_vec_as::<f32>().unwrap());
    }

    #[test]
    fn steps_passes_sites_and_seeds_have_masks_of_their_own() {
        let device = Device::flex();
        let of = |seed, step, pass, site| {
            let mask = Noise::new(seed, step, 0, pass).mask(site, 1, 0.5).unwrap();
            mask.states([1, 8, 8], &device).try_to_vec_as::<f32>().unwrap()
        };
        let masks = [
            of(1, 1, 0, Site::Embeddings),
            of(2, 1, 0, Site::Embeddings),
            of(1, 2, 0, Site::Embeddings),
            of(1, 1, 1, Site::Embeddings),
            of(1, 1, 0, Site::HeadInput),
        ];
        for (index, mask) in masks.iter().enumerate() {
            assert!(!masks[..index].contains(mask));
        }
    }
}
