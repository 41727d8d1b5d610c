//! The inputs of attention that its passes share.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

use super::heads::{Head, Projected};
use super::options::AttentionOptions;
use super::products::Products;
use super::sizes::Sizes;
use crate::model::cpu::values;

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) projected: Projected,
    pub(super) bias: Option<FlexTensor>,
    pub(super) positions: Option<[FlexTensor; 2]>,
    pub(super) queries: usize,
    /// `[rows, heads, queries, keys]`, before dropout.
    pub(super) probabilities: Option<FlexTensor>,
    pub(super) options: AttentionOptions,
}

impl Saved {
    pub(super) fn sizes(&self) -> Sizes {
        let [rows, keys, hidden] = match &self.projected {
            Projected::Apart(all) => all[1].shape().dims::<3>(),
            Projected::Joint(all) => {
                let [rows, keys, width] = all.shape().dims::<3>();
                [rows, keys, width / 3]
            }
        };
        let (heads, queries) = (self.options.heads, self.queries);
        Sizes { rows, heads, queries, keys, hidden, size: hidden / heads.max(1) }
    }

    /// The number of tokens of each row before the padding on its right; `None` without padding.
    pub(super) fn lengths(&self, sizes: Sizes) -> Option<Vec<usize>> {
        let rows = self.options.padding.as_ref()?.chunks(sizes.keys.max(1));
        let length =
            |row: &[f32]| row.iter().rposition(|added| *added == 0.0).map_or(0, |at| at + 1);
        Some(rows.map(length).collect())
    }

    pub(super) fn apart(
        projected: [FlexTensor; 3],
        queries: usize,
        options: AttentionOptions,
    ) -> Saved {
        let projected = Projected::Apart(Box::new(projected));
        Saved { projected, bias: None, positions: None, queries, probabilities: None, options }
    }

    pub(super) fn head(&self, sizes: Sizes, row: usize, head: usize) -> Head<'_> {
        let of = |which| self.projected.head(sizes, which, row, head);
        Head {
            sizes,
            options: &self.options,
            row,
            head,
            bias: self.bias.as_ref().map(values),
            products: self.positions.as_ref().map(|[keys, queries]| Products { keys, queries }),
            query: of(0),
            key: of(1),
            value: of(2),
        }
    }
}
