//! Groups examples into batches. Batches hold sequences of similar length, so that
//! padding to the longest costs little; the order of batches is random.

use crate::data::random::Random;

/// The number of batches whose examples are sorted by length together.
const WINDOW_BATCHES: usize = 50;

/// The batches of one training epoch, as row numbers: shuffled, sorted by length within windows,
/// cut into batches, and the batches shuffled. Every row is in exactly one batch.
pub fn training_batches(
    lengths: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    Random::new(seed, "shuffle examples", epoch, 0).shuffle(&mut rows);
    let mut batches = grouped(&mut rows, lengths, batch_size);
    Random::new(seed, "shuffle batches", epoch, 0).shuffle(&mut batches);
    batches
}

/// Batches for evaluation: sorted by length within windows, not shuffled. Only those of one window
/// are in memory.
pub fn evaluation_batches(
    rows: usize,
    length: impl Fn(usize) -> usize,
    batch_size: usize,
) -> impl Iterator<Item = Vec<usize>> {
    let window = batch_size * WINDOW_BATCHES;
    (0..rows).step_by(window).flat_map(move |first| {
        let mut rows: Vec<usize> = (first..rows.min(first + window)).collect();
        rows.sort_by_key(|row| length(*row));
        rows.chunks(batch_size).map(<[usize]>::to_vec).collect::<Vec<_>>()
    })
}

/// The batches of one epoch of pretraining: like [`training_batches`], but each batch has
/// at most `tokens` tokens, padding included. A longer row is a batch of its own.
pub fn token_batches(lengths: &[usize], tokens: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    Random::new(seed, "shuffle examples", epoch, 0).shuffle(&mut rows);
    let mut batches = grouped_by_tokens(&mut rows, lengths, tokens);
    Random::new(seed, "shuffle batches", epoch, 0).shuffle(&mut batches);
    batches
}

/// [`token_batches`] for evaluation, not shuffled.
pub fn evaluation_token_batches(lengths: &[usize], tokens: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    grouped_by_tokens(&mut rows, lengths, tokens)
}

fn grouped_by_tokens(rows: &mut [usize], lengths: &[usize], tokens: usize) -> Vec<Vec<usize>> {
    let mean = lengths.iter().sum::<usize>() / lengths.len().max(1);
    let window = (tokens / mean.max(1)).max(1) * WINDOW_BATCHES;
    let mut batches = Vec::new();
    for window in rows.chunks_mut(window) {
        window.sort_by_key(|row| lengths[*row]);
        let mut batch = Vec::new();
        for row in window {
            // Rows ascend in length, so this row sets the width.
            if !batch.is_empty() && (batch.len() + 1) * lengths[*row] > tokens {
                batches.push(std::mem::take(&mut batch));
            }
            batch.push(*row);
        }
        batches.push(batch);
    }
    batches
}

fn grouped(rows: &mut [usize], lengths: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    for window in rows.chunks_mut(batch_size * WINDOW_BATCHES) {
        // The sort is stable: rows of equal length stay shuffled.
        window.sort_by_key(|row| lengths[*row]);
    }
    rows.chunks(batch_size).map(<[usize]>::to_vec).collect()
}

/// How many rows of a batch go through the network at once when `micro_batch` is `auto`: as many
/// as keep the estimated activations of `passes` passes within `budget_bytes`. Otherwise
/// it depends on shapes alone, so that every machine sums gradients in the same order.
pub fn automatic_micro_batch(
    rows: usize,
    width: usize,
    shape: ModelShape,
    passes: usize,
    budget_bytes: u64,
) -> usize {
    let fitting = budget_bytes / activation_bytes(width, shape, passes).max(1);
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, rows.max(1))
}

/// The estimated activations of `passes` passes over a row of `width` tokens.
pub fn activation_bytes(width: usize, shape: ModelShape, passes: usize) -> u64 {
    // Activations that a layer keeps for its backward pass, in floats: about 20 of the hidden
    // size (inputs, projections, normalised states, masks), 4 of the intermediate size, and
    // 4 attention matrices a head.
    let per_token = 20 * shape.hidden + 4 * shape.intermediate + 4 * shape.heads * width;
    (4 * width * (per_token * shape.layers + shape.head_floats) * passes) as u64
}

/// The sizes that determine the memory per token.
#[derive(Clone, Copy, Debug)]
pub struct ModelShape {
    pub layers: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    /// Floats per token outside of the layers, in an output layer over the vocabulary.
    pub head_floats: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths() -> Vec<usize> {
        (0..1_000).map(|row| 5 + (row * 7_919) % 60).collect()
    }

    #[test]
    fn every_row_is_in_exactly_one_batch_of_an_epoch() {
        let mut rows = training_batches(&lengths(), 32, 42, 1).concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_and_on_nothing_else() {
        let of = |seed, epoch| training_batches(&lengths(), 32, seed, epoch);
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(2, 1));
    }

    #[test]
    fn batches_for_evaluation_are_sorted_and_hold_every_row_once() {
        let lengths = lengths();
        // 50 batches of 7 rows are sorted together.
        let batches: Vec<Vec<usize>> = evaluation_batches(1_000, |row| lengths[row], 7).collect();
        let mut rows = batches.concat();
        let of = |row: &usize| lengths[*row];
        assert!(rows.chunks(350).all(|window| window.iter().map(of).is_sorted()));
        assert!(rows[..350].iter().all(|row| *row < 350));
        assert!(batches[..142].iter().all(|batch| batch.len() == 7) && batches.len() == 143);
        rows.sort_unstable();
        assert_eq!(rows, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn batches_hold_similar_lengths() {
        let lengths = lengths();
        let padded: usize = training_batches(&lengths, 32, 42, 0)
            .iter()
            .map(|batch| batch.len() * batch.iter().map(|row| lengths[*row]).max().unwrap_or(0))
            .sum();
        let real: usize = lengths.iter().sum();
        assert!((padded as f64) < 1.06 * real as f64, "{padded} for {real} tokens");
    }

    #[test]
    fn a_small_batch_is_not_split_and_a_huge_one_is() {
        let large =
            ModelShape { layers: 24, hidden: 1024, intermediate: 4096, heads: 16, head_floats: 0 };
        let mini =
            ModelShape { layers: 6, hidden: 384, intermediate: 1536, heads: 12, head_floats: 0 };
        let of = |rows, width, shape| automatic_micro_batch(rows, width, shape, 1, 4 << 30);
        assert_eq!(of(32, 64, mini), 32);
        assert!(of(100, 256, large) < 10);
        assert_eq!(of(1, 512, large), 1);
        let twice = automatic_micro_batch(100, 64, large, 2, 4 << 30);
        assert_eq!(twice, of(100, 64, large) / 2);
    }
}
