//! Attention over projected states.

use super::graph::{Builder, Value, int, list};
use super::inputs;
use super::positions::Relative;
use crate::model::config::{AttentionConfig, ModelConfig};
use crate::model::encoder::layer_name::LayerName;

/// How a layer attends.
pub struct Attending<'a> {
    pub config: &'a ModelConfig,
    pub name: LayerName,
    pub relative: &'a Relative,
    /// Whether tokens see only those within the window.
    pub is_local: bool,
}

/// Queries, keys and values `[batch_size, sequence_length, hidden]` to the same.
pub fn attend(graph: &mut Builder, projected: [Value; 3], attending: &Attending) -> Value {
    let Attending { config, relative, .. } = attending;
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    let apart = graph.ints(&[0, 0, heads as i64, (hidden / heads) as i64]);
    let [query, key, value] = projected.map(|states| {
        let states = graph.op("Reshape", &[&states, &apart], &[]);
        graph.op("Transpose", &[&states], &[list("perm", &[0, 2, 1, 3])])
    });
    let (query, key) = match relative {
        Relative::Rotary { angles, .. } => match &angles[usize::from(attending.is_local)] {
            Some(angles) => (turned(graph, &query, angles), turned(graph, &key, angles)),
            None => (query, key),
        },
        _ => (query, key),
    };
    let scores = scores(graph, [&query, &key], attending);
    let probabilities = graph.op("Softmax", &[&scores], &[int("axis", -1)]);
    let attended = graph.op("MatMul", &[&probabilities, &value], &[]);
    let attended = graph.op("Transpose", &[&attended], &[list("perm", &[0, 2, 1, 3])]);
    let joint = graph.ints(&[0, 0, hidden as i64]);
    graph.op("Reshape", &[&attended, &joint], &[])
}

/// What softmax makes probabilities of, `[batch_size, heads, sequence_length, sequence_length]`.
fn scores(graph: &mut Builder, [query, key]: [&Value; 2], attending: &Attending) -> Value {
    let Attending { config, name, relative, is_local } = attending;
    let turned_key = graph.op("Transpose", &[key], &[list("perm", &[0, 1, 3, 2])]);
    let mut scores = graph.op("MatMul", &[query, &turned_key], &[]);
    if let Relative::Products(distances) = relative
        && let Some(products) = distances.products(graph, config, *name, query, key)
    {
        scores = graph.op("Add", &[&scores, &products], &[]);
    }
    let factor = match &config.attention {
        AttentionConfig::Disentangled(found) => found.factor(),
        _ => 1,
    };
    let size = config.hidden_size / config.num_attention_heads;
    let scale = graph.float(1.0 / ((factor * size) as f32).sqrt());
    scores = graph.op("Mul", &[&scores, &scale], &[]);
    let added = match relative {
        Relative::Bias(bias) => Some(bias),
        Relative::Rotary { window, .. } if *is_local => window.as_ref(),
        _ => None,
    };
    if let Some(added) = added {
        scores = graph.op("Add", &[&scores, added], &[]);
    }
    let padding = inputs::padding(graph);
    graph.op("Add", &[&scores, &padding], &[])
}

/// Queries or keys `[batch_size, heads, sequence_length, size]`, turned by their positions.
fn turned(graph: &mut Builder, states: &Value, [cosines, sines]: &[Value; 2]) -> Value {
    let [low, high] = graph.ops("Split", &[states], &[int("axis", -1)]);
    let mut product = |states: &Value, angles: &Value| graph.op("Mul", &[states, angles], &[]);
    let [low_cosine, high_sine] = [product(&low, cosines), product(&high, sines)];
    let [high_cosine, low_sine] = [product(&high, cosines), product(&low, sines)];
    let low = graph.op("Sub", &[&low_cosine, &high_sine], &[]);
    let high = graph.op("Add", &[&high_cosine, &low_sine], &[]);
    graph.op("Concat", &[&low, &high], &[int("axis", -1)])
}
