//! The least value of a smooth convex function of many variables: L-BFGS (J. Nocedal,
//! "Updating quasi-Newton matrices with limited storage", 1980) with a line search by bisection
//! for the weak Wolfe conditions (A. Lewis and M. Overton, "Nonsmooth optimization via
//! quasi-Newton methods", 2013).
//!
//! Crates were looked at first: those with a logistic regression (`linfa-logistic`, `smartcore`)
//! take dense features, which are gigabytes here, and `liblinear` wraps C++ with a random order
//! of its own.

use std::collections::VecDeque;

/// Steps that the curvature is known from.
const HISTORY: usize = 10;
/// Of the Wolfe conditions: a step must gain this part of what the slope promises …
const DECREASE: f64 = 1e-4;
/// … and leave at most this part of the slope.
const CURVATURE: f64 = 0.9;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The greatest absolute value in the gradient.
    pub gradient: f64,
    pub iterations: usize,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub iterations: usize,
    pub value: f64,
    /// Whether the gradient is within its limit, or no step within the precision of numbers
    /// gains anything.
    pub converged: bool,
}

/// Minimises from `x` on, and leaves the result there. `function` writes the gradient at a point
/// and returns the value; `each` hears the number of every iteration.
pub fn minimize(
    x: &mut [f64],
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    limits: Limits,
    mut each: impl FnMut(usize),
) -> Outcome {
    let mut gradient = vec![0.0; x.len()];
    let mut value = function(x, &mut gradient);
    let mut history: VecDeque<Pair> = VecDeque::new();
    let (mut next, mut next_gradient) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for iteration in 0..limits.iterations {
        let greatest = gradient.iter().fold(0.0_f64, |most, it| most.max(it.abs()));
        if greatest <= limits.gradient {
            return Outcome { iterations: iteration, value, converged: true };
        }
        each(iteration);
        let direction = direction(&gradient, &history);
        let slope = dot(&direction, &gradient);
        let (mut low, mut high, mut step) = (0.0, f64::INFINITY, 1.0);
        let mut found = None;
        for _ in 0..60 {
            for (next, (x, direction)) in next.iter_mut().zip(x.iter().zip(&direction)) {
                *next = x + step * direction;
            }
            let there = function(&next, &mut next_gradient);
            // Near the end a gain is less than the rounding of the value.
            let rounding = 1e-15 * value.abs();
            // False for a value that is no number, too.
            let gained = there <= value + DECREASE * step * slope + rounding;
            if !gained {
                high = step;
            } else if dot(&next_gradient, &direction) < CURVATURE * slope {
                low = step;
            } else {
                found = Some(there);
                break;
            }
            step = if high.is_finite() { low + (high - low) / 2.0 } else { 2.0 * step };
        }
        let Some(there) = found else {
            return Outcome { iterations: iteration, value, converged: true };
        };
        let pair = Pair {
            step: next.iter().zip(x.iter()).map(|(next, x)| next - x).collect(),
            change: next_gradient.iter().zip(&gradient).map(|(next, g)| next - g).collect(),
        };
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(pair);
        x.copy_from_slice(&next);
        gradient.copy_from_slice(&next_gradient);
        value = there;
    }
    Outcome { iterations: limits.iterations, value, converged: false }
}

/// A step, and how the gradient changed by it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
}

/// Minus the gradient times the estimated inverse of the Hessian: the two-loop recursion.
fn direction(gradient: &[f64], history: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|it| -it).collect();
    let mut factors = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let curvature = dot(&pair.step, &pair.change);
        let factor = dot(&pair.step, &direction) / curvature;
        add(&mut direction, -factor, &pair.change);
        factors.push((factor, curvature));
    }
    if let (Some(pair), Some((_, curvature))) = (history.back(), factors.first()) {
        let scale = curvature / dot(&pair.change, &pair.change);
        direction.iter_mut().for_each(|it| *it *= scale);
    }
    for (pair, (factor, curvature)) in history.iter().zip(factors.iter().rev()) {
        let back = dot(&pair.change, &direction) / curvature;
        add(&mut direction, factor - back, &pair.step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, vector: &[f64]) {
    to.iter_mut().zip(vector).for_each(|(to, it)| *to += factor * it);
}
