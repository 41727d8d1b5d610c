//! The graph of a classifier in the format of ONNX, written over the same descriptions of the families
//! as the network of [`crate::model`] is built from. Opset 17 is the oldest with layer norm.
//!
//! Dimensions are dynamic. `Reshape` keeps those of batch and length with zeros, so that no part of the
//! graph computes with shapes, except where positions do.

mod activation;
mod attention;
mod convolution;
mod embeddings;
pub mod file;
mod graph;
mod head;
mod inputs;
mod layer;
mod positions;
pub mod proto;
mod weights;

use std::path::Path;

use prost::Message;

use self::graph::Builder;
use self::layer::Layer;
use self::positions::Relative;
use self::proto::{ModelProto, OperatorSetIdProto};
use self::weights::Weights;
use crate::family::LayerForm;
use crate::model::config::{ModelConfig, Pooling};
use crate::model::encoder::layer_name::LayerName;
use crate::stage::error::StageError;

pub use graph::Storage;

/// The version of the operators.
pub const OPSET: i64 = 17;
/// The version of the format that came with it.
const IR_VERSION: i64 = 8;
/// The program that has written a file.
const PRODUCER: &str = "pipe";

/// The graph that computes the logits of the classifier in `folder`, which has `classes`.
pub fn model(
    folder: &Path,
    config: &ModelConfig,
    classes: usize,
    storage: Storage,
) -> Result<ModelProto, StageError> {
    let problem = |problem: String| StageError::File { path: folder.to_owned(), problem };
    let mut graph = Builder::new(Weights::read(folder, config, classes)?, storage);
    network(&mut graph, config);
    let (input, output) =
        (inputs::declared(&inputs::names(config)), inputs::declared_output(classes));
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: PRODUCER.to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.finish(config.family.name, input, output).map_err(problem)?),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: Some(OPSET) }],
    })
}

/// Whether the file of a graph that begins with these bytes was written here.
pub fn is_ours(start: &[u8]) -> bool {
    let known = ModelProto {
        ir_version: IR_VERSION,
        producer_name: PRODUCER.to_owned(),
        ..ModelProto::default()
    };
    start.starts_with(&known.encode_to_vec())
}

fn network(graph: &mut Builder, config: &ModelConfig) {
    let family = config.family;
    let relative = Relative::new(graph, config);
    let embeddings = embeddings::embeddings(graph, config);
    let mut states = embeddings.clone();
    for index in 0..config.num_hidden_layers {
        let is_last = index + 1 == config.num_hidden_layers;
        let has_convolution = index == 0 && convolution::found(config).is_some();
        let layer = Layer {
            config,
            name: LayerName { family, index },
            relative: &relative,
            first_only: is_last && config.head.pooling == Pooling::First && !has_convolution,
        };
        states = layer.forward(graph, &states);
        if has_convolution {
            states = convolution::convolved(graph, config, &embeddings, &states);
        }
    }
    if let LayerForm::PreNormGated { final_norm } = family.layer.form {
        let (eps, has_bias) = (config.form.layer_norm_eps, config.form.biases.norms);
        graph.enter("final_norm");
        states = graph.norm(&states, &format!("{}{final_norm}", family.prefix), eps, has_bias);
    }
    let pooled = head::pooled(graph, config, &states);
    head::head(graph, config, &pooled);
}
