//! Wording: counts, seconds, wrapped lines, folded names, the nearest name to a typo.

pub mod figures;
pub mod suggest;
pub mod terminal;
pub mod values;
pub mod variants;
