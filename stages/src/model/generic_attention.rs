//! Attention with burn's own operations, for devices without a kernel for it.

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::cpu::attention::{AttentionOptions, Relative, Rotation};
#[cfg(feature = "device")]
use super::device;
use super::precision::Precision;

/// Attention over projections.
///
/// # Shapes
///
/// `query` is `[rows, queries, hidden]`, `key` and `value` are `[rows, keys, hidden]`. The result is
/// `[rows, queries, hidden]`.
pub fn generic_attention(
    [query, key, value]: [Tensor<3>; 3],
    relative: &Relative,
    options: AttentionOptions,
) -> Tensor<3> {
    let [rows, queries, hidden] = query.dims();
    let keys = key.dims()[1];
    let (heads, device, precision) = (options.heads, query.device(), options.precision);
    // [rows, tokens, hidden] → [rows, heads, tokens, size]
    let split = |projected: Tensor<3>| {
        let [_, tokens, _] = projected.dims();
        let heads_apart = projected.reshape([rows, tokens, heads, hidden / heads]);
        heads_apart.swap_dims(1, 2)
    };
    let turn = |heads_apart: Tensor<4>| match &options.rotation {
        Some(rotation) => turned(heads_apart, rotation),
        None => heads_apart,
    };
    let (query, key) = (precision.factor(turn(split(query))), precision.factor(turn(split(key))));
    let scale = f64::from(options.scale);
    #[cfg(feature = "device")]
    device::sent::note();
    let mut scores = product(query.clone(), key.clone().transpose(), precision) * scale;
    match relative {
        Relative::Absent => {}
        Relative::Bias(bias) => {
            scores = scores + (**bias).clone().slice([0..1, 0..heads, 0..queries]);
        }
        Relative::Products(positions) => {
            let [as_keys, as_queries] = &**positions;
            let apart = |positions: &Tensor<2>| {
                let count = positions.dims()[0];
                let apart = positions.clone().reshape([1, count, heads, hidden / heads]);
                precision.factor(apart.swap_dims(1, 2))
            };
            let by_query = product(query, apart(as_keys).transpose(), precision);
            let by_key = product(key, apart(as_queries).transpose(), precision);
            let distances = |from: usize, to: usize, turned: bool| {
                let distance = |from: usize, to: usize| match turned {
                    false => (to + keys - 1 - from) as i32,
                    true => (from + keys - 1 - to) as i32,
                };
                let all = (0..from).flat_map(|it| (0..to).map(move |other| distance(it, other)));
                let all = TensorData::new(all.collect::<Vec<i32>>(), [1, 1, from, to]);
                Tensor::<4, Int>::from_data(all, &device).expand([rows, heads, from, to])
            };
            let along = by_query.gather(3, distances(queries, keys, false));
            let across = by_key.gather(3, distances(keys, queries, true));
            scores = scores + (along + across.swap_dims(2, 3)) * scale;
        }
    }
    if let Some(padding) = options.padding {
        let padding = TensorData::new(padding, [rows, 1, 1, keys]);
        scores = scores + Tensor::from_data(padding, &device);
    }
    if let Some(window) = options.window.filter(|window| *window < keys) {
        let hidden =
            |(query, key): (usize, usize)| if query.abs_diff(key) > window { -1e30 } else { 0.0 };
        let pairs = (0..queries).flat_map(|query| (0..keys).map(move |key| (query, key)));
        let hidden =
            TensorData::new(pairs.map(hidden).collect::<Vec<f32>>(), [1, 1, queries, keys]);
        scores = scores + Tensor::from_data(hidden, &device);
    }
    let mut probabilities = activation::softmax(scores, 3); // [rows, heads, queries, keys]
    if let Some(mask) = options.mask {
        let mask = mask.probabilities([rows, heads, queries, keys], &device);
        probabilities = probabilities * mask;
    }
    let value = precision.factor(split(value));
    let attended = product(precision.factor(probabilities), value, precision);
    attended.swap_dims(1, 2).reshape([rows, queries, hidden]) // from [rows, queries, heads, size]
}

/// `left right` with factors that [`Precision::factor`] has converted.
///
/// # Shapes
///
/// `left` is `[rows, heads, m, k]`. `right` is `[rows, heads, k, n]`, or `[1, heads, k, n]` for all
/// rows. The result is `[rows, heads, m, n]`.
fn product(left: Tensor<4>, right: Tensor<4>, precision: Precision) -> Tensor<4> {
    #[cfg(feature = "device")]
    if precision == Precision::F32 && device::Value::of(&left).is_some() {
        let ([rows, heads, tokens, inner], [shared, _, _, columns]) = (left.dims(), right.dims());
        if shared == rows {
            if let Some(product) = device::batched::products(&left, &right) {
                return product;
            }
        } else {
            // All rows in one product per head, so that `right` is not repeated.
            let together = left.clone().swap_dims(0, 1).reshape([1, heads, rows * tokens, inner]);
            if let Some(product) = device::batched::products(&together, &right) {
                return product.reshape([heads, rows, tokens, columns]).swap_dims(0, 1);
            }
        }
    }
    precision.product(left.matmul(right))
}

/// Queries or keys `[rows, heads, tokens, size]`, turned by their positions.
fn turned(heads_apart: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
    let [_, _, tokens, size] = heads_apart.dims();
    let half = rotation.half;
    let angles = |all: &[f32]| {
        let all = TensorData::new(all[..tokens * half].to_vec(), [1, 1, tokens, half]);
        Tensor::<4>::from_data(all, &heads_apart.device())
    };
    let (cosines, sines) = (angles(&rotation.cosines), angles(&rotation.sines));
    let low = heads_apart.clone().narrow(3, 0, half);
    let high = heads_apart.narrow(3, half, size - half);
    let turned_low = low.clone() * cosines.clone() - high.clone() * sines.clone();
    let turned_high = high * cosines + low * sines;
    Tensor::cat(vec![turned_low, turned_high], 3)
}
