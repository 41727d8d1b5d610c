//! Which parameters of `finetune` belong to which task. The labels of the data say what the task is,
//! so this is checked only when they are read.

use super::choices::{Calibration, Keep, Metric, ThresholdChoice};
use super::params::{ClassWeights, FinetuneParams};
use crate::data::task::Task;
use crate::stage::error::StageError;

impl FinetuneParams {
    /// # Errors
    /// A parameter is not for this task.
    pub fn check_task(&self, task: Task) -> Result<(), StageError> {
        let labels = task.labels_in_words();
        let refuse = |name, why: &str| {
            Err(StageError::Param { name, problem: format!("each row has {labels}, and {why}") })
        };
        if task == Task::Single {
            return match self.loss.positive_weights {
                ClassWeights::None => Ok(()),
                _ => refuse("pos_weight", "`pos_weight` is for lists; use `class_weights`"),
            };
        }
        if self.loss.label_smoothing > 0.0 {
            return refuse(
                "label_smoothing",
                "only the cross-entropy of one label can be smoothed",
            );
        }
        if self.loss.r_drop > 0.0 {
            return refuse("r_drop", "R-Drop compares the probabilities of one label");
        }
        if self.loss.class_weights != ClassWeights::None {
            let instead = match task {
                Task::Multi => "`pos_weight` weighs the rows that have a label",
                Task::Single | Task::Regression => "numbers have no classes to weigh",
            };
            return refuse("class_weights", instead);
        }
        if self.positive.is_some() {
            return refuse("positive", "no label is the positive one");
        }
        if task == Task::Regression {
            if self.loss.positive_weights != ClassWeights::None {
                return refuse("pos_weight", "numbers have no labels to weigh");
            }
            if self.decision.threshold != ThresholdChoice::None {
                return refuse("threshold", "a number is not decided by a threshold");
            }
            if self.decision.calibration != Calibration::None {
                return refuse("calibrate", "a number is not a probability");
            }
            if self.decision.fold {
                return refuse("fold", "a number is not decided by a threshold");
            }
            if !self.label_map.is_empty() {
                return refuse("label_map", "numbers have no names");
            }
        }
        let chooses = self.selection.keep == Keep::Best || self.selection.patience.is_some();
        if chooses && !self.selection.metric.is_for(task) {
            let instead = match task {
                Task::Regression => "to choose an epoch by: loss, pearson, spearman, rmse or mae",
                Task::Single | Task::Multi => {
                    "to choose an epoch by: loss, accuracy, precision, recall or f1"
                }
            };
            return refuse("metric", instead);
        }
        Ok(())
    }
}

impl Metric {
    fn is_for(self, task: Task) -> bool {
        match self {
            Metric::Loss => true,
            Metric::Accuracy | Metric::Precision | Metric::Recall | Metric::F1 => {
                task != Task::Regression
            }
            Metric::Pearson | Metric::Spearman | Metric::Rmse | Metric::Mae => {
                task == Task::Regression
            }
        }
    }
}
