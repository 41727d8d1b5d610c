//! The learning rate over time.

use crate::stage::params::Params;

/// The shape of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Falls to 0 at the last step, as `get_linear_schedule_with_warmup` in transformers.
    Linear,
    Constant,
}

/// The learning rate of every optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub peak: f64,
    pub decay: Decay,
    pub warmup_steps: u64,
    pub total_steps: u64,
}

impl Schedule {
    /// As a training stage's parameters have it.
    pub fn of(params: &Params, total_steps: u64) -> Schedule {
        Schedule {
            peak: params.float("learning_rate"),
            decay: match params.text("schedule") {
                "linear" => Decay::Linear,
                _ => Decay::Constant,
            },
            // Rounded up, as transformers' `TrainingArguments.get_warmup_steps` does.
            warmup_steps: (params.float("warmup_ratio") * total_steps as f64).ceil() as u64,
            total_steps,
        }
    }

    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps as f64;
        }
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Linear => {
                let left = self.total_steps.saturating_sub(step) as f64;
                let whole = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
                self.peak * left / whole
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
            Schedule { peak: 2.0, decay: Decay::Linear, warmup_steps: 0, total_steps: 4 };
        let rates: Vec<f64> = (0..5).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [2.0, 1.5, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn warm_up_rises_from_zero_to_the_peak() {
        let schedule =
            Schedule { peak: 1.0, decay: Decay::Linear, warmup_steps: 2, total_steps: 6 };
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn a_constant_rate_does_not_depend_on_the_length_of_the_training() {
        let schedule =
            Schedule { peak: 1.0, decay: Decay::Constant, warmup_steps: 0, total_steps: 3 };
        assert_eq!(schedule.rate(0), schedule.rate(1_000));
    }
}
