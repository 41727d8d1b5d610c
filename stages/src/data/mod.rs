//! What stages read and write: rows, labels, token tensors, lines, and randomness by address.

pub mod corpus;
pub mod example;
pub mod labels;
pub mod lines;
pub mod nearest;
pub mod prediction;
pub mod random;
pub mod tensor_differences;
pub mod tensors;
pub mod token_file;
