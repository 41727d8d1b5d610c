//! One integration binary for the built-in stages.

mod tokenize;
