//! The backward pass: the gradient of the products, and of what was added to them.

use super::*;

impl Softmax {
    /// The gradient of the products, `[rows, heads, queries, keys]`.
    pub(super) fn of_products(&self, saved: &Saved, gradient: CubeTensor) -> CubeTensor {
        let of_products = like(&gradient, DType::F32);
        let kind = self.kind(saved);
        let format = element(gradient.dtype);
        // SAFETY: as in the forward pass.
        unsafe {
            of_products_kernel::launch_unchecked(
                &of_products.client,
                self.cubes(kind),
                CubeDim::new_1d(UNITS),
                self.source(saved),
                gradient.into_buffer_arg(),
                saved.logarithms.clone().into_buffer_arg(),
                of_products.clone().into_buffer_arg(),
                kind,
                format,
            );
        }
        of_products
    }

    /// The gradient of the bias, which is added after scaling: `[1, heads, queries, keys]`.
    pub(super) fn of_bias(&self, of_products: &CubeTensor) -> CubeTensor {
        let of_bias = empty(of_products, [1, self.heads, self.queries, self.keys], DType::F32);
        let count = self.heads * self.queries * self.keys;
        // SAFETY: units beyond the elements do nothing.
        unsafe {
            of_bias_kernel::launch_unchecked(
                &of_bias.client,
                grid(count.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                of_products.clone().into_buffer_arg(),
                of_bias.clone().into_buffer_arg(),
                self.rows as u32,
                count as u32,
                1.0 / self.options.scale,
            );
        }
        of_bias
    }

    /// The gradient of the products by distance, along the keys of each query or across them.
    pub(super) fn of_distances(&self, of_products: &CubeTensor, across: bool) -> CubeTensor {
        let tokens = if across { self.keys } else { self.queries };
        let shape = [self.rows, self.heads, tokens, 2 * self.keys - 1];
        let of_distances = empty(of_products, shape, DType::F32);
        let count: usize = shape.iter().product();
        // SAFETY: units beyond the elements do nothing.
        unsafe {
            of_distances_kernel::launch_unchecked(
                &of_distances.client,
                grid(count.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                of_products.clone().into_buffer_arg(),
                of_distances.clone().into_buffer_arg(),
                count as u32,
                self.queries as u32,
                self.keys as u32,
                across,
            );
        }
        of_distances
    }
}

#[cube(launch_unchecked)]
fn of_products_kernel<F: Float>(
    from: Source,
    gradient: &[F],
    logarithms: &[f32],
    of_products: &mut [f32],
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let line = from.line(kind);
    let keys = from.sizes.keys as usize;
    let mut logarithm = 0.0f32;
    if line.is_real {
        logarithm = logarithms[line.number];
    }
    let mut sum = 0.0f32;
    let mut key = line.first_key(kind);
    while key < line.end {
        if line.sees(key) {
            let share = (from.score(&line, key, kind) - logarithm).exp();
            let of_share = f32::cast_from(gradient[line.number * keys + key]);
            sum += share * of_share * from.dropout(&line, key, kind);
        }
        key += kind.beside;
    }
    let along = sum_of_units(sum, &mut shared, comptime!(kind.beside as u32));
    if line.is_real {
        let mut key = line.unit;
        while key < keys {
            let mut of_product = 0.0f32;
            if line.sees(key) {
                let share = (from.score(&line, key, kind) - logarithm).exp();
                let of_share = f32::cast_from(gradient[line.number * keys + key]);
                let of_share = of_share * from.dropout(&line, key, kind);
                of_product = share * (of_share - along) * from.sizes.scale;
            }
            of_products[line.number * keys + key] = of_product;
            key += kind.beside;
        }
    }
}

/// A unit for each pair of tokens and head, which sums over the rows in their order.
#[cube(launch_unchecked)]
fn of_bias_kernel(of_products: &[f32], of_bias: &mut [f32], rows: u32, count: u32, factor: f32) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    let count = count as usize;
    if at < count {
        let mut sum = 0.0f32;
        for row in 0..rows as usize {
            sum += of_products[row * count + at];
        }
        of_bias[at] = sum * factor;
    }
}

/// A unit for each token and distance, of which at most one pair has it.
#[cube(launch_unchecked)]
fn of_distances_kernel(
    of_products: &[f32],
    of_distances: &mut [f32],
    count: u32,
    queries: u32,
    keys: u32,
    #[comptime] across: bool,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    let (queries, keys) = (queries as usize, keys as usize);
    if at < count as usize {
        let distances = 2 * keys - 1;
        let (line, distance) = (at / distances, at % distances);
        let mut found = 0.0f32;
        if comptime!(across) {
            let (head, key) = (line / keys, line % keys);
            let query = key + keys - 1 - min(distance, key + keys - 1);
            if distance < key + keys && query < queries {
                found = of_products[(head * queries + query) * keys + key];
            }
        } else {
            let query = line % queries;
            let ahead = distance + query;
            if ahead >= keys - 1 && ahead < 2 * keys - 1 {
                found = of_products[line * keys + (ahead - (keys - 1))];
            }
        }
        of_distances[at] = found;
    }
}
