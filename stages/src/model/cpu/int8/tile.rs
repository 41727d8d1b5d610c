//! The sums of a tile: the products of [`ROWS`] rows and [`COLUMNS`] channels, added up in i32. Every
//! way gives the same integers, so the results are the same bits on every processor.

/// Rows and channels of a tile. With AVX-512 its sums take 28 of the 32 registers.
pub(super) const ROWS: usize = 14;
pub(super) const COLUMNS: usize = 32;

/// Neighbours along `k` that one instruction multiplies and adds up.
pub(super) const DEPTH: usize = 4;

/// What is added to each value of an input, so that it becomes unsigned.
pub(super) const OFFSET: i32 = 128;

/// Values of the same place along `k` of all rows of a tile, plus [`OFFSET`].
pub(super) type LeftEntry = [[u8; DEPTH]; ROWS];

/// Weights of the same place along `k` of all channels of a tile.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct RightEntry(pub(super) [[i8; DEPTH]; COLUMNS]);

/// An integer for each channel of a tile.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Channels(pub(super) [i32; COLUMNS]);

pub(super) type Sums = [Channels; ROWS];

/// Writes `start + Σ left · right` over as many entries as both have. The result is exact as long as
/// it fits; intermediate sums may wrap.
pub(super) type Tile = fn(&[LeftEntry], &[RightEntry], &Channels, &mut Sums);

/// The fastest way of this processor.
pub(super) fn fastest() -> Tile {
    #[cfg(target_arch = "x86_64")]
    if x86::has_vnni() {
        return x86::by_vnni;
    } else if is_x86_feature_detected!("avx2") {
        return x86::by_avx2;
    }
    portable
}

/// Every way that this processor can run.
#[cfg(test)]
pub(super) fn all() -> Vec<Tile> {
    let mut ways: Vec<Tile> = vec![portable];
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_vnni() {
            ways.push(x86::by_vnni);
        }
        if is_x86_feature_detected!("avx2") {
            ways.push(x86::by_avx2);
        }
    }
    ways
}

/// On any processor.
fn portable(left: &[LeftEntry], right: &[RightEntry], start: &Channels, sums: &mut Sums) {
    for (row, sums) in sums.iter_mut().enumerate() {
        *sums = start.clone();
        for (left, right) in left.iter().zip(right) {
            let left = left[row].map(i32::from);
            for (sum, right) in sums.0.iter_mut().zip(&right.0) {
                let products = left.iter().zip(right).map(|(left, right)| left * i32::from(*right));
                *sum = sum.wrapping_add(products.sum());
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{COLUMNS, Channels, LeftEntry, ROWS, RightEntry, Sums};

    pub(super) fn has_vnni() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
    }

    pub(super) fn by_vnni(
        left: &[LeftEntry],
        right: &[RightEntry],
        start: &Channels,
        sums: &mut Sums,
    ) {
        assert!(has_vnni());
        // SAFETY: the processor has these instructions.
        unsafe { with_vnni(left, right, start, sums) }
    }

    pub(super) fn by_avx2(
        left: &[LeftEntry],
        right: &[RightEntry],
        start: &Channels,
        sums: &mut Sums,
    ) {
        assert!(is_x86_feature_detected!("avx2"));
        // SAFETY: the processor has these instructions.
        unsafe { with_avx2(left, right, start, sums) }
    }

    /// One instruction (`vpdpbusd`) adds four products of u8 and i8 to each of 16 sums, without
    /// saturation.
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn with_vnni(left: &[LeftEntry], right: &[RightEntry], start: &Channels, sums: &mut Sums) {
        const LANES: usize = 16;
        // SAFETY: an entry and the starting sums have two registers of 16 lanes of 4 bytes.
        let pair = |from: *const i32| unsafe {
            [_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.wrapping_add(LANES).cast())]
        };
        let mut all = [pair(start.0.as_ptr()); ROWS];
        for (left, right) in left.iter().zip(right) {
            let columns = pair(right.0.as_ptr().cast());
            for (left, sums) in left.iter().zip(&mut all) {
                let left = _mm512_set1_epi32(i32::from_ne_bytes(*left));
                sums[0] = _mm512_dpbusd_epi32(sums[0], left, columns[0]);
                sums[1] = _mm512_dpbusd_epi32(sums[1], left, columns[1]);
            }
        }
        for (sums, values) in sums.iter_mut().zip(all) {
            let to = sums.0.as_mut_ptr();
            // SAFETY: the sums of a row are two registers of 16 lanes.
            unsafe {
                _mm512_storeu_si512(to.cast(), values[0]);
                _mm512_storeu_si512(to.add(LANES).cast(), values[1]);
            }
        }
    }

    /// Widens both factors to i16, whose products and their sums in pairs are exact (`vpmaddwd`);
    /// `vpmaddubsw` would saturate.
    #[target_feature(enable = "avx2")]
    fn with_avx2(left: &[LeftEntry], right: &[RightEntry], start: &Channels, sums: &mut Sums) {
        /// Rows and registers of 4 channels that are computed at once.
        const FEW_ROWS: usize = 2;
        const REGISTERS: usize = 4;
        const FEW_COLUMNS: usize = 4 * REGISTERS;
        for first_row in (0..ROWS).step_by(FEW_ROWS) {
            for first in (0..COLUMNS).step_by(FEW_COLUMNS) {
                // Each channel has two partial sums, side by side.
                let mut all = [[_mm256_setzero_si256(); REGISTERS]; FEW_ROWS];
                for (left, right) in left.iter().zip(right) {
                    let right = right.0[first..first + FEW_COLUMNS].as_ptr();
                    let columns: [__m256i; REGISTERS] = std::array::from_fn(|at| {
                        // SAFETY: these are 4 of the channels, with 4 bytes each.
                        let bytes = unsafe { _mm_loadu_si128(right.add(4 * at).cast()) };
                        _mm256_cvtepi8_epi16(bytes)
                    });
                    for (row, sums) in all.iter_mut().enumerate() {
                        let left = _mm_set1_epi32(i32::from_ne_bytes(left[first_row + row]));
                        let left = _mm256_cvtepu8_epi16(left);
                        for (sum, columns) in sums.iter_mut().zip(columns) {
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(left, columns));
                        }
                    }
                }
                for (row, partial) in all.iter().enumerate() {
                    let sums = &mut sums[first_row + row].0[first..first + FEW_COLUMNS];
                    let start = &start.0[first..first + FEW_COLUMNS];
                    for (at, partial) in partial.iter().enumerate() {
                        let mut halves = [0i32; 8];
                        // SAFETY: the array has the size of the register.
                        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), *partial) };
                        for column in 0..4 {
                            let pair = halves[2 * column].wrapping_add(halves[2 * column + 1]);
                            sums[4 * at + column] = start[4 * at + column].wrapping_add(pair);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::random::Random;

    /// Whole numbers from `least` to `most`, each as often as any other; or one of the two.
    fn numbers(name: &str, count: usize, [least, most]: [i32; 2], only_ends: bool) -> Vec<i32> {
        let mut values = vec![0.0; count];
        Random::new(7, name, 0, 0).fill_uniform(&mut values);
        let of = |share: f32| match only_ends {
            true => [least, most][usize::from(share < 0.5)],
            false => (least + (share * (most - least + 1) as f32) as i32).min(most),
        };
        values.into_iter().map(of).collect()
    }

    #[track_caller]
    fn check(entries: usize, left: &[i32], right: &[i32], name: &str) {
        let left_at = |entry, row, at| left[(entry * ROWS + row) * DEPTH + at];
        let right_at = |entry, column, at| right[(entry * COLUMNS + column) * DEPTH + at];
        let start = Channels(std::array::from_fn(|column| 1_000_003 * (column as i32 - 20)));
        let to_left = |entry| -> LeftEntry {
            let of = |row, at| u8::try_from(left_at(entry, row, at)).unwrap();
            std::array::from_fn(|row| std::array::from_fn(|at| of(row, at)))
        };
        let to_right = |entry| {
            let of = |column, at| i8::try_from(right_at(entry, column, at)).unwrap();
            RightEntry(std::array::from_fn(|column| std::array::from_fn(|at| of(column, at))))
        };
        let lefts: Vec<LeftEntry> = (0..entries).map(to_left).collect();
        let rights: Vec<RightEntry> = (0..entries).map(to_right).collect();
        for (number, way) in all().into_iter().enumerate() {
            // What was there does not matter.
            let mut sums: Sums = std::array::from_fn(|_| Channels([i32::MAX; COLUMNS]));
            way(&lefts, &rights, &start, &mut sums);
            for (row, sums) in sums.iter().enumerate() {
                for (column, found) in sums.0.iter().enumerate() {
                    let places = (0..entries * DEPTH).map(|k| (k / DEPTH, k % DEPTH));
                    let products = places.map(|(entry, at)| {
                        i64::from(left_at(entry, row, at)) * i64::from(right_at(entry, column, at))
                    });
                    let expected = products.sum::<i64>() + i64::from(start.0[column]);
                    assert_eq!(
                        i64::from(*found),
                        expected,
                        "{name}, way {number}: {row}, {column}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_way_gives_the_exact_sums() {
        for entries in [0, 1, 2, 17, 96, 384] {
            for only_ends in [false, true] {
                let left = numbers("left", entries * ROWS * DEPTH, [1, 255], only_ends);
                let right = numbers("right", entries * COLUMNS * DEPTH, [-127, 127], only_ends);
                check(entries, &left, &right, &format!("{entries} entries, ends: {only_ends}"));
            }
        }
    }

    #[test]
    fn the_largest_products_do_not_saturate() {
        let entries = 100;
        for (left, right) in [(255, 127), (255, -127), (1, 127), (1, -127)] {
            let lefts = vec![left; entries * ROWS * DEPTH];
            let rights = vec![right; entries * COLUMNS * DEPTH];
            check(entries, &lefts, &rights, &format!("{left} times {right}"));
        }
    }
}
