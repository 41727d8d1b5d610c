//! The words that parameters of `finetune` take.

use crate::stage::choice::choice;

choice! {
    /// The words of `freeze`.
    pub enum FreezeWord {
        None = "none",
        Embeddings = "embeddings",
        All = "all",
    }
}

choice! {
    /// The words of `class_weights`.
    pub enum ClassWeightsWord {
        None = "none",
        Balanced = "balanced",
    }
}

choice! {
    /// What the head reads from the last layer.
    pub enum PoolingChoice {
        /// As the checkpoint does.
        Auto = "auto",
        First = "first",
        Mean = "mean",
    }
}

choice! {
    /// The epoch whose model becomes the result.
    pub enum Keep {
        Last = "last",
        Best = "best",
    }
}

choice! {
    /// A validation metric.
    pub enum Metric {
        Loss = "loss",
        Accuracy = "accuracy",
        Precision = "precision",
        Recall = "recall",
        F1 = "f1",
        /// Of numbers, as the following.
        Pearson = "pearson",
        Spearman = "spearman",
        Rmse = "rmse",
        Mae = "mae",
    }
}

choice! {
    /// The metric that the decision threshold maximises.
    pub enum ThresholdChoice {
        /// No threshold.
        None = "none",
        F1 = "f1",
        Accuracy = "accuracy",
    }
}

choice! {
    /// The classification head that training starts from.
    pub enum HeadChoice {
        Auto = "auto",
        New = "new",
    }
}

choice! {
    /// How the probabilities are calibrated.
    pub enum Calibration {
        None = "none",
        Temperature = "temperature",
    }
}
