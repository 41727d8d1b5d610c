//! The learning rate over time.

use crate::stage::choice::choice;

choice! {
    /// The learning rate after the warm-up.
    pub enum Decay {
        /// Falls to 0 at the last step, as `get_linear_schedule_with_warmup` in transformers.
        Linear = "linear",
        Constant = "constant",
    }
}

/// The learning rate of every optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest learning rate.
    pub learning_rate: f64,
    pub decay: Decay,
    pub warmup_steps: u64,
    pub total_steps: u64,
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * step as f64 / self.warmup_steps as f64;
        }
        match self.decay {
            Decay::Constant => self.learning_rate,
            Decay::Linear => {
                let left = self.total_steps.saturating_sub(step) as f64;
                let whole = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
                self.learning_rate * left / whole
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_schedule_starts_at_the_peak_and_would_reach_zero_after_the_last_step() {
        let schedule =
            Schedule { learning_rate: 2.0, decay: Decay::Linear, warmup_steps: 0, total_steps: 4 };
        let rates: Vec<f64> = (0..5).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [2.0, 1.5, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn warm_up_rises_from_zero_to_the_peak() {
        let schedule =
            Schedule { learning_rate: 1.0, decay: Decay::Linear, warmup_steps: 2, total_steps: 6 };
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn a_constant_rate_does_not_depend_on_the_length_of_the_training() {
        let schedule = Schedule {
            learning_rate: 1.0,
            decay: Decay::Constant,
            warmup_steps: 0,
            total_steps: 3,
        };
        assert_eq!(schedule.rate(0), schedule.rate(1_000));
    }
}
