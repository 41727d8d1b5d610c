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
