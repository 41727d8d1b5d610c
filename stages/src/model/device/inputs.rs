//! The numbers that a forward pass and its backward pass need besides tensors, in one copy to the
//! device: the entries of the embeddings, the extent of each row, the keys of the dropout masks.

use burn::tensor::Tensor;

use super::scatter::Plan;
use super::section::Section;
use super::{Value, upload};
use crate::model::batch::Batch;
use crate::model::noise::{Noise, Site};

/// What one pass over a batch sends.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub(super) rows: usize,
    pub(super) width: usize,
    /// The words, then the positions, then the types of all tokens.
    pub(super) entries: Section,
    /// How the gradients of the three tables are summed.
    pub(super) plans: [(Plan, Section); 3],
    /// The first token of each row, and the end of its tokens; `None` if there is padding between
    /// tokens.
    pub spans: Option<Section>,
    sites: Vec<Site>,
    /// Two keys for each row of each site.
    keys: Section,
}

impl Inputs {
    /// Sends what a pass over `batch` needs to the device of `beside`; `None` if that is not a
    /// GPU. `positions` and `types` are the entries of the embeddings. `layers` is the number of
    /// layers that drop out, if `noise` is given.
    pub fn new(
        beside: &Tensor<2>,
        batch: &Batch,
        [positions, types]: [Vec<i32>; 2],
        noise: Option<&Noise>,
        layers: usize,
    ) -> Option<Inputs> {
        let beside = Value::of(beside)?.into_plain();
        let entries = [&batch.ids[..], &positions, &types];
        let mut numbers: Vec<u32> = Vec::new();
        let mut add = |more: &[u32]| {
            let start = numbers.len() as u32;
            numbers.extend_from_slice(more);
            start
        };
        let first_entry = add(bytemuck::cast_slice(&entries.concat()));
        let plans = entries.map(Plan::new).map(|plan| (add(&plan.numbers()), plan));
        let spans = spans(batch).map(|spans| add(&spans));
        let sites = noise.map(|_| Site::all(layers)).unwrap_or_default();
        let keys: Vec<u32> = noise
            .map(|noise| sites.iter().flat_map(|site| noise.keys(*site, batch.rows)).collect())
            .unwrap_or_default();
        let first_key = add(&keys);
        let buffer = upload(&beside, &numbers);
        let section = |start| Section::new(buffer.clone(), start);
        Some(Inputs {
            rows: batch.rows,
            width: batch.width,
            entries: section(first_entry),
            plans: plans.map(|(start, plan)| (plan, section(start))),
            spans: spans.map(section),
            sites,
            keys: section(first_key),
        })
    }

    /// The keys of a site's mask.
    pub fn keys(&self, site: Site) -> Option<Section> {
        let nth = self.sites.iter().position(|other| *other == site)?;
        let start = self.keys.start + (nth * self.rows * 2) as u32;
        Some(self.keys.at(start))
    }
}

/// The first token of each row and the end of its tokens, or of the whole row if all is padding.
/// `None` if there is padding between tokens.
fn spans(batch: &Batch) -> Option<Vec<u32>> {
    let mut spans = Vec::with_capacity(2 * batch.rows);
    for row in batch.mask.chunks(batch.width.max(1)) {
        let Some(start) = row.iter().position(|real| *real) else {
            spans.extend([0, batch.width as u32]);
            continue;
        };
        let end = row.iter().rposition(|real| *real).map_or(0, |last| last + 1);
        if !row[start..end].iter().all(|real| *real) {
            return None;
        }
        spans.extend([start as u32, end as u32]);
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(mask: &[bool]) -> Batch {
        Batch {
            rows: mask.len() / 4,
            width: 4,
            ids: Vec::new(),
            types: None,
            mask: mask.to_vec(),
            pooled: None,
        }
    }

    #[test]
    fn spans_are_those_of_tokens_with_padding_on_either_side() {
        let rows = [[true, true, true, false], [false, true, true, true], [false; 4]];
        assert_eq!(spans(&batch(&rows.concat())), Some(vec![0, 3, 1, 4, 0, 4]));
        assert_eq!(spans(&batch(&[true, false, true, true])), None);
    }
}
