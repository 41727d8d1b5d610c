//! Names in messages: the nearest one to a typo, for "did you mean", and lists. The built-in stages
//! use the same functions.

pub use stages::data::nearest::nearest;
pub use stages::stage::error::quoted;
