//! The activation functions in operators of opset 17, which has none for GELU.

use super::graph::{Builder, Value};
use crate::family::Activation;

/// The activation of every element.
pub fn activated(graph: &mut Builder, input: &Value, kind: Activation) -> Value {
    match kind {
        // The nodes in the order in which onnxruntime fuses them.
        Activation::Gelu => {
            let root = graph.float(std::f32::consts::SQRT_2);
            let divided = graph.op("Div", &[input, &root], &[]);
            let erf = graph.op("Erf", &[&divided], &[]);
            half_of(graph, input, &erf)
        }
        Activation::GeluTanh => {
            let square = graph.op("Mul", &[input, input], &[]);
            let cube = graph.op("Mul", &[&square, input], &[]);
            let share = graph.float(0.044_715);
            let cube = graph.op("Mul", &[&cube, &share], &[]);
            let inner = graph.op("Add", &[input, &cube], &[]);
            let scale = graph.float((2.0 * std::f64::consts::FRAC_1_PI).sqrt() as f32);
            let inner = graph.op("Mul", &[&inner, &scale], &[]);
            let tanh = graph.op("Tanh", &[&inner], &[]);
            half_of(graph, input, &tanh)
        }
        Activation::Relu => graph.op("Relu", &[input], &[]),
        Activation::Silu => {
            let below = graph.op("Sigmoid", &[input], &[]);
            graph.op("Mul", &[input, &below], &[])
        }
        Activation::Tanh => graph.op("Tanh", &[input], &[]),
    }
}

/// `x (f + 1) / 2`
fn half_of(graph: &mut Builder, input: &Value, function: &Value) -> Value {
    let (one, half) = (graph.float(1.0), graph.float(0.5));
    let below = graph.op("Add", &[function, &one], &[]);
    let product = graph.op("Mul", &[input, &below], &[]);
    graph.op("Mul", &[&product, &half], &[])
}
