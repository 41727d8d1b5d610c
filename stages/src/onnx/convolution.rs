//! The convolution over the embeddings that some DeBERTas have after the first layer.

use super::activation::activated;
use super::graph::{Builder, Value, list};
use super::inputs;
use crate::family::Attention;
use crate::model::config::{AttentionConfig, Convolution, ModelConfig};

/// Adds the convolution of the embeddings to the states, if the model has one.
pub fn convolved(
    graph: &mut Builder,
    config: &ModelConfig,
    embeddings: &Value,
    states: &Value,
) -> Value {
    let Some((name, Convolution { kernel, activation })) = found(config) else {
        return states.clone();
    };
    graph.enter("convolution");
    let name = format!("{}{name}", config.family.prefix);
    let real = inputs::real(graph);
    let axis = graph.ints(&[2]);
    let real = graph.op("Unsqueeze", &[&real, &axis], &[]);
    let embeddings = graph.op("Mul", &[embeddings, &real], &[]);
    let channels = graph.op("Transpose", &[&embeddings], &[list("perm", &[0, 2, 1])]);
    let weight = graph.parameter(&format!("{name}.conv.weight"));
    let bias = graph.parameter(&format!("{name}.conv.bias"));
    let (kernel, reach) = (kernel as i64, kernel as i64 / 2);
    let sizes = [list("kernel_shape", &[kernel]), list("pads", &[reach, reach])];
    let found = graph.op("Conv", &[&channels, &weight, &bias], &sizes);
    let found = graph.op("Transpose", &[&found], &[list("perm", &[0, 2, 1])]);
    let found = activated(graph, &found, activation);
    let sum = graph.op("Add", &[states, &found], &[]);
    graph.norm(&sum, &format!("{name}.LayerNorm"), config.form.layer_norm_eps, true)
}

/// The name and size of the convolution.
pub fn found(config: &ModelConfig) -> Option<(&'static str, Convolution)> {
    match (&config.attention, config.family.attention) {
        (AttentionConfig::Disentangled(found), Attention::Disentangled { convolution, .. }) => {
            found.convolution.map(|size| (convolution, size))
        }
        _ => None,
    }
}
