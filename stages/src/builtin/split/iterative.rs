//! Iterative stratification (K. Sechidis, G. Tsoumakas and I. Vlahavas, "On the stratification of
//! multi-label data", ECML PKDD 2011): divides rows so that each part gets the same share of every
//! label. The rarest label is divided first, since a later choice can no longer help it.

use std::cmp::Reverse;

use super::label_sets::LabelSets;
use crate::data::random::Random;

/// Rows that stay in one part, with how often they have each label.
struct LabelledGroup<'a> {
    rows: &'a [u32],
    /// By label number, ascending.
    labels: Vec<(u16, u32)>,
}

/// Assigns each of `groups`, which hold all rows, to a part, whose shares of the rows are `shares`.
/// Returns the part of each row.
///
/// The next label is the one with the fewest rows left, the first of equal ones by its number. Each
/// of its rows goes to the part that lacks most rows of this label, then to the part that lacks most
/// rows, then to one drawn at random. `labels` is the number of labels. The sizes of the parts follow
/// from the labels; a part that would be empty gets the smallest group of the largest part.
pub fn assign(
    groups: Vec<&[u32]>,
    sets: &LabelSets,
    labels: usize,
    shares: &[f64],
    seed: u64,
) -> Vec<u16> {
    let mut groups: Vec<LabelledGroup> = groups.into_iter().map(|rows| of(rows, sets)).collect();
    Random::new(seed, "split", 0, 0).shuffle(&mut groups);
    // Large groups first: single rows can still make up for them.
    groups.sort_by_key(|group| Reverse(group.rows.len()));
    let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
    let mut left = vec![0_u64; labels];
    let mut with_label: Vec<Vec<usize>> = vec![Vec::new(); labels];
    for (index, group) in groups.iter().enumerate() {
        for &(label, count) in &group.labels {
            left[usize::from(label)] += u64::from(count);
            with_label[usize::from(label)].push(index);
        }
    }
    let mut wanted = Wanted {
        rows: shares.iter().map(|share| share * rows as f64).collect(),
        labels: left
            .iter()
            .map(|count| shares.iter().map(|share| share * *count as f64).collect())
            .collect(),
    };
    let mut parts: Vec<Option<u16>> = vec![None; groups.len()];
    let mut random = Random::new(seed, "split ties", 0, 0);
    while let Some(label) = (0..labels).filter(|it| left[*it] > 0).min_by_key(|it| left[*it]) {
        for &index in &with_label[label] {
            if parts[index].is_none() {
                let part = wanted.most(Some(label), &mut random);
                parts[index] = Some(part);
                wanted.take(&groups[index], part);
                for &(label, count) in &groups[index].labels {
                    left[usize::from(label)] -= u64::from(count);
                }
            }
        }
    }
    for (group, part) in groups.iter().zip(&mut parts).filter(|(_, part)| part.is_none()) {
        let chosen = wanted.most(None, &mut random);
        *part = Some(chosen);
        wanted.take(group, chosen);
    }
    let mut parts: Vec<u16> = parts.into_iter().flatten().collect();
    fill_empty_parts(&groups, &mut parts, shares.len());
    let mut of_rows = vec![0; rows];
    for (group, part) in groups.iter().zip(parts) {
        group.rows.iter().for_each(|row| of_rows[*row as usize] = part);
    }
    of_rows
}

fn of<'a>(rows: &'a [u32], sets: &LabelSets) -> LabelledGroup<'a> {
    let mut all: Vec<u16> =
        rows.iter().flat_map(|row| sets.of_row(*row as usize)).copied().collect();
    all.sort_unstable();
    let labels = all.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len() as u32)).collect();
    LabelledGroup { rows, labels }
}

/// What the parts still lack.
struct Wanted {
    /// Rows, by part.
    rows: Vec<f64>,
    /// Rows with a label, by label and part.
    labels: Vec<Vec<f64>>,
}

impl Wanted {
    /// The part that lacks most.
    fn most(&self, label: Option<usize>, random: &mut Random) -> u16 {
        let rank =
            |part: usize| (label.map_or(0.0, |label| self.labels[label][part]), self.rows[part]);
        let mut best: Vec<usize> = Vec::new();
        for part in 0..self.rows.len() {
            // Differences of rounding are no differences.
            let order = best.first().map(|best| {
                let (one, other) = (rank(part), rank(*best));
                let differ = |a: f64, b: f64| if (a - b).abs() < 1e-9 { 0.0 } else { a - b };
                let first = differ(one.0, other.0);
                if first == 0.0 { differ(one.1, other.1) } else { first }
            });
            match order {
                Some(order) if order < 0.0 => {}
                Some(0.0) => best.push(part),
                _ => best = vec![part],
            }
        }
        best[random.below(best.len() as u64) as usize] as u16
    }

    fn take(&mut self, group: &LabelledGroup, part: u16) {
        let part = usize::from(part);
        self.rows[part] -= group.rows.len() as f64;
        for &(label, count) in &group.labels {
            self.labels[usize::from(label)][part] -= f64::from(count);
        }
    }
}

fn fill_empty_parts(groups: &[LabelledGroup], parts: &mut [u16], count: usize) {
    for empty in 0..count as u16 {
        if parts.contains(&empty) {
            continue;
        }
        let in_part = |part: u16| parts.iter().filter(move |it| **it == part).count();
        let Some(largest) = (0..count as u16).max_by_key(|part| in_part(*part)) else { return };
        let of_largest = (0..groups.len()).filter(|index| parts[*index] == largest);
        if let Some(index) = of_largest.min_by_key(|index| groups[*index].rows.len()) {
            parts[index] = empty;
        }
    }
}
