//! The state that AdamW keeps between steps.

use burn::tensor::Tensor;

/// First and second moments of every parameter, in the order of `Network::parameters`.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// Optimiser steps taken.
    pub steps: u64,
    pub of: Vec<Moment>,
}

/// The moments of one parameter; absent until it has a gradient.
#[derive(Clone, Debug)]
pub enum Moment {
    /// On the CPU.
    Host {
        first: Vec<f32>,
        second: Vec<f32>,
        /// For a table with sparse gradients: whether the moments of each row are not all 0. Empty
        /// if unknown.
        rows: Vec<bool>,
    },
    /// First and second moments on another device, as matrices: `[1, count]` for a vector.
    Device(Box<(Tensor<2>, Tensor<2>)>),
    None,
}

impl Moment {
    /// First moments, second moments, and the rows that have any, for a parameter of `count`
    /// elements.
    pub(super) fn on_host(
        &mut self,
        count: usize,
    ) -> (&mut Vec<f32>, &mut Vec<f32>, &mut Vec<bool>) {
        if !matches!(self, Moment::Host { .. }) {
            let zeros = || vec![0.0; count];
            *self = Moment::Host { first: zeros(), second: zeros(), rows: Vec::new() };
        }
        match self {
            Moment::Host { first, second, rows } => (first, second, rows),
            _ => unreachable!("it was made so above"),
        }
    }
}
