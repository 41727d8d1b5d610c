//! Assigns each row to a part, by share or by fold. Groups of rows that belong together are never
//! divided.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::iterative;
use super::label_sets::LabelSets;
use crate::data::example::TextKey;
use crate::data::random::Random;

/// Rows that stay in one part: a range of [`RowGroups::order`].
#[derive(Clone, Copy, Debug)]
struct RowGroup {
    start: u32,
    rows: u32,
}

/// Which rows stay in one part: rows with an equal text or opening turn are joined, directly or
/// through other rows. A union-find structure, in which the first row stands for its group.
#[derive(Default)]
pub struct JoinedRows {
    /// For each row, the first row of its group. Empty until rows are joined.
    firsts: Vec<u32>,
}

impl JoinedRows {
    /// Joins the rows with equal keys. `rows` must be the same in every call.
    pub fn join<K: Ord>(&mut self, rows: usize, key: impl Fn(usize) -> K) {
        if self.firsts.is_empty() {
            self.firsts = (0..rows as u32).collect();
        }
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_unstable_by_key(|&row| (key(row as usize), row));
        for pair in order.windows(2) {
            if key(pair[0] as usize) == key(pair[1] as usize) {
                let (a, b) = (self.first(pair[0]), self.first(pair[1]));
                self.firsts[a.max(b) as usize] = a.min(b);
            }
        }
        // The first row of a group comes before the others, so its entry is already final.
        for row in 0..rows {
            self.firsts[row] = self.firsts[self.firsts[row] as usize];
        }
    }

    /// The first row of a row's group. Shortens the path for later calls (path halving).
    fn first(&mut self, mut row: u32) -> u32 {
        while self.firsts[row as usize] != row {
            let next = self.firsts[self.firsts[row as usize] as usize];
            self.firsts[row as usize] = next;
            row = next;
        }
        row
    }
}

/// The rows in groups, and the groups in strata.
pub struct RowGroups {
    /// Row numbers, group after group.
    order: Vec<u32>,
    /// Stratum after stratum.
    strata: Vec<Vec<RowGroup>>,
}

impl RowGroups {
    /// Makes groups of joined rows, and with `by_label` a stratum of the groups whose first rows
    /// have the same label; otherwise there is one stratum. `keys` are in the order of the rows.
    pub fn new(keys: &[TextKey], joined: JoinedRows, by_label: bool) -> RowGroups {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        let firsts = joined.firsts;
        let first = |row: u32| firsts.get(row as usize).copied().unwrap_or(row);
        if !firsts.is_empty() {
            order.sort_unstable_by_key(|&row| (first(row), row));
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for rows in order.chunk_by(|&a, &b| first(a) == first(b)) {
            groups.push(RowGroup { start, rows: rows.len() as u32 });
            start += rows.len() as u32;
        }
        // The order of their first rows: if no rows are joined, grouping changes nothing.
        groups.sort_unstable_by_key(|group| order[group.start as usize]);
        let mut strata = vec![Vec::new()];
        for group in groups {
            let label = keys[order[group.start as usize] as usize].label();
            let stratum = if by_label { usize::from(label) } else { 0 };
            if strata.len() <= stratum {
                strata.resize(stratum + 1, Vec::new());
            }
            strata[stratum].push(group);
        }
        strata.retain(|groups| !groups.is_empty());
        RowGroups { order, strata }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.strata.iter().map(Vec::len).sum()
    }

    /// Assigns `true` to the rows of the training part. Its size is `share` of all rows, rounded to
    /// the nearest whole number (a half upwards), but at least one row and not all of them. Each
    /// stratum contributes the same share of its own rows, rounded down or up so that the strata
    /// sum to the whole (largest remainders first).
    ///
    /// Within a stratum the groups are shuffled and taken in turn while they fit. If groups are
    /// single rows, the size is exact. Otherwise it falls short by less than the smallest group
    /// left out, which is taken too if that brings the size nearer.
    pub fn by_share(mut self, share: f64, seed: u64) -> Vec<bool> {
        let rows = self.order.len() as u64;
        let target = ((share * rows as f64 + 0.5).floor() as u64).clamp(1, rows.max(2) - 1);
        let sizes: Vec<u64> = self.strata.iter().map(|groups| row_count(groups)).collect();
        let targets = apportion(&sizes, target);
        let mut assigned = vec![false; self.order.len()];
        let (mut taken_groups, mut left_over) = (0, Vec::new());
        for (stratum, (groups, target)) in self.strata.iter_mut().zip(targets).enumerate() {
            Random::new(seed, "split", stratum as u64, 0).shuffle(groups);
            let mut room = target;
            let mut rest = Vec::new();
            for &group in groups.iter() {
                if u64::from(group.rows) <= room {
                    room -= u64::from(group.rows);
                    taken_groups += 1;
                    mark(&self.order, group, &mut assigned);
                } else {
                    rest.push(group);
                }
            }
            let smallest = (0..rest.len()).min_by_key(|&index| rest[index].rows);
            if let Some(index) = smallest.filter(|&it| u64::from(rest[it].rows) < 2 * room) {
                taken_groups += 1;
                mark(&self.order, rest.swap_remove(index), &mut assigned);
            }
            left_over.extend(rest);
        }
        // With few, large groups a part may still be empty.
        if taken_groups == 0
            && let Some(group) = left_over.iter().min_by_key(|group| group.rows)
        {
            mark(&self.order, *group, &mut assigned);
        }
        if left_over.is_empty() {
            let all = self.strata.iter().flatten();
            if let Some(group) = all.min_by_key(|group| group.rows) {
                for &row in rows_of(&self.order, *group) {
                    assigned[row as usize] = false;
                }
            }
        }
        assigned
    }

    /// Assigns each row to a part, so that each part gets its share of every label, see
    /// [`iterative::assign`].
    pub fn by_labels(
        &self,
        sets: &LabelSets,
        labels: usize,
        shares: &[f64],
        seed: u64,
    ) -> Vec<u16> {
        let groups = self.strata.iter().flatten().map(|group| rows_of(&self.order, *group));
        iterative::assign(groups.collect(), sets, labels, shares, seed)
    }

    /// Assigns each row to a fold in `0..folds`. The groups of each stratum are shuffled and go,
    /// one after the other, to the fold with the fewest rows of the stratum; ties go to the fold
    /// with the fewest rows in all, then to the first. Within a stratum, sizes differ by at most
    /// one group; if groups are single rows, so do the sizes in all.
    pub fn by_fold(mut self, folds: u16, seed: u64) -> Vec<u16> {
        let mut assigned = vec![0; self.order.len()];
        let mut sizes = vec![0_u64; usize::from(folds)];
        for (stratum, groups) in self.strata.iter_mut().enumerate() {
            Random::new(seed, "split", stratum as u64, 0).shuffle(groups);
            let mut smallest: BinaryHeap<_> = sizes
                .iter()
                .zip(0..folds)
                .map(|(&size, fold)| Reverse((0_u64, size, fold)))
                .collect();
            for &group in groups.iter() {
                let Some(Reverse((in_stratum, size, fold))) = smallest.pop() else { break };
                let rows = u64::from(group.rows);
                smallest.push(Reverse((in_stratum + rows, size + rows, fold)));
                sizes[usize::from(fold)] += rows;
                for &row in rows_of(&self.order, group) {
                    assigned[row as usize] = fold;
                }
            }
        }
        assigned
    }
}

fn row_count(groups: &[RowGroup]) -> u64 {
    groups.iter().map(|group| u64::from(group.rows)).sum()
}

fn rows_of(order: &[u32], group: RowGroup) -> &[u32] {
    &order[group.start as usize..][..group.rows as usize]
}

fn mark(order: &[u32], group: RowGroup, assigned: &mut [bool]) {
    for &row in rows_of(order, group) {
        assigned[row as usize] = true;
    }
}

/// Divides `target` in proportion to `sizes` by Hamilton's method: each part is its exact share
/// rounded down or up, and the parts sum to `target`.
fn apportion(sizes: &[u64], target: u64) -> Vec<u64> {
    let total = u128::from(sizes.iter().sum::<u64>().max(1));
    let exact = |size: u64| u128::from(size) * u128::from(target);
    let mut parts: Vec<u64> = sizes.iter().map(|&size| (exact(size) / total) as u64).collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by_key(|&index| Reverse(exact(sizes[index]) % total));
    let missing = target - parts.iter().sum::<u64>();
    for &index in by_remainder.iter().take(missing as usize) {
        parts[index] += 1;
    }
    parts
}
