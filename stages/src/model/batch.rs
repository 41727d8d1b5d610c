//! The input of one forward pass: sequences padded to the longest of them.

/// Token ids, types and mask, row-major `[rows, width]`, on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: usize,
    pub width: usize,
    pub ids: Vec<i32>,
    /// Token types; `None` means all 0.
    pub types: Option<Vec<i32>>,
    /// False for padding.
    pub mask: Vec<bool>,
    /// What the encoder gives the head for each row, `[rows, hidden]`, if that is known.
    pub pooled: Option<Vec<f32>>,
}

impl Batch {
    /// Pads on the right with `pad`.
    pub fn new<'a>(
        sequences: impl ExactSizeIterator<Item = (&'a [i32], Option<&'a [u8]>)> + Clone,
        pad: u32,
    ) -> Batch {
        let rows = sequences.len();
        let width = sequences.clone().map(|(ids, _)| ids.len()).max().unwrap_or_default();
        let typed = sequences.clone().any(|(_, types)| types.is_some());
        let mut ids = Vec::with_capacity(rows * width);
        let mut types = Vec::new();
        let mut mask = Vec::with_capacity(rows * width);
        for (row_ids, row_types) in sequences {
            let padding = width - row_ids.len();
            ids.extend_from_slice(row_ids);
            ids.extend(std::iter::repeat_n(pad as i32, padding));
            mask.extend(std::iter::repeat_n(true, row_ids.len()));
            mask.extend(std::iter::repeat_n(false, padding));
            if typed {
                match row_types {
                    Some(row_types) => types.extend(row_types.iter().map(|kind| i32::from(*kind))),
                    None => types.extend(std::iter::repeat_n(0, row_ids.len())),
                }
                types.extend(std::iter::repeat_n(0, padding));
            }
        }
        Batch { rows, width, ids, types: typed.then_some(types), mask, pooled: None }
    }

    /// The same with more padding on the right: the next of a few widths, but at most `most`.
    pub fn widened(&self, most: usize, pad: i32) -> Batch {
        let width = rounded_up(self.width).min(most).max(self.width);
        fn padded<T: Copy>(values: &[T], from: usize, to: usize, pad: T) -> Vec<T> {
            let rows = values.chunks(from.max(1));
            rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(pad, to - from)))
                .collect()
        }
        Batch {
            rows: self.rows,
            width,
            ids: padded(&self.ids, self.width, width, pad),
            types: self.types.as_ref().map(|types| padded(types, self.width, width, 0)),
            mask: padded(&self.mask, self.width, width, false),
            pooled: self.pooled.clone(),
        }
    }

    /// Whether any position is padding.
    pub fn has_padding(&self) -> bool {
        self.mask.iter().any(|real| !real)
    }

    /// The number of tokens without padding.
    pub fn tokens(&self) -> usize {
        self.mask.iter().filter(|real| **real).count()
    }

    /// The distinct ids, the padding id included, in ascending order.
    pub fn words(&self) -> Vec<usize> {
        let mut words: Vec<usize> =
            self.ids.iter().filter_map(|id| usize::try_from(*id).ok()).collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    /// The weight of each position in the mean over the tokens of its row, `[rows, width]`; 0 for
    /// padding.
    pub fn shares(&self) -> Vec<f32> {
        let mut shares = Vec::with_capacity(self.mask.len());
        for row in self.mask.chunks(self.width.max(1)) {
            let real = row.iter().filter(|real| **real).count().max(1);
            shares.extend(row.iter().map(|token| if *token { 1.0 / real as f32 } else { 0.0 }));
        }
        shares
    }
}

/// The next multiple of an eighth of the power of two above, and at least of 8: 8, 16, … 64, 80, … 128,
/// 160, … 256, so that at most a quarter of a wide batch is added.
fn rounded_up(width: usize) -> usize {
    width.next_multiple_of((width.next_power_of_two() / 8).max(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_rounded_up_to_few() {
        let rounded: Vec<usize> = (1..=512).map(rounded_up).collect();
        for (width, rounded) in (1..).zip(&rounded) {
            assert!(*rounded >= width && (rounded - width) * 4 < *rounded.max(&32));
        }
        let mut widths = rounded;
        widths.dedup();
        let expected = [
            8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
        ];
        assert_eq!(widths, expected);
    }

    #[test]
    fn a_wider_batch_has_the_same_tokens_and_more_padding() {
        let rows: [(&[i32], Option<&[u8]>); 2] = [(&[5, 6, 7], Some(&[0, 1, 1])), (&[8], None)];
        let batch = Batch::new(rows.into_iter(), 1);
        let wide = batch.widened(100, 1);
        assert_eq!((wide.rows, wide.width, wide.tokens()), (2, 8, 4));
        assert_eq!(wide.ids[..8], [5, 6, 7, 1, 1, 1, 1, 1]);
        assert_eq!(wide.ids[8..], [8, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(wide.types.unwrap()[..8], [0, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(batch.widened(5, 1).width, 5, "there are no more positions");
        assert_eq!(batch.widened(2, 1), batch);
    }
}
