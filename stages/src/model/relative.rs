//! The distance buckets of MPNet's relative attention bias.

/// The bucket of the distance from query to key for all pairs, row-major `[width, width]`. As in
/// T5's bidirectional scheme, each direction has half of the buckets; half of those stand for exact
/// distances and half for a logarithmic scale up to 128. Raffel et al. 2020, section 2.1.
pub fn relative_buckets(width: usize, buckets: usize) -> Vec<i32> {
    const MAX_DISTANCE: f32 = 128.0;
    let half = buckets as i32 / 2;
    let exact = half / 2;
    let bucket = |query: usize, key: usize| {
        let distance = key as i32 - query as i32;
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
    };
    (0..width).flat_map(|query| (0..width).map(move |key| bucket(query, key))).collect()
}
