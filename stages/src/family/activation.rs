//! The activation functions that `config.json` names.

/// An activation function, applied to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · Φ(x)` (Hendrycks & Gimpel 2016).
    Gelu,
    /// GELU with `Φ` approximated by a hyperbolic tangent, section 2 of the same paper.
    GeluTanh,
    Relu,
    /// `x · σ(x)` (Elfwing et al. 2018).
    Silu,
    Tanh,
}

impl Activation {
    /// The names that `transformers` gives them.
    const NAMES: [(&str, Activation); 8] = [
        ("gelu", Activation::Gelu),
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("gelu_fast", Activation::GeluTanh),
        ("relu", Activation::Relu),
        ("silu", Activation::Silu),
        ("swish", Activation::Silu),
        ("tanh", Activation::Tanh),
    ];

    pub fn named(name: &str) -> Option<Activation> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    /// The names, for messages.
    pub fn names() -> String {
        Self::NAMES.map(|(name, _)| name).join(", ")
    }
}
