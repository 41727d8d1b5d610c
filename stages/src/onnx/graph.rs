//! Builds a graph node by node. Every value has a name; constants that are asked for twice are stored once.

use std::collections::{BTreeMap, BTreeSet};

use half::f16;

use super::proto::{
    AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto, ValueInfoProto,
};
use super::weights::{Quantized, Weight, Weights, quantized};
use crate::model::parameters::transposed;

/// A value of the graph, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub String);

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    F32,
    /// Parameters in half precision, which the graph widens to f32 when it is loaded.
    F16,
    /// Linear layers and the table of words in 8 bits, and products of 8-bit integers.
    Int8,
}

/// The largest magnitude of a weight in 8 bits.
const LARGEST: i8 = 127;

/// A graph that is being built.
pub struct Builder {
    weights: Weights,
    storage: Storage,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    known: BTreeSet<String>,
    /// Begins the names of nodes.
    scope: String,
    /// What products of 8-bit integers read of a value: integers, scale and zero point.
    inputs: BTreeMap<Value, [Value; 3]>,
    /// What several parts of the graph read.
    shared: BTreeMap<&'static str, Value>,
    problems: Vec<String>,
}

impl Builder {
    pub fn new(weights: Weights, storage: Storage) -> Builder {
        Builder {
            weights,
            storage,
            nodes: Vec::new(),
            constants: Vec::new(),
            known: BTreeSet::new(),
            scope: String::new(),
            inputs: BTreeMap::new(),
            shared: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Names the nodes that follow after a part of the network.
    pub fn enter(&mut self, scope: &str) {
        scope.clone_into(&mut self.scope);
    }

    /// Applies an operator with one output.
    pub fn op(&mut self, kind: &str, inputs: &[&Value], attributes: &[AttributeProto]) -> Value {
        let [output] = self.ops(kind, inputs, attributes);
        output
    }

    /// Applies an operator with several outputs.
    pub fn ops<const N: usize>(
        &mut self,
        kind: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
    ) -> [Value; N] {
        let name = format!("{}/{kind}_{}", self.scope, self.nodes.len());
        let outputs: [Value; N] = std::array::from_fn(|index| match N {
            1 => Value(name.clone()),
            _ => Value(format!("{name}_{index}")),
        });
        self.push(name, kind, inputs, attributes, &outputs);
        outputs
    }

    /// Applies an operator whose output has this name.
    pub fn op_named(
        &mut self,
        output: &str,
        kind: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
    ) {
        let name = format!("{}/{kind}_{}", self.scope, self.nodes.len());
        self.push(name, kind, inputs, attributes, &[Value(output.to_owned())]);
    }

    fn push(
        &mut self,
        name: String,
        kind: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
        outputs: &[Value],
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name,
            op_type: kind.to_owned(),
            attribute: attributes.to_vec(),
        });
    }

    /// The value under `key`, which is made once.
    pub fn shared(&mut self, key: &'static str, make: impl FnOnce(&mut Builder) -> Value) -> Value {
        if let Some(known) = self.shared.get(key) {
            return known.clone();
        }
        let made = make(self);
        self.shared.insert(key, made.clone());
        made
    }

    fn constant(
        &mut self,
        name: String,
        data_type: DataType,
        shape: &[usize],
        bytes: impl FnOnce() -> Vec<u8>,
    ) -> Value {
        if self.known.insert(name.clone()) {
            self.constants.push(TensorProto {
                dims: shape.iter().map(|size| *size as i64).collect(),
                data_type: data_type.into(),
                name: name.clone(),
                raw_data: bytes(),
                ..TensorProto::default()
            });
        }
        Value(name)
    }

    /// A constant tensor of numbers.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        self.constant(name.to_owned(), DataType::Float, shape, || of_floats(values))
    }

    /// A constant number.
    pub fn float(&mut self, value: f32) -> Value {
        self.constant(format!("float/{value}"), DataType::Float, &[], || of_floats(&[value]))
    }

    /// A constant vector of integers.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let words: Vec<String> = values.iter().map(i64::to_string).collect();
        self.named_ints(&format!("ints/{}", words.join("_")), values)
    }

    /// A constant vector of integers under a name.
    pub fn named_ints(&mut self, name: &str, values: &[i64]) -> Value {
        let shape = [values.len()];
        self.constant(name.to_owned(), DataType::Int64, &shape, || of_ints(values))
    }

    /// A constant integer.
    pub fn int(&mut self, value: i64) -> Value {
        self.constant(format!("int/{value}"), DataType::Int64, &[], || of_ints(&[value]))
    }

    fn take(&mut self, name: &str) -> Weight {
        self.weights.take(name).unwrap_or_else(|| {
            self.problems.push(format!("`{name}` is missing"));
            Weight { shape: Vec::new(), values: Vec::new() }
        })
    }

    /// A parameter as a checkpoint has it.
    pub fn parameter(&mut self, name: &str) -> Value {
        if !self.known.contains(name) {
            let Weight { shape, values } = self.take(name);
            return self.stored(name, &shape, &values);
        }
        Value(name.to_owned())
    }

    /// The values of a parameter under its name, in f32.
    fn stored(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        if self.storage != Storage::F16 {
            return self.floats(name, shape, values);
        }
        let halves = self.halves(name, shape, values);
        self.known.insert(name.to_owned());
        self.op_named(name, "Cast", &[&halves], &[int("to", DataType::Float as i64)]);
        Value(name.to_owned())
    }

    /// The values of a parameter in half precision.
    fn halves(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        if let Some(value) = values.iter().find(|value| f16::from_f32(**value).is_infinite()) {
            self.problems.push(format!("`f16` cannot hold {value}, a value of `{name}`"));
        }
        self.constant(format!("{name}/f16"), DataType::Float16, shape, || of_halves(values))
    }

    /// Rows of a table, `[…]` to `[…, features]`.
    pub fn rows_of_table(&mut self, name: &str, indices: &Value) -> Value {
        match self.storage {
            Storage::F32 => {
                let table = self.parameter(name);
                return self.op("Gather", &[&table, indices], &[]);
            }
            Storage::F16 => {
                let table = Value(format!("{name}/f16"));
                if !self.known.contains(&table.0) {
                    let Weight { shape, values } = self.take(name);
                    self.halves(name, &shape, &values);
                }
                // Only the rows are widened.
                let rows = self.op("Gather", &[&table, indices], &[]);
                return self.op("Cast", &[&rows], &[int("to", DataType::Float as i64)]);
            }
            Storage::Int8 => {}
        }
        let [values, scales] = [format!("{name}/int8"), format!("{name}/scales")];
        if !self.known.contains(&values) {
            let Weight { shape, values: floats } = self.take(name);
            let rows = shape.first().copied().unwrap_or_default();
            let Quantized { values: integers, scales: factors } = quantized(&floats, rows, LARGEST);
            self.constant(values.clone(), DataType::Int8, &shape, || of_int8(&integers));
            self.floats(&scales, &[rows, 1], &factors);
        }
        let integers = self.op("Gather", &[&Value(values), indices], &[]);
        let scales = self.op("Gather", &[&Value(scales), indices], &[]);
        let numbers = self.op("Cast", &[&integers], &[int("to", DataType::Float as i64)]);
        self.op("Mul", &[&numbers, &scales], &[])
    }

    /// `x W + b`, `[…, in]` to `[…, out]`.
    pub fn linear(&mut self, input: &Value, name: &str, has_bias: bool) -> Value {
        let weight = format!("{name}.weight");
        let product = match self.storage {
            Storage::F32 | Storage::F16 => {
                let weight = self.transposed_weight(&weight);
                self.op("MatMul", &[input, &weight], &[])
            }
            Storage::Int8 => self.product_of_integers(input, &weight),
        };
        if !has_bias {
            return product;
        }
        let bias = self.parameter(&format!("{name}.bias"));
        self.op("Add", &[&product, &bias], &[])
    }

    /// A linear weight as `[in, out]`.
    fn transposed_weight(&mut self, name: &str) -> Value {
        if !self.known.contains(name) {
            let Weight { shape, values } = self.take(name);
            let [outputs, inputs] = matrix(&shape);
            return self.stored(name, &[inputs, outputs], &transposed(&values, outputs, inputs));
        }
        Value(name.to_owned())
    }

    /// `x W` in 8 bits: the input with one scale for all of it, which is found when the graph runs, and the
    /// weight with one for each output. `onnxruntime.quantization.quantize_dynamic` writes the same nodes.
    fn product_of_integers(&mut self, input: &Value, name: &str) -> Value {
        let [values, scales] = [format!("{name}/int8"), format!("{name}/scales")];
        if !self.known.contains(&values) {
            let Weight { shape, values: floats } = self.take(name);
            let [outputs, inputs] = matrix(&shape);
            let Quantized { values: integers, scales: factors } =
                quantized(&floats, outputs, LARGEST);
            let turned = || of_int8(&transposed(&integers, outputs, inputs));
            self.constant(values.clone(), DataType::Int8, &[inputs, outputs], turned);
            self.floats(&scales, &[outputs], &factors);
        }
        let [integers, scale, zero] = match self.inputs.get(input) {
            Some(known) => known.clone(),
            None => {
                let made: [Value; 3] = self.ops("DynamicQuantizeLinear", &[input], &[]);
                self.inputs.insert(input.clone(), made.clone());
                made
            }
        };
        let product = self.op("MatMulInteger", &[&integers, &Value(values), &zero], &[]);
        let product = self.op("Cast", &[&product], &[int("to", DataType::Float as i64)]);
        let scale = self.op("Mul", &[&scale, &Value(scales)], &[]);
        self.op("Mul", &[&product, &scale], &[])
    }

    /// Layer norm over the last axis.
    pub fn norm(&mut self, input: &Value, name: &str, eps: f64, has_bias: bool) -> Value {
        let weight = self.parameter(&format!("{name}.weight"));
        let bias = has_bias.then(|| self.parameter(&format!("{name}.bias")));
        let inputs: Vec<&Value> = [input, &weight].into_iter().chain(&bias).collect();
        self.op("LayerNormalization", &inputs, &[int("axis", -1), float("epsilon", eps as f32)])
    }

    /// `input[start..end]` along an axis. `start` and `end` are vectors of one integer.
    pub fn slice(&mut self, input: &Value, axis: i64, start: &Value, end: &Value) -> Value {
        let axis = self.ints(&[axis]);
        self.op("Slice", &[input, start, end, &axis], &[])
    }

    /// The whole graph, or the parameters that are missing or left over.
    pub fn finish(
        mut self,
        name: &str,
        input: Vec<ValueInfoProto>,
        output: ValueInfoProto,
    ) -> Result<GraphProto, String> {
        let left = self.weights.names().map(|name| format!("`{name}` is left over"));
        self.problems.extend(left);
        if !self.problems.is_empty() {
            return Err(self.problems.join("; "));
        }
        Ok(GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.constants,
            input,
            output: vec![output],
        })
    }
}

fn matrix(shape: &[usize]) -> [usize; 2] {
    <[usize; 2]>::try_from(shape).unwrap_or([0, 0])
}

fn of_floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn of_halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
}

fn of_ints(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn of_int8(values: &[i8]) -> Vec<u8> {
    values.iter().map(|value| value.cast_unsigned()).collect()
}

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    let r#type = r#type.into();
    AttributeProto { name: name.to_owned(), f: None, i: None, ints: Vec::new(), r#type }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub fn list(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}
