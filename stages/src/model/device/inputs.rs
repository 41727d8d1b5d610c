//! The numbers that a forward pass and its backward pass need besides tensors, in one copy to the
//! device: the targets of the loss, the entries of the embeddings, the extent of each row, the keys
//! of the dropout masks.
//!
//! Their places depend on the shape of the batch alone, so the numbers of another batch of that shape
//! can take their place on the device.

use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::bytes::Bytes;
use cubecl::client::Client;

use super::scatter::{Plan, Room};
use super::section::Section;
use super::{Value, upload};
use crate::model::batch::Batch;
use crate::model::noise::{Noise, Site};

/// What decides where the numbers of a pass are, and which kernels it launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    pub(super) rows: usize,
    pub(super) width: usize,
    /// The number of targets of each row.
    targets: usize,
    rooms: [Room; 3],
    /// Whether there is no padding between tokens.
    has_spans: bool,
    /// The number of layers that drop out; `None` if nothing does.
    layers: Option<usize>,
}

/// What one pass over a batch sends, on the host.
#[derive(Clone, Debug)]
pub struct Numbers {
    layout: Layout,
    numbers: Vec<u32>,
}

/// The same on the device.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub(super) layout: Layout,
    buffer: CubeTensor,
}

impl Layout {
    /// Whether no row has padding between tokens.
    pub fn has_spans(&self) -> bool {
        self.has_spans
    }

    /// The first number of the targets, the entries, the plans, the spans and the keys, and the end
    /// of the last ones.
    fn starts(&self) -> [usize; 8] {
        let tokens = self.rows * self.width;
        let sites = match self.layers {
            Some(layers) => Site::all(layers).len(),
            None => 0,
        };
        let [words, positions, types] = self.rooms.map(Room::numbers);
        let spans = if self.has_spans { 2 * self.rows } else { 0 };
        let counts = [
            self.rows * self.targets,
            3 * tokens,
            words,
            positions,
            types,
            spans,
            2 * self.rows * sites,
        ];
        let mut starts = [0; 8];
        for (nth, count) in counts.into_iter().enumerate() {
            starts[nth + 1] = starts[nth] + count;
        }
        starts
    }
}

impl Numbers {
    /// What a pass over `batch` needs. `positions` and `types` are the entries of the embeddings, and
    /// `most` how many different ones all three tables can have in a batch. `layers` is the number of
    /// layers that drop out, if `noise` is given. `targets`, `[rows, …]`, are those of the loss.
    pub fn new(
        batch: &Batch,
        [positions, types]: [Vec<i32>; 2],
        most: [usize; 3],
        noise: Option<&Noise>,
        layers: usize,
        targets: &[f32],
    ) -> Numbers {
        let (rows, width) = (batch.rows, batch.width);
        let rooms = most.map(|most| Room::new(rows * width, most));
        let spans = spans(batch);
        let layout = Layout {
            rows,
            width,
            targets: targets.len() / rows.max(1),
            rooms,
            has_spans: spans.is_some(),
            layers: noise.map(|_| layers),
        };
        let mut numbers: Vec<u32> = Vec::with_capacity(layout.starts()[7]);
        numbers.extend_from_slice(bytemuck::cast_slice(targets));
        let entries = [&batch.ids[..], &positions, &types];
        entries.iter().for_each(|entries| numbers.extend_from_slice(bytemuck::cast_slice(entries)));
        for (entries, room) in entries.into_iter().zip(rooms) {
            numbers.extend(Plan::new(entries).numbers(room));
        }
        numbers.extend(spans.unwrap_or_default());
        if let Some(noise) = noise {
            Site::all(layers).into_iter().for_each(|site| numbers.extend(noise.keys(site, rows)));
        }
        Numbers { layout, numbers }
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }
}

impl Inputs {
    /// Sends the numbers to the device of `beside`; `None` if that is not a GPU.
    pub fn new(beside: &Tensor<2>, numbers: &Numbers) -> Option<Inputs> {
        let beside = Value::of(beside)?.into_plain();
        Some(Inputs { layout: numbers.layout, buffer: upload(&beside, &numbers.numbers) })
    }

    /// Sends the numbers of another pass of the same layout into the place of those before.
    pub fn renew(&self, numbers: &Numbers) {
        assert_eq!(self.layout, numbers.layout);
        let bytes = bytemuck::cast_slice(&numbers.numbers).to_vec();
        self.buffer.client.write(&self.buffer.handle, Bytes::from_bytes_vec(bytes));
    }

    /// The device.
    pub fn client(&self) -> &Client {
        &self.buffer.client
    }

    /// The targets of the loss, `[rows, targets]`.
    pub fn targets(&self) -> Tensor<2> {
        // They are the first numbers.
        let CubeTensor { client, device, handle, .. } = self.buffer.clone();
        let shape = Shape::from([self.layout.rows, self.layout.targets]);
        let targets = CubeTensor::new_contiguous(client, device, shape, handle, DType::F32);
        Value::Plain(targets).tensor()
    }

    fn section(&self, nth: usize) -> Section {
        Section::new(self.buffer.clone(), self.layout.starts()[nth] as u32)
    }

    /// The words, then the positions, then the types of all tokens.
    pub(super) fn entries(&self) -> Section {
        self.section(1)
    }

    /// How the gradient of one of the three tables is summed.
    pub(super) fn plan(&self, table: usize) -> (Room, Section) {
        (self.layout.rooms[table], self.section(2 + table))
    }

    /// The first token of each row, and the end of its tokens; `None` if there is padding between
    /// tokens.
    pub fn spans(&self) -> Option<Section> {
        self.layout.has_spans.then(|| self.section(5))
    }

    /// The keys of a site's mask.
    pub fn keys(&self, site: Site) -> Option<Section> {
        let nth = Site::all(self.layout.layers?).iter().position(|other| *other == site)?;
        let keys = self.section(6);
        let start = keys.start + (nth * self.layout.rows * 2) as u32;
        Some(keys.at(start))
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
            ids: vec![7; mask.len()],
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

    #[test]
    fn numbers_of_every_kind_are_where_the_layout_says() {
        let batch = batch(&[[true; 4], [true, true, true, false]].concat());
        let noise = Noise::new(1, 2, 0, 0);
        let entries = [(0..8).collect(), vec![0; 8]];
        let of = Numbers::new(&batch, entries, [8, 8, 1], Some(&noise), 2, &[0.5, 0.25]);
        let starts = of.layout.starts();
        assert_eq!(starts[7], of.numbers.len());
        assert_eq!(of.numbers[..2], [0.5_f32, 0.25].map(f32::to_bits));
        assert_eq!(of.numbers[starts[1]..][..8], [7; 8]);
        assert_eq!(of.numbers[starts[5]..][..4], [0, 4, 0, 3]);
        let last = noise.keys(Site::FeedForward { layer: 1 }, 2);
        assert_eq!(of.numbers[starts[7] - 4..], last[..]);
    }
}
