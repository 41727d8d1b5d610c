//! How far each configuration is behind the leader, with an interval, after some meetings.
//!
//! The difference is the mean over meetings of the difference of the figures. It is uncertain in two ways:
//! other examples would give another difference, and so would other trainings. An example may be in several
//! meetings, and a training has many examples, so the variance is clustered both ways (A. Cameron,
//! J. Gelbach and D. Miller, "Robust Inference with Multiway Clustering", Journal of Business & Economic
//! Statistics 29, 2011): that of the examples, plus that of the meetings, less that of both together. A few
//! meetings say little about their own variance, so what they add to that of the examples is averaged over
//! the configurations, and never negative.
//!
//! The interval is Student's, with the degrees of freedom of F. Satterthwaite (Biometrics Bulletin 2, 1946).

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::results::race::rows::Scored;

/// How much better the leader is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Behind {
    pub difference: f64,
    pub interval: [f64; 2],
    pub standard_error: f64,
}

impl Behind {
    /// The probability that the interval of all meetings is above 0, if what this `share` of them shows goes
    /// on: the conditional power (K. Lan, R. Simon and M. Halperin, "Stochastically Curtailed Tests in
    /// Long-Term Clinical Trials", Sequential Analysis 1, 1982).
    pub fn chance_to_fall_behind(&self, share: f64) -> f64 {
        let reach = (self.interval[1] - self.difference) * share.sqrt();
        let spread = self.standard_error * (share * (1.0 - share)).max(0.0).sqrt();
        match spread > 0.0 {
            true => normal_cdf((self.difference - reach) / spread),
            false => f64::from(u8::from(self.difference > reach)),
        }
    }
}

/// The differences to the leader, each configuration with its predictions by meeting. Every meeting has the
/// same rows for all. `examples` is how many there are in all meetings, and `tail` the probability that an
/// interval lies above the true difference, or below it.
pub fn behind(leader: &[Scored], others: &[&[Scored]], examples: usize, tail: f64) -> Vec<Behind> {
    let variances: Vec<Variances> =
        others.iter().map(|other| variances(leader, other, examples)).collect();
    let more: f64 = variances.iter().map(|it| it.meetings - it.both).sum();
    let more = (more / others.len().max(1) as f64).max(0.0);
    let freedom_of_more = (others.len() * leader.len().saturating_sub(1)).max(1) as f64;
    let behind = |it: &Variances| {
        let (difference, variance) = (it.difference, it.examples + more);
        if variance <= 0.0 {
            return Behind { difference, interval: [difference; 2], standard_error: 0.0 };
        }
        let freedom_of_examples = (it.count - 1.0).max(1.0);
        let freedom = variance.powi(2)
            / (it.examples.powi(2) / freedom_of_examples + more.powi(2) / freedom_of_more);
        let standard_error = variance.sqrt();
        let reach = quantile(1.0 - tail, freedom) * standard_error;
        Behind { difference, interval: [difference - reach, difference + reach], standard_error }
    };
    variances.iter().map(behind).collect()
}

/// Of the mean difference of one configuration.
struct Variances {
    difference: f64,
    /// How many examples there are in its meetings.
    count: f64,
    examples: f64,
    meetings: f64,
    both: f64,
}

fn variances(leader: &[Scored], other: &[Scored], examples: usize) -> Variances {
    let meetings = leader.len() as f64;
    let differences: Vec<f64> =
        leader.iter().zip(other).map(|(one, two)| one.figure - two.figure).collect();
    let difference = differences.iter().sum::<f64>() / meetings;
    let mut sums: Vec<Option<f64>> = vec![None; examples];
    let mut both = 0.0;
    for (one, two) in leader.iter().zip(other) {
        let share = 1.0 / (meetings * one.influence.len() as f64);
        for (example, (a, b)) in one.examples.iter().zip(one.influence.iter().zip(&two.influence)) {
            let part = share * (a - b);
            both += part * part;
            *sums[*example].get_or_insert(0.0) += part;
        }
    }
    let count = sums.iter().flatten().count() as f64;
    // The correction of a sample, as for the meetings.
    let correction = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
    let squares: f64 = differences.iter().map(|it| (it - difference).powi(2)).sum();
    Variances {
        difference,
        count,
        examples: correction * sums.iter().flatten().map(|sum| sum * sum).sum::<f64>(),
        meetings: if meetings > 1.0 { squares / (meetings * (meetings - 1.0)) } else { 0.0 },
        both,
    }
}

fn normal_cdf(value: f64) -> f64 {
    Normal::new(0.0, 1.0).map_or(0.5, |it| it.cdf(value))
}

/// Of Student's distribution.
fn quantile(probability: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |it| it.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use stages::data::random::Random;

    use super::{Behind, Scored, behind, quantile};

    /// scipy.stats.t.ppf
    #[test]
    fn the_quantiles_are_those_of_scipy() {
        let known = [
            (0.975, 1.0, 12.706_204_736_174_694),
            (0.9995, 4.0, 8.610_301_581_379_522),
            (0.9999, 17.5, 4.680_075_015_619_04),
            (0.975, 1e6, 1.959_966_356_814_107),
        ];
        for (probability, freedom, expected) in known {
            let found = quantile(probability, freedom);
            assert!((found / expected - 1.0).abs() < 1e-4, "{probability} {freedom}: {found}");
        }
    }

    /// Rows that are right with a probability, in meetings over the same examples or over others.
    fn simulated(
        random: &mut Random,
        [rows, meetings]: [usize; 2],
        shared: bool,
        by: [f64; 3],
    ) -> [Vec<Scored>; 2] {
        let [gap, of_example, of_training] = by;
        let hardness: Vec<f64> =
            (0..rows * meetings).map(|_| of_example * random.normal()).collect();
        [0.0, gap].map(|gap| {
            (0..meetings)
                .map(|meeting| {
                    let training = of_training * random.normal();
                    let examples: Vec<usize> = (0..rows)
                        .map(|row| if shared { row } else { meeting * rows + row })
                        .collect();
                    let is_right = |example: &usize| {
                        let limit = 0.8 - gap + training + hardness[*example];
                        f64::from(u8::from(random.uniform_f64() < limit))
                    };
                    let right: Vec<f64> = examples.iter().map(is_right).collect();
                    let figure = right.iter().sum::<f64>() / rows as f64;
                    let influence = right.iter().map(|it| it - figure).collect();
                    Scored { figure, examples, influence }
                })
                .collect()
        })
    }

    /// How often the interval of two equal configurations leaves 0 out, with 90 % confidence.
    fn misses(sizes: [usize; 2], shared: bool, of_training: f64) -> f64 {
        const TRIALS: u64 = 400;
        let missed = (0..TRIALS).filter(|trial| {
            let mut random = Random::new(1, "race", *trial, 0);
            let [one, two] = simulated(&mut random, sizes, shared, [0.0, 0.2, of_training]);
            let [low, high] = behind(&one, &[&two], sizes[0] * sizes[1], 0.05)[0].interval;
            low > 0.0 || high < 0.0
        });
        missed.count() as f64 / TRIALS as f64
    }

    #[test]
    fn an_interval_covers_the_truth_over_folds_and_over_seeds() {
        for (sizes, shared, of_training) in [
            ([200, 5], false, 0.0),
            ([200, 5], true, 0.0),
            ([200, 6], true, 0.03),
            ([200, 6], false, 0.03),
        ] {
            let share = misses(sizes, shared, of_training);
            assert!((0.03..0.14).contains(&share), "{sizes:?} {shared} {of_training}: {share}");
        }
    }

    /// scipy.stats.norm.cdf((0.01 - 0.02 * sqrt(0.25)) / (0.005 * sqrt(0.1875))), and with 0.012.
    #[test]
    fn what_is_far_from_its_bound_will_hardly_cross_it() {
        let chance = |difference: f64| {
            let interval = [difference - 0.02, difference + 0.02];
            Behind { difference, interval, standard_error: 0.005 }.chance_to_fall_behind(0.25)
        };
        assert!((chance(0.01) - 0.5).abs() < 1e-9);
        assert!((chance(0.012) - 0.822_194_5).abs() < 1e-5, "{}", chance(0.012));
        assert!(chance(0.001) < 1e-4);
    }

    #[test]
    fn equal_predictions_are_equal_for_certain() {
        let mut random = Random::new(1, "race", 0, 0);
        let [one, _] = simulated(&mut random, [50, 3], true, [0.0, 0.1, 0.1]);
        assert_eq!(behind(&one, &[&one], 50, 0.01)[0].interval, [0.0, 0.0]);
    }
}
