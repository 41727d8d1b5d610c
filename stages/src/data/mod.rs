//! What stages read and write: examples, labels, predictions, token files, tensors and lines.
//! Also what several stages compute from them: scores, thresholds, reproducible random numbers.

pub mod classification;
pub mod corpus;
pub mod data_file;
pub mod example;
pub mod finite;
pub mod issue;
pub mod json_items;
pub mod label_names;
pub mod labels;
pub mod lines;
pub mod marks;
pub mod multi_label;
pub mod nearest;
pub mod prediction;
pub mod random;
pub mod regression;
pub mod set;
pub mod target;
pub mod task;
pub mod temperature;
pub mod tensor_differences;
pub mod tensors;
pub mod threshold;
pub mod token_file;
pub mod token_labels;
pub mod token_writer;
