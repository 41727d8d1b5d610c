//! The numbers that the passes over a batch need besides tensors, in one copy to the device: the
//! targets of the loss, the entries of the embeddings, the extent of each row, relative positions,
//! the keys of the dropout masks.
//!
//! Their places depend on the shape of the batch alone, so the numbers of another batch of that shape
//! can take their place on the device.

use burn::backend::Cube;
use burn::tensor::{DType, Int, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::bytes::Bytes;
use cubecl::client::Client;

use super::scatter::{Plan, Room};
use super::section::Section;
use super::{Value, part, reshaped, upload};
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
    /// Whether each token has a share of the mean over its row.
    has_shares: bool,
    /// Whether each token has a number that tells it from padding.
    has_real: bool,
    /// The number of relative positions.
    relative: usize,
    /// The number of layers that drop out; 0 if nothing does.
    layers: usize,
    /// The number of passes that drop out.
    passes: usize,
    /// Whether the relative positions are rows of a table, which have masks of their own in each layer.
    has_table: bool,
}

/// What depends on the model, of the numbers for a batch.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The entries of the embeddings of positions and of token types.
    pub entries: [Vec<i32>; 2],
    /// How many different entries the tables of words, positions and types can have in a batch.
    pub most: [usize; 3],
    /// The number of layers.
    pub layers: usize,
    /// The bucket of each pair of tokens, `[width, width]`, or the row of the table of each distance,
    /// `[2 · width - 1]`; empty without relative positions.
    pub relative: Vec<i32>,
    /// The features of each row of the table of distances, if there is one.
    pub of_row: Option<usize>,
    /// Whether the network multiplies tokens by 1 and padding by 0.
    pub reads_real: bool,
}

/// What depends on the purpose of the passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// The dropout of each pass; empty without.
    pub noises: &'a [Noise],
    /// The numbers of the loss, the same count for each row.
    pub targets: &'a [f32],
    /// Whether the head reads the mean over the tokens.
    pub is_mean: bool,
}

/// What the passes over a batch send, on the host.
#[derive(Clone, Debug)]
pub struct Numbers {
    layout: Layout,
    numbers: Vec<u32>,
}

/// The same on the device.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub(super) layout: Layout,
    pub(super) buffer: CubeTensor,
    /// The pass whose keys it has.
    pass: usize,
}

impl Layout {
    /// Whether no row has padding between tokens.
    pub fn has_spans(&self) -> bool {
        self.has_spans
    }

    /// The first number of each kind, and the end of the last one.
    fn starts(&self) -> [usize; KINDS + 1] {
        let tokens = self.rows * self.width;
        let [words, positions, types] = self.rooms.map(Room::numbers);
        let counts = [
            self.rows * self.targets,
            3 * tokens,
            words,
            positions,
            types,
            if self.has_spans { 2 * self.rows } else { 0 },
            if self.has_shares { tokens } else { 0 },
            if self.has_real { tokens } else { 0 },
            self.relative,
            self.passes * self.keys(),
        ];
        let mut starts = [0; KINDS + 1];
        for (nth, count) in counts.into_iter().enumerate() {
            starts[nth + 1] = starts[nth] + count;
        }
        starts
    }

    /// The number of keys of a pass: those of every row, and then those of the table of relative positions.
    fn keys(&self) -> usize {
        let of_table = if self.has_table { 2 * self.relative * self.layers } else { 0 };
        2 * self.rows * Site::all(self.layers).len() + of_table
    }
}

/// The kinds of numbers, in their order.
const KINDS: usize = 10;
const ENTRIES: usize = 1;
/// Of words, positions and types.
const PLANS: usize = 2;
const SPANS: usize = 5;
const SHARES: usize = 6;
const REAL: usize = 7;
const RELATIVE: usize = 8;
const KEYS: usize = 9;

impl Numbers {
    pub fn new(batch: &Batch, tokens: &Tokens, extras: Extras) -> Numbers {
        let (rows, width) = (batch.rows, batch.width);
        let Extras { noises, targets, is_mean } = extras;
        let rooms = tokens.most.map(|most| Room::new(rows * width, most));
        let spans = spans(batch);
        let layout = Layout {
            rows,
            width,
            targets: targets.len() / rows.max(1),
            rooms,
            has_spans: spans.is_some(),
            has_shares: is_mean,
            has_real: tokens.reads_real,
            relative: tokens.relative.len(),
            layers: if noises.is_empty() { 0 } else { tokens.layers },
            passes: noises.len(),
            has_table: tokens.of_row.is_some(),
        };
        let mut numbers: Vec<u32> = Vec::with_capacity(layout.starts()[KINDS]);
        numbers.extend_from_slice(bytemuck::cast_slice(targets));
        let [positions, types] = &tokens.entries;
        let entries = [&batch.ids, positions, types];
        entries.iter().for_each(|entries| numbers.extend_from_slice(bytemuck::cast_slice(entries)));
        for (entries, room) in entries.into_iter().zip(rooms) {
            numbers.extend(Plan::new(entries).numbers(room));
        }
        numbers.extend(spans.unwrap_or_default());
        if is_mean {
            numbers.extend_from_slice(bytemuck::cast_slice(&batch.shares()));
        }
        if tokens.reads_real {
            numbers.extend(batch.mask.iter().map(|real| f32::from(u8::from(*real)).to_bits()));
        }
        numbers.extend_from_slice(bytemuck::cast_slice(&tokens.relative));
        for noise in noises {
            let sites = Site::all(tokens.layers);
            sites.into_iter().for_each(|site| numbers.extend(noise.keys(site, rows)));
            if let Some(features) = tokens.of_row {
                let keys = |layer| noise.table_keys(layer, &tokens.relative, features);
                numbers.extend((0..tokens.layers).flat_map(keys));
            }
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
        let buffer = upload(&beside, &numbers.numbers);
        Some(Inputs { layout: numbers.layout, buffer, pass: 0 })
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

    /// The same with the keys of another pass.
    pub fn of_pass(&self, pass: usize) -> Inputs {
        Inputs { pass, ..self.clone() }
    }

    /// The numbers of the loss, `[rows, targets]`.
    pub fn targets(&self) -> Tensor<2> {
        let shape = [self.layout.rows, self.layout.targets];
        // They are the first numbers.
        Value::Plain(self.typed(shape, DType::F32)).tensor()
    }

    /// The share of each token in the mean over its row, `[rows, width, 1]`, if they were sent.
    pub fn shares(&self) -> Option<Tensor<3>> {
        let Layout { rows, width, has_shares, .. } = self.layout;
        let shares = has_shares.then(|| self.vector(SHARES, DType::F32))?;
        Some(Value::Plain(reshaped(shares, [rows, width, 1])).tensor())
    }

    /// The entries of the tokens in the table of words, positions or types, `[rows, width]`.
    pub fn indices(&self, table: usize) -> Tensor<2, Int> {
        let Layout { rows, width, .. } = self.layout;
        let all = self.vector(ENTRIES, DType::I32);
        let of_table = part(&all, table * rows * width..(table + 1) * rows * width);
        Tensor::from_primitive::<Cube>(reshaped(of_table, [rows, width]))
    }

    /// 1 for each token and 0 for padding, `[rows, width, 1]`, if they were sent.
    pub fn real(&self) -> Option<Tensor<3>> {
        let Layout { rows, width, has_real, .. } = self.layout;
        let real = has_real.then(|| self.vector(REAL, DType::F32))?;
        Some(Value::Plain(reshaped(real, [rows, width, 1])).tensor())
    }

    /// The bucket of each pair of tokens, `[width · width]`, or the row of the table of each distance,
    /// `[2 · width - 1]`, if they were sent.
    pub fn relative(&self) -> Option<Tensor<1, Int>> {
        let relative = (self.layout.relative > 0).then(|| self.vector(RELATIVE, DType::I32))?;
        Some(Tensor::from_primitive::<Cube>(relative))
    }

    /// The numbers from the first one on.
    fn typed<const D: usize>(&self, shape: [usize; D], dtype: DType) -> CubeTensor {
        let CubeTensor { client, device, handle, .. } = self.buffer.clone();
        CubeTensor::new_contiguous(client, device, Shape::from(shape), handle, dtype)
    }

    /// The numbers of a kind, in a buffer of their own.
    fn vector(&self, kind: usize, dtype: DType) -> CubeTensor {
        let starts = self.layout.starts();
        let all = self.typed([starts[KINDS]], dtype);
        part(&all, starts[kind]..starts[kind + 1])
    }

    fn section(&self, kind: usize) -> Section {
        Section::new(self.buffer.clone(), self.layout.starts()[kind] as u32)
    }

    /// The words, then the positions, then the types of all tokens.
    pub(super) fn entries(&self) -> Section {
        self.section(ENTRIES)
    }

    /// How the gradient of one of the three tables is summed, and where in the same buffer the entry of
    /// each token is.
    pub(super) fn plan(&self, table: usize) -> (Room, Section, u32) {
        let tokens = self.layout.rows * self.layout.width;
        let entry_of = self.entries().start + (table * tokens) as u32;
        (self.layout.rooms[table], self.section(PLANS + table), entry_of)
    }

    /// The first token of each row, and the end of its tokens; `None` if there is padding between
    /// tokens.
    pub fn spans(&self) -> Option<Section> {
        self.layout.has_spans.then(|| self.section(SPANS))
    }

    /// The keys of a site's mask.
    pub fn keys(&self, site: Site) -> Option<Section> {
        let Layout { rows, layers, passes, relative, has_table, .. } = self.layout;
        let sites = (self.pass < passes).then(|| Site::all(layers))?;
        let before = match site {
            Site::RelativePositions { layer } => {
                has_table.then(|| 2 * (sites.len() * rows + layer * relative))?
            }
            _ => 2 * rows * sites.iter().position(|other| *other == site)?,
        };
        let keys = self.section(KEYS);
        Some(keys.at(keys.start + (self.pass * self.layout.keys() + before) as u32))
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
        let noises = [0, 1].map(|pass| Noise::new(1, 2, 0, pass));
        let entries = [(0..8).collect(), vec![0; 8]];
        let relative: Vec<i32> = (20..27).collect();
        let tokens = Tokens {
            entries,
            most: [8, 8, 1],
            layers: 2,
            relative: relative.clone(),
            of_row: Some(16),
            reads_real: true,
        };
        let extras = Extras { noises: &noises, targets: &[0.5, 0.25], is_mean: true };
        let of = Numbers::new(&batch, &tokens, extras);
        let starts = of.layout.starts();
        assert_eq!(starts[KINDS], of.numbers.len());
        let numbers = |kind: usize| &of.numbers[starts[kind]..starts[kind + 1]];
        assert_eq!(numbers(0), [0.5_f32, 0.25].map(f32::to_bits));
        assert_eq!(numbers(ENTRIES)[..8], [7; 8]);
        assert_eq!(numbers(SPANS), [0, 4, 0, 3]);
        assert_eq!(numbers(SHARES)[..5], [0.25, 0.25, 0.25, 0.25, 1.0 / 3.0].map(f32::to_bits));
        assert_eq!(numbers(REAL), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0].map(f32::to_bits));
        assert_eq!(numbers(RELATIVE), (20..27).collect::<Vec<u32>>());
        let keys = numbers(KEYS);
        for (noise, keys) in noises.iter().zip(keys.chunks(keys.len() / 2)) {
            let (of_rows, of_table) = keys.split_at(keys.len() - 2 * 2 * relative.len());
            let last = noise.keys(Site::FeedForward { layer: 1 }, 2);
            assert_eq!(of_rows[of_rows.len() - 4..], last[..]);
            let site = Site::RelativePositions { layer: 1 };
            let mask = noise.mask_of_table(site, 0.1).unwrap();
            let rows: Vec<usize> = (20..27).collect();
            assert_eq!(of_table[2 * relative.len()..], mask.of_tokens(&rows, 32, 16).keys());
        }
    }
}
