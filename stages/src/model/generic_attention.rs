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
    let (heads, precision) = (options.heads, options.precision);
    // [rows, tokens, hidden] → [rows, heads, tokens, size]
    let split = |projected: Tensor<3>| {
        let [_, tokens, _] = projected.dims();
        let heads_apart = projected.reshape([rows, tokens, heads, hidden / heads]);
        heads_apart.swap_dims(1, 2)
    };
    let turn = |projected: Tensor<3>| match &options.rotation {
        Some(rotation) => turned(projected, split, rotation),
        None => split(projected),
    };
    let (query, key) = (precision.factor(turn(query)), precision.factor(turn(key)));
    let products = product(query.clone(), key.clone().transpose(), precision);
    let added = match relative {
        Relative::Absent => Vec::new(),
        Relative::Bias(bias) => vec![(**bias).clone().slice([0..1, 0..heads, 0..queries])],
        Relative::Products(positions) => {
            let [as_keys, as_queries] = &**positions;
            let apart = |positions: &Tensor<2>| {
                let count = positions.dims()[0];
                let apart = positions.clone().reshape([1, count, heads, hidden / heads]);
                precision.factor(apart.swap_dims(1, 2)).transpose()
            };
            let by_query = product(query, apart(as_keys), precision);
            vec![by_query, product(key, apart(as_queries), precision)]
        }
    };
    let probabilities = precision.factor(probabilities(products, added, &options));
    let value = precision.factor(split(value));
    let attended = product(probabilities, value, precision);
    attended.swap_dims(1, 2).reshape([rows, queries, hidden]) // from [rows, queries, heads, size]
}

/// The softmax of `products · scale`, times dropout's mask. A GPU returns it in the format of factors.
///
/// # Shapes
///
/// `products` and the result are `[rows, heads, queries, keys]`; `added` is nothing, a bias
/// `[1, heads, queries, keys]`, or the products of queries with positions as keys and of keys with positions
/// as queries, `[rows, heads, queries or keys, 2 · keys - 1]`.
fn probabilities(
    products: Tensor<4>,
    added: Vec<Tensor<4>>,
    options: &AttentionOptions,
) -> Tensor<4> {
    #[cfg(feature = "device")]
    {
        if let Some(found) = device::softmax::softmax(&products, &added, options) {
            return found;
        }
        device::sent::note();
    }
    let [rows, heads, queries, keys] = products.dims();
    let (scale, device) = (f64::from(options.scale), products.device());
    let mut scores = products * scale;
    match <[Tensor<4>; 2]>::try_from(added) {
        Ok([by_query, by_key]) => {
            // The place of key `k` seen from query `q` is `k - q + keys - 1`, in a line of either.
            let places = |from: usize, to: usize, is_query: bool| {
                let place = move |from: usize, to: usize| match is_query {
                    true => (to + keys - 1 - from) as i32,
                    false => (from + keys - 1 - to) as i32,
                };
                let all = (0..from).flat_map(|it| (0..to).map(move |other| place(it, other)));
                let all = TensorData::new(all.collect::<Vec<i32>>(), [1, 1, from, to]);
                Tensor::<4, Int>::from_data(all, &device).expand([rows, heads, from, to])
            };
            let across = by_key.gather(3, places(keys, queries, false)).swap_dims(2, 3);
            scores = scores + (by_query.gather(3, places(queries, keys, true)) + across) * scale;
        }
        Err(added) => scores = added.into_iter().fold(scores, |scores, bias| scores + bias),
    }
    if let Some(padding) = &options.padding {
        let padding = TensorData::new(padding.clone(), [rows, 1, 1, keys]);
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
    let probabilities = activation::softmax(scores, 3);
    match &options.mask {
        Some(mask) => probabilities * mask.probabilities([rows, heads, queries, keys], &device),
        None => probabilities,
    }
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

/// Queries or keys `[rows, tokens, hidden]`, turned by their positions, in heads.
fn turned(
    projected: Tensor<3>,
    split: impl Fn(Tensor<3>) -> Tensor<4>,
    rotation: &Rotation,
) -> Tensor<4> {
    let heads_apart = split(projected);
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
