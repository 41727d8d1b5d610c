//! The embeddings: words, positions and token types, summed and normalised.

use super::graph::{Builder, Value, int};
use super::inputs;
use super::proto::DataType;
use crate::family::{Positions, Projection};
use crate::model::config::ModelConfig;

/// `[batch_size, sequence_length, hidden]`
pub fn embeddings(graph: &mut Builder, config: &ModelConfig) -> Value {
    graph.enter("embeddings");
    let (family, names) = (config.family, &config.family.embeddings);
    let table = |name: &str| format!("{}{name}.weight", family.prefix);
    let mut states = graph.rows_of_table(&table(names.words), &inputs::ids());
    if config.type_vocab_size > 0 {
        let types = graph.parameter(&table(names.types));
        let types = match inputs::types(config) {
            Some(ids) => graph.op("Gather", &[&types, &ids], &[]),
            None => {
                let first = graph.int(0);
                graph.op("Gather", &[&types, &first], &[]) // [hidden]
            }
        };
        states = graph.op("Add", &[&states, &types], &[]);
    }
    if let Some(positions) = positions(graph, config) {
        states = graph.op("Add", &[&states, &positions], &[]);
    }
    let projects = config.embedding.size != config.hidden_size;
    let projection = |name: &str| format!("{}{name}", family.prefix);
    if let (Projection::BeforeNorm(name), true) = (names.projection, projects) {
        states = graph.linear(&states, &projection(name), false);
    }
    let (eps, has_bias) = (config.form.layer_norm_eps, config.form.biases.norms);
    states = graph.norm(&states, &format!("{}{}", family.prefix, names.norm), eps, has_bias);
    match (names.projection, projects) {
        (Projection::AfterNorm(name), true) => graph.linear(&states, &projection(name), true),
        _ => states,
    }
}

/// What is added for the position of each token.
fn positions(graph: &mut Builder, config: &ModelConfig) -> Option<Value> {
    if !config.embedding.has_positions {
        return None;
    }
    let table = |name: &str| format!("{}{name}.weight", config.family.prefix);
    match config.family.embeddings.positions {
        Positions::Absent => None,
        Positions::FromZero(name) | Positions::IfBiased(name) => {
            let table = graph.parameter(&table(name));
            let (start, width) = (graph.ints(&[0]), inputs::width(graph));
            // A sequence that is too long gets too few rows, and the sum fails.
            Some(graph.slice(&table, 0, &start, &width))
        }
        Positions::AfterPadding(name) => {
            let table = graph.parameter(&table(name));
            let pad = graph.int(config.pad_token_id as i64);
            let is_pad = graph.op("Equal", &[&inputs::ids(), &pad], &[]);
            let is_real = graph.op("Not", &[&is_pad], &[]);
            let real = graph.op("Cast", &[&is_real], &[int("to", DataType::Int64 as i64)]);
            let axis = graph.int(1);
            let counted = graph.op("CumSum", &[&real, &axis], &[]);
            let counted = graph.op("Mul", &[&counted, &real], &[]);
            let indices = graph.op("Add", &[&counted, &pad], &[]);
            Some(graph.op("Gather", &[&table, &indices], &[]))
        }
    }
}
