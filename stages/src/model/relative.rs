//! The buckets of distances between tokens: MPNet's and DeBERTa's.

/// The bucket of the distance from query to key for all pairs, row-major `[width, width]`. As in
/// T5's bidirectional scheme, each direction has half of the buckets; half of those stand for exact
/// distances and half for a logarithmic scale up to 128. Raffel et al. 2020, section 2.1.
pub fn relative_buckets(width: usize, buckets: usize) -> Vec<i32> {
    let distance = |query: usize, key: usize| key as i32 - query as i32;
    let of_query = |query| (0..width).map(move |key| distance(query, key));
    (0..width).flat_map(of_query).map(|distance| relative_bucket(distance, buckets)).collect()
}

/// The bucket of one distance, of which [`relative_buckets`] has all.
pub fn relative_bucket(distance: i32, buckets: usize) -> i32 {
    const MAX_DISTANCE: f32 = 128.0;
    let half = buckets as i32 / 2;
    let exact = half / 2;
    // As in `transformers`, keys before the query use the first half.
    let side = if distance > 0 { half } else { 0 };
    let distance = distance.abs();
    let within = if distance < exact {
        distance
    } else {
        let log = (distance as f32 / exact as f32).ln() / (MAX_DISTANCE / exact as f32).ln();
        (exact + (log * (half - exact) as f32) as i32).min(half - 1)
    };
    side + within
}

/// The row of DeBERTa's table of relative positions for each distance, from the last key seen from the
/// first query down: entry `k - q + width - 1` is that of key `k` seen from query `q`. With `buckets`,
/// distances from half of them on share rows on a logarithmic scale up to `max_distance`. The table
/// has `2 · span` rows. He et al. 2021, section 3.1; the buckets are those of DeBERTa-v2.
pub fn log_buckets(
    width: usize,
    span: usize,
    buckets: Option<usize>,
    max_distance: usize,
) -> Vec<usize> {
    let middle = buckets.map(|buckets| buckets as i64 / 2);
    let bucket = |distance: i64| {
        let Some(middle) = middle else { return distance };
        if distance.abs() <= middle {
            return distance;
        }
        let (middle_f32, longest) = (middle as f32, (max_distance as f32 - 1.0));
        let log = (distance.abs() as f32 / middle_f32).ln() / (longest / middle_f32).ln();
        ((log * (middle_f32 - 1.0)).ceil() as i64 + middle) * distance.signum()
    };
    let width = width as i64;
    (1 - width..width)
        // The key lies this far behind the query.
        .map(|ahead| (bucket(-ahead) + span as i64).clamp(0, 2 * span as i64 - 1) as usize)
        .collect()
}
