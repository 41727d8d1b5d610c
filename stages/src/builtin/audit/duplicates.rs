//! Equal and near-equal texts: training examples whose twins have another label, and texts that are in
//! both parts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::near::{NearTexts, near_texts};
use crate::data::issue::Problem;

/// A row of either part.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub text: &'a str,
    pub label: Option<&'a str>,
    pub in_test: bool,
}

/// The twins of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Twins {
    pub problems: BTreeSet<Problem>,
    /// Rows that show the problems, with their similarity.
    pub others: Vec<(usize, f64)>,
}

/// Counts of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TwinCounts {
    /// Training rows with an equal text that has another label.
    pub conflicting: u64,
    /// Training rows with a near-equal text that has another label, and no equal one.
    pub near_conflicting: u64,
    /// Training rows whose text is a test text, or near-equal to one.
    pub train_in_test: u64,
    pub train_near_test: u64,
    /// Test rows whose text is a training text, or near-equal to one.
    pub test_in_train: u64,
    pub test_near_train: u64,
}

/// Rows of one text, part and label.
type Kinds<'a> = BTreeMap<(bool, Option<&'a str>, &'a str), usize>;

/// Finds the twins of every row. Test rows have no conflicts: they may lack labels.
pub fn twins(rows: &[Row], least: f64) -> (Vec<Twins>, TwinCounts) {
    let texts: Vec<&str> = rows.iter().map(|row| row.text).collect();
    let NearTexts { group_of, groups, near } = near_texts(&texts, least);
    let kinds: Vec<Kinds> = groups
        .iter()
        .map(|group| {
            let kind = |row: usize| (rows[row].in_test, rows[row].label, rows[row].text);
            // The first row of each kind stands for it.
            group.iter().rev().map(|row| (kind(*row), *row)).collect()
        })
        .collect();
    let mut counts = TwinCounts::default();
    let found = rows.iter().zip(&group_of).map(|(row, group)| {
        let Some(group) = *group else { return Twins::default() };
        let mut twins = Twins::default();
        let near = near[group].iter().map(|(group, similarity)| (*group, *similarity));
        for (group, similarity) in std::iter::once((group, 1.0)).chain(near) {
            for ((in_test, label, text), other) in &kinds[group] {
                let is_equal = *text == row.text;
                let problem = match (row.in_test == *in_test, is_equal) {
                    (true, _) if row.in_test || label.is_none() || row.label.is_none() => continue,
                    (true, _) if *label == row.label => continue,
                    (true, true) => Problem::Conflict,
                    (true, false) => Problem::NearConflict,
                    (false, true) => Problem::InTest,
                    (false, false) => Problem::NearTest,
                };
                twins.problems.insert(problem);
                twins.others.push((*other, similarity));
            }
        }
        // An equal text says more than a near-equal one.
        for (equal, near) in
            [(Problem::Conflict, Problem::NearConflict), (Problem::InTest, Problem::NearTest)]
        {
            if twins.problems.contains(&equal) {
                twins.problems.remove(&near);
            }
        }
        count(&mut counts, &twins, row.in_test);
        twins
    });
    let found = found.collect();
    (found, counts)
}

fn count(counts: &mut TwinCounts, twins: &Twins, in_test: bool) {
    for problem in &twins.problems {
        *match (problem, in_test) {
            (Problem::Conflict, _) => &mut counts.conflicting,
            (Problem::NearConflict, _) => &mut counts.near_conflicting,
            (Problem::InTest, false) => &mut counts.train_in_test,
            (Problem::InTest, true) => &mut counts.test_in_train,
            (Problem::NearTest, false) => &mut counts.train_near_test,
            (Problem::NearTest, true) => &mut counts.test_near_train,
            (Problem::Label, _) => continue,
        } += 1;
    }
}
