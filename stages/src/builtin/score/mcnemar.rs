//! McNemar's test: whether two classifiers are right equally often. Under that hypothesis, each row
//! on which only one of them is right is equally likely to favour either, so the number of rows
//! that favour the first is binomial with p = ½. Q. McNemar, Psychometrika 12 (1947); the mid-p
//! value follows M. Fagerland, S. Lydersen and P. Laake, BMC Medical Research Methodology 13:91
//! (2013).

use serde::Serialize;

/// Two-sided p values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// The exact conditional test, which is conservative.
    pub exact_p: f64,
    /// Counts the observed outcome with half its probability: nearer to the nominal level.
    pub mid_p: f64,
}

/// The test on the numbers of rows on which only the first or only the second is right. Its time
/// is proportional to their sum. Values below about 1e-300 become 0.
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let n = only_first + only_second;
    let k = only_first.min(only_second);
    // Binomial coefficients relative to (n over k): sums of ratios need no factorials.
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
