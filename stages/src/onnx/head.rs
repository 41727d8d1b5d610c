//! From the states of the last layer to logits.

use super::activation::activated;
use super::graph::{Builder, Value, int};
use super::inputs;
use crate::model::config::{ModelConfig, Pooling};

/// What the head reads, `[batch_size, sequence_length, hidden]` to `[batch_size, hidden]`.
pub fn pooled(graph: &mut Builder, config: &ModelConfig, states: &Value) -> Value {
    graph.enter("pooling");
    match config.head.pooling {
        Pooling::First => {
            let first = graph.int(0);
            graph.op("Gather", &[states, &first], &[int("axis", 1)])
        }
        Pooling::Mean => {
            let (real, axis) = (inputs::real(graph), graph.ints(&[1]));
            let tokens = graph.op("ReduceSum", &[&real, &axis], &[int("keepdims", 1)]);
            // A row of padding has the mean 0.
            let one = graph.float(1.0);
            let tokens = graph.op("Max", &[&tokens, &one], &[]);
            let shares = graph.op("Div", &[&real, &tokens], &[]);
            let shares = graph.op("Unsqueeze", &[&shares, &axis], &[]); // [batch_size, 1, sequence_length]
            let mean = graph.op("MatMul", &[&shares, states], &[]);
            graph.op("Squeeze", &[&mean, &axis], &[])
        }
    }
}

/// Writes the logits. The head stays in f32, since it is small.
pub fn head(graph: &mut Builder, config: &ModelConfig, pooled: &Value) {
    graph.enter("head");
    let names = &config.family.head;
    let prefix = if names.is_pooler { config.family.prefix } else { "" };
    let dense = format!("{prefix}{}", names.dense);
    let mut read = vec![pooled.clone(), graph.parameter(&format!("{dense}.weight"))];
    if config.form.biases.head {
        read.push(graph.parameter(&format!("{dense}.bias")));
    }
    let is_turned = [int("transB", 1)];
    let hidden = graph.op("Gemm", &read.iter().collect::<Vec<_>>(), &is_turned);
    let mut hidden = activated(graph, &hidden, config.head.activation);
    if let Some(norm) = names.norm {
        let (eps, has_bias) = (config.form.layer_norm_eps, config.form.biases.norms);
        hidden = graph.norm(&hidden, norm, eps, has_bias);
    }
    let weight = graph.parameter(&names.last_weight());
    let bias = graph.parameter(&format!("{}.bias", names.output));
    graph.op_named(inputs::LOGITS, "Gemm", &[&hidden, &weight, &bias], &is_turned);
}
