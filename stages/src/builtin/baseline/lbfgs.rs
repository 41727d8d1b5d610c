//! Minimises a smooth convex function of many variables by L-BFGS (J. Nocedal, "Updating
//! quasi-Newton matrices with limited storage", 1980), with a line search by bisection for the
//! weak Wolfe conditions (A. Lewis and M. Overton, "Nonsmooth optimization via quasi-Newton
//! methods", 2013).
//!
//! No crate fits: those with a logistic regression (`linfa-logistic`, `smartcore`) need dense
//! features, which would take gigabytes here, and `liblinear` wraps C++ with its own random order.

use std::collections::VecDeque;

/// The number of past steps from which the curvature is estimated.
const HISTORY: usize = 10;
/// First Wolfe condition: a step must gain at least this share of what the slope predicts.
const DECREASE: f64 = 1e-4;
/// Second Wolfe condition: a step must leave at most this share of the slope.
const CURVATURE: f64 = 0.9;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Stop when no component of the gradient has a greater absolute value.
    pub gradient: f64,
    pub iterations: usize,
}

/// The result of a minimisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub iterations: usize,
    pub value: f64,
    /// Whether the gradient is within its limit, or no step gains anything at floating-point
    /// precision.
    pub converged: bool,
}

/// The function or its gradient is not finite where the minimisation stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    pub iteration: usize,
    pub value: f64,
}

/// Minimises `function` from `x`, and leaves the result in `x`. `function` writes the gradient at a
/// point and returns the value; `each` is called with the number of every iteration.
pub fn minimize(
    x: &mut [f64],
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    limits: Limits,
    mut each: impl FnMut(usize),
) -> Result<Outcome, NotFinite> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = function(x, &mut gradient);
    let mut history: VecDeque<Pair> = VecDeque::new();
    let (mut next, mut next_gradient) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for iteration in 0..limits.iterations {
        // `max` would pass over NaN.
        let wrong = gradient.iter().chain([&value]).find(|it| !it.is_finite());
        if let Some(&value) = wrong {
            return Err(NotFinite { iteration, value });
        }
        let greatest = gradient.iter().fold(0.0_f64, |most, it| most.max(it.abs()));
        if greatest <= limits.gradient {
            return Ok(Outcome { iterations: iteration, value, converged: true });
        }
        each(iteration);
        let direction = direction(&gradient, &history);
        let slope = dot(&direction, &gradient);
        let (mut low, mut high, mut step) = (0.0, f64::INFINITY, 1.0);
        let (mut found, mut there) = (None, value);
        for _ in 0..60 {
            for (next, (x, direction)) in next.iter_mut().zip(x.iter().zip(&direction)) {
                *next = x + step * direction;
            }
            there = function(&next, &mut next_gradient);
            // Near the minimum, a gain is smaller than the rounding error of the value.
            let rounding = 1e-15 * value.abs();
            // False if the value is NaN.
            let gained = there.is_finite() && there <= value + DECREASE * step * slope + rounding;
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
            // Only steps that lead to finite values show that none of them gains anything.
            return match there.is_finite() {
                true => Ok(Outcome { iterations: iteration, value, converged: true }),
                false => Err(NotFinite { iteration, value: there }),
            };
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
    Ok(Outcome { iterations: limits.iterations, value, converged: false })
}

/// A step, and the change of the gradient over it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
}

/// The negative gradient times the estimated inverse Hessian, by the two-loop recursion.
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
