//! The learning curve of a sweep over the share of the training data: a power law, error = a·share^-b + c,
//! and what twice the data would bring by it. J. Hestness et al., "Deep Learning Scaling is Predictable,
//! Empirically" (2017).

use std::fmt;

use serde::Serialize;
use stages::data::random::Random;

use crate::results::sweep::table::{Mean, Table};
use crate::text::figures::{figure, four};

/// The parameter of `split` that a curve is over.
pub const SHARE: &str = "train_share";

/// Fits of resampled points, for the interval.
const REPLICATES: u64 = 400;

/// A fitted curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LearningCurve {
    pub metric: String,
    /// The error is 1 minus the metric; of a loss it is the metric itself.
    pub is_error: bool,
    pub a: f64,
    pub b: f64,
    pub c: f64,
    /// The metric with all data, as measured.
    pub now: f64,
    /// The metric that the curve has at twice the data.
    pub doubled: f64,
    /// Where it is with 90 % confidence, as far as the seeds scatter; `None` without several seeds.
    pub interval: Option<[f64; 2]>,
    /// The shares and the means of the metric, as measured; shares ascend.
    pub points: Vec<(f64, f64)>,
}

impl LearningCurve {
    /// The metric that the curve has at a share.
    pub fn at(&self, share: f64) -> f64 {
        let error = self.a * share.powf(-self.b) + self.c;
        if self.is_error { error } else { 1.0 - error }
    }
}

/// The formula, and what twice the data would bring.
impl fmt::Display for LearningCurve {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let LearningCurve { metric, is_error, a, b, c, now, doubled, interval, .. } = self;
        let error = if *is_error { metric.clone() } else { format!("1 - {metric}") };
        write!(
            f,
            "{error} = {} · share^-{} + {}; by it, twice the data would bring {metric} from {} to {}",
            four(*a),
            figure(*b),
            four(*c),
            four(*now),
            four(*doubled)
        )?;
        match interval {
            Some([low, high]) => write!(f, " (90 % interval {} to {})", four(*low), four(*high)),
            None => Ok(()),
        }
    }
}

/// A point of a curve.
#[derive(Clone, Copy, Debug)]
struct Point {
    share: f64,
    error: f64,
    /// The standard error of the mean.
    scatter: f64,
}

/// The curve of a table; `None` if it is not over at least three shares, or over something else too.
pub fn curve(table: &Table) -> Option<LearningCurve> {
    let metric = table.metric.clone()?;
    let place = table.keys.iter().position(|key| key.rsplit('.').next() == Some(SHARE))?;
    let others = |row: &crate::results::sweep::table::TableRow| {
        let kept = row.values.iter().enumerate().filter(|(index, _)| *index != place);
        format!("{:?}", kept.map(|(_, value)| value).collect::<Vec<_>>())
    };
    let first = others(table.rows.first()?);
    if table.rows.iter().any(|row| others(row) != first) {
        return None;
    }
    let name = metric.rsplit('.').next().unwrap_or(&metric);
    let is_error = ["loss", "error", "brier", "perplexity"].iter().any(|it| name.contains(it));
    let error = |value: f64| if is_error { value } else { 1.0 - value };
    let mut points: Vec<Point> = table
        .rows
        .iter()
        .filter_map(|row| {
            let Mean { mean, deviation } = *row.metrics.get(&metric)?;
            let scatter = deviation.unwrap_or(0.0) / (row.done.max(1) as f64).sqrt();
            let share = row.values[place].as_ref()?.as_f64().filter(|share| *share > 0.0)?;
            Some(Point { share, error: error(mean), scatter })
        })
        .collect();
    points.sort_by(|one, two| one.share.total_cmp(&two.share));
    points.dedup_by(|one, two| one.share == two.share);
    if points.len() < 3 {
        return None;
    }
    let last = points[points.len() - 1];
    let (a, b, c) = fit(&points);
    let doubled = |(a, b, c): (f64, f64, f64)| error(a * (2.0 * last.share).powf(-b) + c);
    Some(LearningCurve {
        metric,
        is_error,
        a,
        b,
        c,
        now: error(last.error),
        doubled: doubled((a, b, c)),
        interval: interval(&points, doubled),
        points: points.iter().map(|point| (point.share, error(point.error))).collect(),
    })
}

/// Fits again with each mean moved by as much as it may be off.
fn interval(points: &[Point], doubled: impl Fn((f64, f64, f64)) -> f64) -> Option<[f64; 2]> {
    if points.iter().all(|point| point.scatter == 0.0) {
        return None;
    }
    let mut found: Vec<f64> = (0..REPLICATES)
        .map(|replicate| {
            let mut random = Random::new(0, "learning curve", replicate, 0);
            let moved =
                |it: &Point| Point { error: it.error + it.scatter * random.normal(), ..*it };
            doubled(fit(&points.iter().map(moved).collect::<Vec<_>>()))
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found[(share * (found.len() - 1) as f64).round() as usize];
    Some([at(0.05), at(0.95)])
}

/// The a, b and c with the least squares; none is negative. For each b on a grid the others are linear.
fn fit(points: &[Point]) -> (f64, f64, f64) {
    const STEPS: usize = 400;
    const LARGEST: f64 = 2.0;
    let mut best = (f64::MAX, (0.0, 0.0, 0.0));
    for step in 1..=STEPS {
        let b = LARGEST * step as f64 / STEPS as f64;
        let (a, c) = linear(points, b);
        let miss = |it: &Point| (it.error - a * it.share.powf(-b) - c).powi(2);
        let squares = points.iter().map(miss).sum();
        if squares < best.0 {
            best = (squares, (a, b, c));
        }
    }
    best.1
}

/// The line through the points (share^-b, error) with the least squares, whose slope and intercept are not
/// negative.
fn linear(points: &[Point], b: f64) -> (f64, f64) {
    let count = points.len() as f64;
    let pairs: Vec<(f64, f64)> = points.iter().map(|it| (it.share.powf(-b), it.error)).collect();
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let products: f64 = pairs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let squares: f64 = pairs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = if squares > 0.0 { (products / squares).max(0.0) } else { 0.0 };
    let intercept = mean_y - slope * mean_x;
    if intercept >= 0.0 {
        return (slope, intercept);
    }
    let of_origin = pairs.iter().map(|(x, y)| x * y).sum::<f64>();
    (of_origin / pairs.iter().map(|(x, _)| x * x).sum::<f64>(), 0.0)
}

#[cfg(test)]
mod tests {
    use super::{Point, fit, interval};

    fn points(error: impl Fn(f64) -> f64) -> Vec<Point> {
        let shares = [0.0625, 0.125, 0.25, 0.5, 1.0];
        shares.map(|share| Point { share, error: error(share), scatter: 0.0 }).to_vec()
    }

    #[test]
    fn a_power_law_is_found_again() {
        let (a, b, c) = fit(&points(|share| 0.1 * share.powf(-0.4) + 0.05));
        let misses = [a - 0.1, b - 0.4, c - 0.05].map(f64::abs);
        assert!(misses.iter().all(|miss| *miss < 1e-6), "{a} {b} {c}");
    }

    /// scipy.optimize.curve_fit(lambda s, a, b, c: a * s**-b + c, [1/8, 1/4, 1/2, 1],
    /// [0.36, 0.30, 0.265, 0.25], p0=[0.1, 0.5, 0.1], bounds=(0, [10, 2, 1])) gives
    /// 0.0195, 0.9133, 0.2297.
    #[test]
    fn noisy_points_have_the_fit_of_scipy() {
        let measured = [0.36, 0.30, 0.265, 0.25];
        let points: Vec<Point> = [0.125, 0.25, 0.5, 1.0]
            .into_iter()
            .zip(measured)
            .map(|(share, error)| Point { share, error, scatter: 0.01 })
            .collect();
        let (a, b, c) = fit(&points);
        let misses = [a - 0.0195, b - 0.9133, c - 0.2297].map(f64::abs);
        assert!(misses.iter().all(|miss| *miss < 0.004), "{a} {b} {c}");
        let [low, high] = interval(&points, |(a, b, c)| 1.0 - a * 2.0f64.powf(-b) - c).unwrap();
        let doubled = 1.0 - a * 2.0f64.powf(-b) - c;
        assert!(low < doubled && doubled < high && high - low < 0.1, "{low} {doubled} {high}");
    }

    #[test]
    fn a_curve_that_does_not_fall_stays_where_it_is() {
        let (a, _, c) = fit(&points(|_| 0.2));
        assert!(a.abs() < 1e-9 && (c - 0.2).abs() < 1e-9);
    }
}
