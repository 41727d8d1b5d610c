//! What a graph reads, and what its parts compute from that: the mask of padding, and the positions.

use super::graph::{Builder, Value, int};
use super::proto::{
    DataType, Dimension, DimensionProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use crate::family::PairForm;
use crate::model::config::ModelConfig;

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
/// What the graph gives.
pub const LOGITS: &str = "logits";

/// The names of the inputs, as `optimum` names them: types only if the family's tokenizers give them.
pub fn names(config: &ModelConfig) -> Vec<&'static str> {
    let has_types = config.type_vocab_size > 1 && config.family.tokens.pairs == PairForm::Bert;
    [IDS, MASK].into_iter().chain(has_types.then_some(TYPES)).collect()
}

/// The types of the inputs, `[batch_size, sequence_length]`.
pub fn declared(names: &[&str]) -> Vec<ValueInfoProto> {
    let shape = ["batch_size", "sequence_length"].map(|it| Dimension::Named(it.to_owned()));
    names.iter().map(|name| declaration(name, DataType::Int64, shape.clone())).collect()
}

/// The type of the output, `[batch_size, classes]`.
pub fn declared_output(classes: usize) -> ValueInfoProto {
    let shape = [Dimension::Named("batch_size".to_owned()), Dimension::Fixed(classes as i64)];
    declaration(LOGITS, DataType::Float, shape)
}

fn declaration(name: &str, elements: DataType, shape: [Dimension; 2]) -> ValueInfoProto {
    let dim = shape.map(|size| DimensionProto { value: Some(size) }).to_vec();
    let tensor =
        TensorTypeProto { elem_type: elements.into(), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { tensor_type: Some(tensor) });
    ValueInfoProto { name: name.to_owned(), r#type }
}

/// `[batch_size, sequence_length]`
pub fn ids() -> Value {
    Value(IDS.to_owned())
}

/// `[batch_size, sequence_length]`; `None` if all types are 0.
pub fn types(config: &ModelConfig) -> Option<Value> {
    names(config).contains(&TYPES).then(|| Value(TYPES.to_owned()))
}

/// 1 for tokens and 0 for padding, `[batch_size, sequence_length]`.
pub fn real(graph: &mut Builder) -> Value {
    graph.shared("real", |graph| {
        graph.op("Cast", &[&Value(MASK.to_owned())], &[int("to", DataType::Float as i64)])
    })
}

/// What is added to the scores of each key, `[batch_size, 1, 1, sequence_length]`.
pub fn padding(graph: &mut Builder) -> Value {
    graph.shared("padding", |graph| {
        let real = real(graph);
        let (one, far) = (graph.float(1.0), graph.float(HIDDEN));
        let hidden = graph.op("Sub", &[&one, &real], &[]);
        let hidden = graph.op("Mul", &[&hidden, &far], &[]);
        let axes = graph.ints(&[1, 2]);
        graph.op("Unsqueeze", &[&hidden, &axes], &[])
    })
}

/// The score of a token that is not seen. Not minus infinity, which would turn a row of padding into NaN.
pub const HIDDEN: f32 = -1e30;

/// The length of the sequences, as a vector of one integer.
pub fn width(graph: &mut Builder) -> Value {
    graph.shared("width", |graph| graph.op("Shape", &[&ids()], &[int("start", 1), int("end", 2)]))
}

/// The positions from 0 on, `[sequence_length]`.
pub fn positions(graph: &mut Builder) -> Value {
    graph.shared("positions", |graph| {
        let (width, first) = (width(graph), graph.ints(&[0]));
        let width = graph.op("Squeeze", &[&width, &first], &[]);
        let (zero, one) = (graph.int(0), graph.int(1));
        graph.op("Range", &[&zero, &width, &one], &[])
    })
}

/// How far each key lies behind each query, `[sequence_length, sequence_length]`.
pub fn distances(graph: &mut Builder) -> Value {
    graph.shared("distances", |graph| {
        let positions = positions(graph);
        let (first, last) = (graph.ints(&[0]), graph.ints(&[1]));
        let keys = graph.op("Unsqueeze", &[&positions, &first], &[]);
        let queries = graph.op("Unsqueeze", &[&positions, &last], &[]);
        graph.op("Sub", &[&keys, &queries], &[])
    })
}
