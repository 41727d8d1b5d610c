//! Random factors for the tests of products.

use crate::data::random::Random;

/// From -0.5 to 0.5, the same for the same name.
pub fn numbers(name: &str, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Random::new(7, name, 0, 0).fill_uniform(&mut values);
    values.iter_mut().for_each(|value| *value -= 0.5);
    values
}
