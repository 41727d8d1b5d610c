//! What scores know of positions: MPNet's bias for each distance, DeBERTa's products with a table of
//! distances, and ModernBERT's rotations. All of them are computed for the length of the sequences in
//! the graph.

use super::graph::{Builder, Value, int, list};
use super::inputs;
use super::proto::DataType;
use crate::family::Attention;
use crate::model::config::{AttentionConfig, Disentangled, ModelConfig, Rotary};
use crate::model::cpu::attention::Rotation;
use crate::model::encoder::layer_name::{LayerName, POSITION_PROJECTIONS};
use crate::model::relative::{log_buckets, relative_bucket};

/// What all layers share.
pub enum Relative {
    Absent,
    /// Added to the scores, `[heads, sequence_length, sequence_length]`.
    Bias(Value),
    Products(Box<Distances>),
    Rotary {
        /// Cosines and sines of global layers and of local ones, `[sequence_length, half]`.
        angles: [Option<[Value; 2]>; 2],
        /// Added to the scores in local layers, `[sequence_length, sequence_length]`.
        window: Option<Value>,
    },
}

/// DeBERTa's distances.
pub struct Distances {
    /// `[2 · span, hidden]`
    rows: Value,
    /// The row of each distance from key to query, the first key seen from the last query first,
    /// `[2 · sequence_length]`; and the same backwards.
    indices: [Value; 2],
    skew: Skew,
}

/// Moves the products of a row with all distances to the columns of their keys.
struct Skew {
    start: Value,
    end: Value,
    shape: Value,
}

impl Relative {
    pub fn new(graph: &mut Builder, config: &ModelConfig) -> Relative {
        graph.enter("positions");
        let prefix = config.family.prefix;
        match (&config.attention, config.family.attention) {
            (AttentionConfig::BucketBias { buckets }, Attention::BucketBias { table }) => {
                let table = format!("{prefix}{table}.weight");
                Relative::Bias(bucket_bias(graph, &table, *buckets, config.max_tokens()))
            }
            (AttentionConfig::Disentangled(found), Attention::Disentangled { table, norm, .. }) => {
                match found.span {
                    Some(span) => {
                        let names = [format!("{prefix}{table}.weight"), format!("{prefix}{norm}")];
                        Relative::Products(Box::new(Distances::new(
                            graph, config, found, span, &names,
                        )))
                    }
                    None => Relative::Absent,
                }
            }
            (AttentionConfig::Rotary(rotary), _) => rotations(graph, config, rotary),
            _ => Relative::Absent,
        }
    }
}

/// MPNet's bias of each key for each query.
fn bucket_bias(graph: &mut Builder, table: &str, buckets: usize, longest: usize) -> Value {
    let farthest = longest as i32 - 1;
    let of_distance = (-farthest..=farthest).map(|it| relative_bucket(it, buckets).into());
    let of_distance: Vec<i64> = of_distance.collect();
    let of_distance = graph.named_ints("bucket_of_distance", &of_distance);
    let (distances, offset) = (inputs::distances(graph), graph.int(farthest.into()));
    let indices = graph.op("Add", &[&distances, &offset], &[]);
    let table = graph.parameter(table);
    let of_distance = graph.op("Gather", &[&table, &of_distance], &[]); // [distances, heads]
    let bias = graph.op("Gather", &[&of_distance, &indices], &[]);
    graph.op("Transpose", &[&bias], &[list("perm", &[2, 0, 1])])
}

/// ModernBERT's angles and window.
fn rotations(graph: &mut Builder, config: &ModelConfig, rotary: &Rotary) -> Relative {
    let size = config.hidden_size / config.num_attention_heads;
    let angles = [false, true].map(|is_local| {
        let is_used = rotary.local.contains(&is_local);
        is_used.then(|| {
            let base = rotary.bases[usize::from(is_local)];
            let frequencies = Rotation::frequencies(size, base);
            let name = if is_local { "frequencies/local" } else { "frequencies/global" };
            let frequencies = graph.floats(name, &[1, frequencies.len()], &frequencies);
            let positions = inputs::positions(graph);
            let numbers = graph.op("Cast", &[&positions], &[int("to", DataType::Float as i64)]);
            let axis = graph.ints(&[1]);
            let numbers = graph.op("Unsqueeze", &[&numbers, &axis], &[]);
            let angles = graph.op("Mul", &[&numbers, &frequencies], &[]);
            ["Cos", "Sin"].map(|function| graph.op(function, &[&angles], &[]))
        })
    });
    let window = rotary.local.contains(&true).then(|| {
        let distances = inputs::distances(graph);
        let (distances, limit) =
            (graph.op("Abs", &[&distances], &[]), graph.int(rotary.window as i64));
        let is_far = graph.op("Greater", &[&distances, &limit], &[]);
        let (far, near) = (graph.float(inputs::HIDDEN), graph.float(0.0));
        graph.op("Where", &[&is_far, &far, &near], &[])
    });
    Relative::Rotary { angles, window }
}

impl Distances {
    fn new(
        graph: &mut Builder,
        config: &ModelConfig,
        found: &Disentangled,
        span: usize,
        [table, norm]: &[String; 2],
    ) -> Distances {
        let rows = graph.parameter(table);
        let rows = match found.normalises {
            true => graph.norm(&rows, norm, config.form.layer_norm_eps, true),
            false => rows,
        };
        // Of one token more than the longest sequence, because the slices have an even length.
        let longest = config.max_tokens();
        let all = log_buckets(longest + 1, span, found.buckets, found.max_distance);
        let all: Vec<i64> = all.into_iter().map(|row| row as i64).collect();
        let backwards: Vec<i64> = all.iter().rev().copied().collect();
        let width = inputs::width(graph);
        let middle = graph.ints(&[longest as i64 + 1]);
        let start = graph.op("Sub", &[&middle, &width], &[]);
        let end = graph.op("Add", &[&middle, &width], &[]);
        let indices = [("row_of_distance", all), ("row_of_distance/backwards", backwards)];
        let indices = indices.map(|(name, rows)| {
            let rows = graph.named_ints(name, &rows);
            graph.slice(&rows, 0, &start, &end)
        });
        Distances { rows, indices, skew: Skew::new(graph, &width) }
    }

    /// The sum of products of queries with positions as keys, and of keys with positions as queries, to
    /// be added to the scores; `None` if the model uses neither. `query` and `key` are
    /// `[batch_size, heads, sequence_length, size]`.
    pub fn products(
        &self,
        graph: &mut Builder,
        config: &ModelConfig,
        layer: LayerName,
        query: &Value,
        key: &Value,
    ) -> Option<Value> {
        let AttentionConfig::Disentangled(found) = &config.attention else { return None };
        let mut product = |which: usize, states: &Value| {
            let part = match found.shares_keys {
                // Positions as keys are projected as keys are.
                true => layer.projection(1 - which),
                false => layer.of(POSITION_PROJECTIONS[which]),
            };
            let name = format!("{}{part}", config.family.prefix);
            let rows = graph.linear(&self.rows, &name, true);
            let rows = graph.op("Gather", &[&rows, &self.indices[which]], &[]);
            let size = config.hidden_size / config.num_attention_heads;
            let shape = graph.ints(&[0, config.num_attention_heads as i64, size as i64]);
            let rows = graph.op("Reshape", &[&rows, &shape], &[]);
            let turned = graph.op("Transpose", &[&rows], &[list("perm", &[1, 2, 0])]);
            let product = graph.op("MatMul", &[states, &turned], &[]);
            self.skew.apply(graph, &product)
        };
        let along = found.content_to_position.then(|| product(0, query));
        let across = found.position_to_content.then(|| product(1, key));
        let across = across
            .map(|of_keys| graph.op("Transpose", &[&of_keys], &[list("perm", &[0, 1, 3, 2])]));
        match (along, across) {
            (Some(along), Some(across)) => Some(graph.op("Add", &[&along, &across], &[])),
            (along, across) => along.or(across),
        }
    }
}

impl Skew {
    fn new(graph: &mut Builder, width: &Value) -> Skew {
        let (one, two) = (graph.ints(&[1]), graph.ints(&[2]));
        let start = graph.op("Sub", &[width, &one], &[]);
        let row = graph.op("Mul", &[width, &two], &[]);
        let row = graph.op("Sub", &[&row, &one], &[]);
        let taken = graph.op("Mul", &[width, &row], &[]);
        let end = graph.op("Add", &[&start, &taken], &[]);
        let (kept, rest) = (graph.ints(&[0, 0]), graph.ints(&[-1]));
        let shape = graph.op("Concat", &[&kept, width, &rest], &[int("axis", 0)]);
        Skew { start, end, shape }
    }

    /// Row `r` of `[…, sequence_length, 2 · sequence_length]` begins at its element
    /// `sequence_length - 1 - r` afterwards, and is `sequence_length` long. In rows that are shorter by one,
    /// each begins one element further to the left than the one before (Dai et al. 2019, appendix B).
    fn apply(&self, graph: &mut Builder, products: &Value) -> Value {
        let flat = graph.ints(&[0, 0, -1]);
        let flat = graph.op("Reshape", &[products, &flat], &[]);
        let taken = graph.slice(&flat, 2, &self.start, &self.end);
        let rows = graph.op("Reshape", &[&taken, &self.shape], &[]);
        let (first, width) = (graph.ints(&[0]), inputs::width(graph));
        graph.slice(&rows, 3, &first, &width)
    }
}
