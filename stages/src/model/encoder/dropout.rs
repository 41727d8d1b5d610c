//! The dropout rates of an encoder.

/// The rates of the dropout inside the encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutRates {
    pub embeddings: f64,
    pub hidden: f64,
    pub attention: f64,
}

impl DropoutRates {
    /// Nothing is dropped.
    pub const NONE: DropoutRates = DropoutRates { embeddings: 0.0, hidden: 0.0, attention: 0.0 };
}
