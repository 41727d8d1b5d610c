//! McNemar's test: whether two classifiers that are right on different rows are right equally
//! often. Of the rows on which just one is right, each is as likely to be the one if they are; so
//! their number is binomial with p = ½. Q. McNemar, Psychometrika 12 (1947); the mid-p value after
//! M. Fagerland, S. Lydersen and P. Laake, BMC Medical Research Methodology 13:91 (2013).

use serde::Serialize;

/// Two-sided p values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Of the exact conditional test, which errs on the safe side.
    pub exact_p: f64,
    /// With half the weight on what was observed: nearer its nominal level.
    pub mid_p: f64,
}

/// The test, from the numbers of rows on which only the first and only the second is right. Time
/// grows with their sum. Values below about 1e-300 come out as 0.
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let n = only_first + only_second;
    let k = only_first.min(only_second);
    // Binomial coefficients of n relative to that of k: sums of ratios need no factorials.
    let mut tail = 1.0;
    let mut term = 1.0;
    for i in (1..=k).rev() {
        term *= i as f64 / (n - i + 1) as f64;
        tail += term;
    }
    let mut all = tail;
    term = 1.0;
    for i in k..n {
        term *= (n - i) as f64 / (i + 1) as f64;
        all += term;
    }
    McNemar { exact_p: (2.0 * tail / all).min(1.0), mid_p: (2.0 * tail - 1.0) / all }
}
