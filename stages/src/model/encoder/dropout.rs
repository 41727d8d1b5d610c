//! The dropout rates of an encoder.

/// The rates of the dropout inside the encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutRates {
    pub hidden: f64,
    pub attention: f64,
}
