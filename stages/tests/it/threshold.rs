//! The decision threshold, compared with an exhaustive search over all candidates.

use stages::data::random::Random;
use stages::data::threshold::{BestThreshold, Objective, ScoredRow, best_threshold, is_positive};

const OBJECTIVES: [Objective; 3] = [Objective::F1, Objective::OtherF1, Objective::Accuracy];

fn rows(rows: &[(f64, bool)]) -> Vec<ScoredRow> {
    rows.iter().map(|&(probability, positive)| ScoredRow { probability, positive }).collect()
}

/// The objective at a threshold, as a fraction counted row by row.
fn fraction(rows: &[ScoredRow], threshold: f64, objective: Objective) -> (u64, u64) {
    let count = |called: bool, positive: bool| {
        let is = |row: &&ScoredRow| {
            is_positive(row.probability, threshold) == called && row.positive == positive
        };
        rows.iter().filter(is).count() as u64
    };
    let (hits, misses, alarms) = (count(true, true), count(false, true), count(true, false));
    match objective {
        Objective::F1 => (2 * hits, (2 * hits + misses + alarms).max(1)),
        Objective::OtherF1 => {
            let hits = count(false, false);
            (2 * hits, (2 * hits + misses + alarms).max(1))
        }
        Objective::Accuracy => (hits + count(false, false), rows.len() as u64),
    }
}

/// The best threshold by exhaustive search.
fn by_trying(rows: &[ScoredRow], objective: Objective) -> BestThreshold {
    let mut places: Vec<f64> = rows.iter().map(|row| row.probability).collect();
    places.extend([0.0, 1.0]);
    places.sort_by(f64::total_cmp);
    let certain = places[places.len() - 2] == 1.0;
    places.dedup();
    let mut candidates: Vec<f64> =
        places.windows(2).map(|pair| pair[0] + (pair[1] - pair[0]) / 2.0).collect();
    candidates.extend(certain.then_some(1.0));
    candidates.sort_by(|a, b| (a - 0.5).abs().total_cmp(&(b - 0.5).abs()).then(a.total_cmp(b)));
    candidates.insert(0, 0.5);
    let mut best = 0.5;
    for candidate in candidates {
        let ((a, b), (c, d)) =
            (fraction(rows, candidate, objective), fraction(rows, best, objective));
        if a * d > c * b {
            best = candidate;
        }
    }
    let value = |at: f64| {
        let (part, whole) = fraction(rows, at, objective);
        part as f64 / whole as f64
    };
    BestThreshold { value: best, score: value(best), score_at_half: value(0.5) }
}

#[test]
fn the_threshold_is_the_one_found_by_trying_all() {
    for case in 0..400 {
        let mut random = Random::new(7, "threshold test", case, 0);
        let count = 1 + random.below(40);
        // With few distinct values there are ties, also at 0 and 1.
        let levels = [4, 16, 1 << 40][case as usize % 3];
        let drawn: Vec<ScoredRow> = (0..count)
            .map(|_| {
                let probability = random.below(levels + 1) as f64 / levels as f64;
                let positive = random.uniform_f64() < (probability + 0.5) / 2.0;
                ScoredRow { probability, positive }
            })
            .collect();
        for objective in OBJECTIVES {
            let found = best_threshold(&drawn, objective).unwrap();
            assert_eq!(found, by_trying(&drawn, objective), "{objective:?} of {drawn:?}");
        }
    }
}

#[test]
fn a_threshold_lies_in_the_middle_between_two_probabilities() {
    let found = best_threshold(&rows(&[(0.125, false), (0.25, true), (0.75, true)]), Objective::F1);
    assert_eq!(found, Some(BestThreshold { value: 0.1875, score: 1.0, score_at_half: 2.0 / 3.0 }));
}

#[test]
fn a_threshold_that_gains_nothing_stays_at_a_half() {
    for objective in OBJECTIVES {
        let perfect = best_threshold(&rows(&[(0.1, false), (0.8, true)]), objective).unwrap();
        assert_eq!((perfect.value, perfect.score), (0.5, 1.0));
        let none_true = best_threshold(&rows(&[(0.1, false), (0.3, false)]), objective).unwrap();
        assert_eq!(none_true.value, 0.5);
    }
}

#[test]
fn of_equal_scores_the_one_nearest_to_a_half_wins() {
    // The accuracy is 3/5 below 0.2 and at a half, and 4/5 between 0.6 and 0.9.
    let rows = rows(&[(0.2, true), (0.3, false), (0.6, false), (0.9, true), (0.95, true)]);
    let found = best_threshold(&rows, Objective::Accuracy).unwrap();
    assert_eq!((found.value, found.score, found.score_at_half), (0.75, 0.8, 0.6));
}

#[test]
fn neighbours_without_a_number_between_them_are_told_apart() {
    let low = 0.3_f64;
    let high = f64::from_bits(low.to_bits() + 1);
    let found = best_threshold(&rows(&[(low, false), (high, true)]), Objective::F1).unwrap();
    assert_eq!(found.score, 1.0);
    assert!(is_positive(high, found.value) && !is_positive(low, found.value));
}

#[test]
fn no_rows_or_no_probabilities_give_no_threshold() {
    for objective in OBJECTIVES {
        assert_eq!(best_threshold(&[], objective), None);
        assert_eq!(best_threshold(&rows(&[(f64::NAN, true)]), objective), None);
        assert_eq!(best_threshold(&rows(&[(1.5, true)]), objective), None);
    }
}
