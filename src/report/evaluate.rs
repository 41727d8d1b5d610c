//! Curves and counts computed from the rows of a file of predictions. Figures with intervals, which
//! `score` has computed, are added by `evaluations`.

use std::collections::{BTreeMap, BTreeSet};

use stages::data::classification::{ClassFigures, Headline, Margins};
use stages::data::prediction::Prediction;
use stages::data::threshold::{Objective, ScoredRow, best_threshold, is_positive};

use crate::report::data::{
    Bin, Evaluation, Figure, PrecisionRecall, ThresholdCurve, ThresholdPoint,
};

/// The number of bins, the same as for the calibration error of `score`.
const BINS: usize = 15;

/// With more labels than this, curves of one label against the rest are left out.
pub const MOST_CURVES: usize = 8;

/// The number of points of a curve, at most.
const MOST_POINTS: usize = 200;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Evaluates the rows; `None` if none has a true label. `positive` is the declared positive label.
pub fn evaluate(rows: &[Prediction], positive: Option<&str>) -> Option<Evaluation> {
    let labelled: Vec<(&Prediction, &str)> =
        rows.iter().filter_map(|row| Some((row, row.gold.as_ref()?.label()?))).collect();
    if labelled.is_empty() {
        return None;
    }
    let known: BTreeSet<&str> = labelled
        .iter()
        .flat_map(|(row, gold)| {
            let probable = row.probabilities.keys().map(String::as_str);
            probable.chain([*gold, said(row)])
        })
        .collect();
    let declared = positive.filter(|label| known.contains(label));
    let headline = Headline::of(known.iter().copied(), declared);
    let positive = headline.positive().or(declared);
    let occurring: BTreeSet<&str> =
        labelled.iter().flat_map(|(row, gold)| [*gold, said(row)]).collect();
    let places: BTreeMap<&str, usize> = occurring.iter().copied().zip(0..).collect();
    let mut matrix = vec![vec![0; places.len()]; places.len()];
    for (row, gold) in &labelled {
        matrix[places[gold]][places[said(row)]] += 1;
    }
    let mut evaluation = Evaluation {
        rows: rows.len() as u64,
        labelled: labelled.len() as u64,
        positive: positive.map(str::to_owned),
        headline: headline.name("f1"),
        labels: occurring.iter().map(|label| (*label).to_owned()).collect(),
        figures: figures(&matrix, &occurring, &headline),
        matrix,
        ..Evaluation::default()
    };
    if labelled.iter().any(|(row, _)| row.probabilities.is_empty()) {
        evaluation.notes.push("Some rows have no probabilities, so there are no curves.".into());
        return Some(evaluation);
    }
    let of_curves: Vec<&str> = match headline.positive() {
        Some(positive) => vec![positive],
        None => occurring.into_iter().collect(),
    };
    if of_curves.len() > MOST_CURVES {
        let note = format!("Precision and recall are not drawn for {} labels.", of_curves.len());
        evaluation.notes.push(note);
    } else {
        let curves = of_curves.iter().filter_map(|label| curve(label, &scored(&labelled, label)));
        evaluation.precision_recall = curves.collect();
    }
    match headline.positive() {
        Some(positive) => evaluation.decision.threshold = threshold(&labelled, positive),
        None => {
            let note = "With more than two labels the most probable one is predicted, so there is \
                        no threshold to choose.";
            evaluation.notes.push(note.to_owned());
        }
    }
    evaluation.decision.reliability = reliability(&labelled);
    Some(evaluation)
}

/// The predicted label.
fn said(row: &Prediction) -> &str {
    row.label.label().unwrap_or_default()
}

fn scored(labelled: &[(&Prediction, &str)], label: &str) -> Vec<ScoredRow> {
    let row = |(row, gold): &(&Prediction, &str)| ScoredRow {
        probability: row.probabilities.get(label).copied().unwrap_or(0.0).clamp(0.0, 1.0),
        positive: *gold == label,
    };
    labelled.iter().map(row).collect()
}

/// Accuracy, and the precision, recall and F1 that the headline says.
fn figures(matrix: &[Vec<u64>], labels: &BTreeSet<&str>, headline: &Headline) -> Vec<Figure> {
    let rows = (0_u16..).zip(matrix);
    let cells =
        rows.flat_map(|(gold, row)| (0_u16..).zip(row).map(move |(it, &n)| ((gold, it), n)));
    let margins = Margins::new(matrix.len(), cells);
    let of = headline.figures(&margins, labels.iter().copied());
    let names = match headline {
        Headline::Positive(_) => ["precision", "recall", "f1"],
        Headline::Macro => ["macro_precision", "macro_recall", "macro_f1"],
        Headline::Micro => ["micro_precision", "micro_recall", "micro_f1"],
    };
    let of = names.into_iter().zip([of.precision, of.recall, of.f1]);
    let figures = [("accuracy", margins.accuracy())].into_iter().chain(of);
    figures.map(|(name, value)| Figure { name, value, interval: None, detectable: None }).collect()
}

/// Precision and recall from the highest probability down, and the average precision
/// Σ (Rₙ − Rₙ₋₁)·Pₙ; `None` if the label is the true label of no row.
pub fn curve(label: &str, rows: &[ScoredRow]) -> Option<PrecisionRecall> {
    let mut rows = rows.to_vec();
    rows.sort_unstable_by(|one, two| two.probability.total_cmp(&one.probability));
    let positives = rows.iter().filter(|row| row.positive).count() as f64;
    if positives == 0.0 {
        return None;
    }
    let (mut hits, mut called, mut average) = (0.0, 0.0, 0.0);
    let mut points = Vec::new();
    for equal in rows.chunk_by(|one, two| one.probability == two.probability) {
        let new = equal.iter().filter(|row| row.positive).count() as f64;
        hits += new;
        called += equal.len() as f64;
        average += new / positives * (hits / called);
        points.push((hits / positives, hits / called));
    }
    Some(PrecisionRecall {
        label: label.to_owned(),
        share: positives / rows.len() as f64,
        average_precision: average,
        points: thinned(points),
    })
}

/// Evenly spaced points, including the first and the last.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points;
    }
    let last = points.len() - 1;
    (0..MOST_POINTS).map(|index| points[index * last / (MOST_POINTS - 1)]).collect()
}

fn threshold(labelled: &[(&Prediction, &str)], positive: &str) -> Option<ThresholdCurve> {
    const STEPS: usize = 100;
    let rows = scored(labelled, positive);
    let best = best_threshold(&rows, Objective::F1)?;
    let probabilities = rows.iter().map(|row| row.probability);
    let (low, high) =
        probabilities.fold((0.5_f64, 0.5_f64), |(low, high), it| (low.min(it), high.max(it)));
    let at = |step: usize| low + (high - low) * step as f64 / STEPS as f64;
    let point = |threshold: f64| {
        let called = rows.iter().filter(|row| is_positive(row.probability, threshold));
        let called: Vec<&ScoredRow> = called.collect();
        let hits = called.iter().filter(|row| row.positive).count() as u64;
        let gold = rows.iter().filter(|row| row.positive).count() as u64;
        let of = ClassFigures::new(hits, gold, called.len() as u64);
        ThresholdPoint {
            threshold,
            precision: (!called.is_empty()).then_some(of.precision),
            recall: of.recall,
            f1: of.f1,
        }
    };
    Some(ThresholdCurve {
        used: used(labelled, &rows, positive),
        best: (best.value, best.score),
        points: (0..=STEPS).map(at).map(point).collect(),
    })
}

/// The threshold behind the predicted labels: it lies between the highest probability of a row that
/// was not predicted positive and the lowest of one that was.
fn used(labelled: &[(&Prediction, &str)], rows: &[ScoredRow], positive: &str) -> Option<f64> {
    let (mut below, mut above) = (0.0_f64, 1.0_f64);
    for ((row, _), scored) in labelled.iter().zip(rows) {
        match said(row) == positive {
            true => above = above.min(scored.probability),
            false => below = below.max(scored.probability),
        }
    }
    if below <= 0.5 && 0.5 <= above {
        return Some(0.5);
    }
    (below <= above).then_some((below + above) / 2.0)
}

/// Rows by confidence, in bins of equal width; empty bins are left out. The intervals are score
/// intervals (E. B. Wilson, Journal of the American Statistical Association 22, 1927).
fn reliability(labelled: &[(&Prediction, &str)]) -> Vec<Bin> {
    let mut bins = [(0_u64, 0.0, 0_u64); BINS];
    for (row, gold) in labelled {
        let confidence = row.probabilities.get(said(row)).copied().unwrap_or(0.0);
        let place = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[place].0 += 1;
        bins[place].1 += confidence;
        bins[place].2 += u64::from(said(row) == *gold);
    }
    let some = bins.into_iter().filter(|(rows, ..)| *rows > 0);
    some.map(|(rows, confidence, right)| {
        let n = rows as f64;
        let accuracy = right as f64 / n;
        let middle = accuracy + Z * Z / (2.0 * n);
        let half = Z * (accuracy * (1.0 - accuracy) / n + Z * Z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + Z * Z / n;
        let interval = [((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)];
        Bin { rows, confidence: confidence / n, accuracy, interval }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use stages::data::prediction::Prediction;

    use super::evaluate;

    fn row(id: usize, yes: f64, label: &str, gold: &str) -> Prediction {
        Prediction {
            id: id.to_string(),
            label: label.into(),
            probabilities: [("no".to_owned(), 1.0 - yes), ("yes".to_owned(), yes)].into(),
            gold: Some(gold.into()),
        }
    }

    #[test]
    fn two_labels_have_a_matrix_curves_and_a_threshold() {
        let rows = [
            row(1, 0.9, "yes", "yes"),
            row(2, 0.6, "yes", "no"),
            row(3, 0.4, "no", "yes"),
            row(4, 0.1, "no", "no"),
        ];
        let found = evaluate(&rows, None).unwrap();
        assert_eq!(found.matrix, [[1, 1], [1, 1]]);
        assert_eq!((found.positive.as_deref(), found.headline.as_str()), (Some("yes"), "f1"));
        let curve = &found.precision_recall[0];
        assert_eq!(curve.points, [(0.5, 1.0), (0.5, 0.5), (1.0, 2.0 / 3.0), (1.0, 0.5)]);
        assert!((curve.average_precision - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        let threshold = found.decision.threshold.unwrap();
        assert_eq!(threshold.used, Some(0.5));
        assert_eq!(threshold.best.0, 0.25);
        assert_eq!(found.decision.reliability.iter().map(|bin| bin.rows).sum::<u64>(), 4);
    }

    #[test]
    fn more_than_two_labels_have_macro_averages_and_no_positive_one() {
        let mut rows =
            [row(1, 0.9, "yes", "yes"), row(2, 0.6, "yes", "no"), row(3, 0.4, "no", "no")];
        rows[2].gold = Some("perhaps".into());
        let found = evaluate(&rows, None).unwrap();
        assert_eq!((found.positive, found.headline.as_str()), (None, "macro_f1"));
        let names: Vec<&str> = found.figures.iter().map(|it| it.name).collect();
        assert_eq!(names, ["accuracy", "macro_precision", "macro_recall", "macro_f1"]);
        // F1 of `yes` is 2/3, that of the others 0.
        assert!((found.figures[3].value - 2.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn a_threshold_other_than_a_half_shows_in_the_labels() {
        let rows = [row(1, 0.4, "yes", "yes"), row(2, 0.3, "no", "no"), row(3, 0.9, "yes", "yes")];
        let threshold = evaluate(&rows, Some("yes")).unwrap().decision.threshold.unwrap();
        assert!((threshold.used.unwrap() - 0.35).abs() < 1e-12);
    }

    #[test]
    fn rows_without_true_labels_come_to_nothing() {
        let mut bare = row(1, 0.4, "no", "no");
        bare.gold = None;
        assert!(evaluate(&[bare], None).is_none());
    }
}
