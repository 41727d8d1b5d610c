//! The sums of a tile: the products of a panel of rows and a panel of channels, added up in i32. Every
//! way gives the same integers, so the results are the same bits on every processor.

use super::panel::{COLUMNS, Channels, LeftEntry, RightEntry, Sums};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Writes `Σ left · right` over as many entries as both have. The sums must fit.
pub(super) type Tile = fn(&[LeftEntry], &[RightEntry], &mut Sums);

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
fn portable(left: &[LeftEntry], right: &[RightEntry], sums: &mut Sums) {
    for (row, sums) in sums.iter_mut().enumerate() {
        *sums = Channels([0; COLUMNS]);
        for (left, right) in left.iter().zip(right) {
            let left = left[row].map(i32::from);
            for (sum, right) in sums.0.iter_mut().zip(&right.0) {
                let products = left.iter().zip(right).map(|(left, right)| left * i32::from(*right));
                *sum += products.sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::random::Random;
    use crate::model::cpu::int8::panel::{DEPTH, ROWS};

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
            way(&lefts, &rights, &mut sums);
            for (row, sums) in sums.iter().enumerate() {
                for (column, found) in sums.0.iter().enumerate() {
                    let places = (0..entries * DEPTH).map(|k| (k / DEPTH, k % DEPTH));
                    let products = places.map(|(entry, at)| {
                        i64::from(left_at(entry, row, at)) * i64::from(right_at(entry, column, at))
                    });
                    let expected: i64 = products.sum();
                    let name = format!("{name}, way {number}: {row}, {column}");
                    assert_eq!(i64::from(*found), expected, "{name}");
                }
            }
        }
    }

    #[test]
    fn every_way_gives_the_exact_sums() {
        for entries in [0, 1, 2, 17, 96, 384] {
            for only_ends in [false, true] {
                let left = numbers("left", entries * ROWS * DEPTH, [0, 255], only_ends);
                let right = numbers("right", entries * COLUMNS * DEPTH, [-127, 127], only_ends);
                check(entries, &left, &right, &format!("{entries} entries, ends: {only_ends}"));
            }
        }
    }

    #[test]
    fn the_largest_products_do_not_saturate() {
        let entries = 100;
        for (left, right) in [(255, 127), (255, -127), (255, -128), (0, 127)] {
            let lefts = vec![left; entries * ROWS * DEPTH];
            let rights = vec![right; entries * COLUMNS * DEPTH];
            check(entries, &lefts, &rights, &format!("{left} times {right}"));
        }
    }
}
