//! Confident learning: which labels are most likely wrong, from out-of-fold probabilities. C. Northcutt,
//! L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70
//! (2021). The results equal those of cleanlab's `find_label_issues`, `compute_confident_joint` and
//! `get_label_quality_scores`, also in how counts are rounded; equal scores keep the order of the rows.

use crate::stage::choice::choice;

choice! {
    /// Which rows have a suspicious label: `filter_by` of cleanlab.
    pub enum Filter {
        PruneByNoiseRate = "prune_by_noise_rate",
        PruneByClass = "prune_by_class",
        Both = "both",
        ConfidentLearning = "confident_learning",
        PredictedNeqGiven = "predicted_neq_given",
    }
}

/// A class keeps at least this many rows.
const LEAST_ROWS: i64 = 1;

/// How much a probability may fall short of its threshold or of another one.
const TOLERANCE: f64 = 1e-6;

/// Rows with a given label and out-of-fold probabilities.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// The number of classes.
    pub classes: usize,
    /// The given label of each row, in `0..classes`.
    pub given: Vec<usize>,
    /// `classes` probabilities for each row.
    pub probabilities: Vec<f64>,
}

/// What confident learning finds.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The estimated number of rows by given label, then by true label.
    pub joint: Vec<Vec<i64>>,
    /// For each row whether its label is suspicious.
    pub suspicious: Vec<bool>,
}

impl Judged {
    pub fn row(&self, row: usize) -> &[f64] {
        &self.probabilities[row * self.classes..][..self.classes]
    }

    /// The probability of the given label.
    pub fn self_confidence(&self, row: usize) -> f64 {
        self.row(row)[self.given[row]]
    }

    /// (p(given) − p(likeliest other) + 1) / 2.
    pub fn normalized_margin(&self, row: usize) -> f64 {
        let other = self.likeliest_other(row).map_or(0.0, |it| self.row(row)[it]);
        (self.self_confidence(row) - other + 1.0) / 2.0
    }

    /// The likeliest class other than the given one; `None` if there is only one class.
    pub fn likeliest_other(&self, row: usize) -> Option<usize> {
        (0..self.classes)
            .filter(|it| *it != self.given[row])
            .reduce(|best, it| if self.row(row)[it] > self.row(row)[best] { it } else { best })
    }

    fn rows_given(&self, class: usize) -> Vec<usize> {
        (0..self.given.len()).filter(|row| self.given[*row] == class).collect()
    }
}

/// Finds suspicious labels.
pub fn find(judged: &Judged, filter: Filter) -> Findings {
    let guesses = confident_guesses(judged);
    let joint = confident_joint(judged, &guesses);
    let prune = prune_counts(&joint);
    let mut suspicious = match filter {
        Filter::PruneByNoiseRate => by_noise_rate(judged, &prune),
        Filter::PruneByClass => by_class(judged, &prune),
        Filter::Both => {
            let by_class = by_class(judged, &prune);
            by_noise_rate(judged, &prune).into_iter().zip(by_class).map(|(a, b)| a && b).collect()
        }
        Filter::ConfidentLearning => {
            let pairs = guesses.iter().zip(&judged.given);
            pairs.map(|(guess, given)| guess.is_some_and(|guess| guess != *given)).collect()
        }
        Filter::PredictedNeqGiven => (0..judged.given.len())
            .map(|row| argmax(judged.row(row)) != judged.given[row])
            .collect(),
    };
    for (row, suspicious) in suspicious.iter_mut().enumerate() {
        *suspicious &= !is_predicted(judged, row);
    }
    Findings { joint, suspicious }
}

/// Whether the given label is the likeliest one, or as likely but for rounding.
fn is_predicted(judged: &Judged, row: usize) -> bool {
    let mut values = judged.row(row).to_vec();
    values[judged.given[row]] += TOLERANCE;
    argmax(&values) == judged.given[row]
}

/// The first of the largest values.
fn argmax(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, it| if values[it] > values[best] { it } else { best })
}

/// For each row the class that it most likely has, if the row is at least as confident of it as the
/// rows with that label are on average.
fn confident_guesses(judged: &Judged) -> Vec<Option<usize>> {
    let thresholds: Vec<f64> = (0..judged.classes)
        .map(|class| {
            let rows = judged.rows_given(class);
            if rows.is_empty() {
                // No probability reaches it.
                return 2.0;
            }
            let sum: f64 = rows.iter().map(|row| judged.row(*row)[class]).sum();
            (sum / rows.len() as f64).max(2.0 * TOLERANCE)
        })
        .collect();
    (0..judged.given.len())
        .map(|row| {
            let values = judged.row(row);
            let reached = |class: &usize| values[*class] >= thresholds[*class] - TOLERANCE;
            let mut confident = (0..judged.classes).filter(reached);
            match (confident.next(), confident.next()) {
                (Some(_), Some(_)) => Some(argmax(values)),
                (only, _) => only,
            }
        })
        .collect()
}

/// The confident joint, scaled so that each row sums to the number of rows with that label.
fn confident_joint(judged: &Judged, guesses: &[Option<usize>]) -> Vec<Vec<i64>> {
    let classes = judged.classes;
    let mut counts = vec![vec![0.0_f64; classes]; classes];
    for (given, guess) in judged.given.iter().zip(guesses) {
        if let Some(guess) = guess {
            counts[*given][*guess] += 1.0;
        }
    }
    for (class, row) in counts.iter_mut().enumerate() {
        row[class] = row[class].max(1.0);
        let sum: f64 = row.iter().sum();
        let rows = judged.given.iter().filter(|given| **given == class).count() as f64;
        row.iter_mut().for_each(|count| *count = *count / sum * rows);
    }
    let total: f64 = counts.iter().flatten().sum();
    let rows = judged.given.len() as f64;
    counts.iter_mut().flatten().for_each(|count| *count = *count / total.max(1e-100) * rows);
    counts.iter().map(|row| rounded(row)).collect()
}

/// Rounds to whole numbers with the same sum, by changing first what was rounded the farthest.
fn rounded(values: &[f64]) -> Vec<i64> {
    let mut whole: Vec<f64> = values.iter().map(|value| value.round_ties_even()).collect();
    let wanted = values.iter().sum::<f64>().round_ties_even();
    loop {
        let missing = (wanted - whole.iter().sum::<f64>()).round_ties_even();
        if missing.abs() <= TOLERANCE || values.is_empty() {
            return whole.into_iter().map(|value| value as i64).collect();
        }
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| (values[*a] - whole[*a]).total_cmp(&(values[*b] - whole[*b])));
        if missing > 0.0 {
            order.reverse();
        }
        for place in order.into_iter().take(missing.abs() as usize) {
            whole[place] += missing.signum();
        }
    }
}

/// How many rows to take for each true label, then for each given label: the joint transposed, and
/// changed so that every class keeps [`LEAST_ROWS`].
fn prune_counts(joint: &[Vec<i64>]) -> Vec<Vec<i64>> {
    let classes = joint.len();
    let mut counts = vec![vec![0.0; classes]; classes];
    for given in 0..classes {
        let diagonal = joint[given][given].max(LEAST_ROWS);
        let added = (diagonal - joint[given][given]) as f64;
        let noisy = joint[given].iter().filter(|count| **count != 0).count() as f64 - 1.0;
        for truth in 0..classes {
            let count = joint[given][truth] as f64 - added / noisy.max(1.0);
            counts[truth][given] = count.max(0.0).trunc();
        }
        counts[given][given] = diagonal as f64;
    }
    counts.iter().map(|row| rounded(row)).collect()
}

/// For each pair of labels the rows with the greatest margin of the other label.
fn by_noise_rate(judged: &Judged, prune: &[Vec<i64>]) -> Vec<bool> {
    let mut suspicious = vec![false; judged.given.len()];
    for given in 0..judged.classes {
        let rows = judged.rows_given(given);
        if rows.len() as i64 <= LEAST_ROWS {
            continue;
        }
        for (truth, of_truth) in prune.iter().enumerate().filter(|(truth, _)| *truth != given) {
            let margin = |row: usize| judged.row(row)[truth] - judged.row(row)[given];
            let mut order = rows.clone();
            order.sort_by(|a, b| margin(*b).total_cmp(&margin(*a)));
            for row in order.into_iter().take(of_truth[given].max(0) as usize) {
                suspicious[row] = true;
            }
        }
    }
    suspicious
}

/// The least confident rows of each class.
fn by_class(judged: &Judged, prune: &[Vec<i64>]) -> Vec<bool> {
    let mut suspicious = vec![false; judged.given.len()];
    for (given, row) in prune.iter().enumerate() {
        let mut rows = judged.rows_given(given);
        if rows.len() as i64 <= LEAST_ROWS {
            continue;
        }
        let take = (rows.len() as i64 - row[given]).max(0) as usize;
        rows.sort_by(|a, b| judged.row(*a)[given].total_cmp(&judged.row(*b)[given]));
        rows.into_iter().take(take).for_each(|row| suspicious[row] = true);
    }
    suspicious
}
