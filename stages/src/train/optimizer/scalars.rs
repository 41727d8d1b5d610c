//! The numbers that one step of AdamW computes once per parameter.

/// The scalars of one step, the same for every element.
#[derive(Clone, Copy)]
pub(super) struct Scalars {
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    pub(super) epsilon: f32,
    /// `1 - lr · weight_decay`
    pub(super) keep: f32,
    /// `lr / (1 - beta1^t)`
    pub(super) rate: f32,
    /// `1 / sqrt(1 - beta2^t)`
    pub(super) second_scale: f32,
    /// The factor that clips the gradient, on the CPU.
    pub(super) clip: f32,
}
