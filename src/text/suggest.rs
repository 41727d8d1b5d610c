//! The nearest name to one that was not found, for "did you mean" in messages. The built-in stages
//! use the same function.

pub use stages::data::nearest::nearest;
